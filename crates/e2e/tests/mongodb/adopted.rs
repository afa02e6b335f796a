//! A database that the Go master wrote: the master takes its workers and tasks up.

use cloudai_store::mongod::{
    Server,
    bson::{DateTime, Document, doc},
    client,
};
use cloudai_tests::{
    cluster::{Cluster, free_port},
    engine::TEST_TASK,
};

use crate::{blocking, host, is_well};

const SUBMITTED: i64 = 1_700_000_000;

fn task(id: &str, status: &str, second: i64) -> Document {
    doc! {
        "task_id": id,
        "user_id": "ann",
        "docker_image": TEST_TASK,
        "command": "",
        "req_cpu": 0.5,
        "req_memory": 0.125,
        "req_storage": 0.5,
        "req_gpu": 0.0,
        "status": status,
        "created_at": DateTime::from_millis((SUBMITTED + second) * 1000),
        // Go's time that was never set.
        "started_at": DateTime::from_millis(-62_135_596_800_000),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_workers_are_registered_and_its_tasks_are_listed_and_run() {
    // Given what a Go master left: a worker, a task that waits, one that is over,
    let server = blocking(|| Server::start(&[]));
    let port = free_port();
    let database = client(&server.uri()).await.database("cluster_db");
    let worker = doc! {
        "worker_id": "worker-1", "worker_ip": format!("127.0.0.1:{port}"),
        "total_cpu": 8.0, "total_memory": 16.0, "total_storage": 100.0, "total_gpu": 0.0,
        "is_active": true, "last_heartbeat": SUBMITTED,
    };
    let result = doc! {
        "task_id": "task-3", "worker_id": "worker-1", "status": "success", "logs": "hello\n",
    };
    for (collection, documents) in [
        ("WORKER_REGISTRY", vec![worker]),
        (
            "TASKS",
            vec![task("task-3", "completed", 1), task("task-5", "pending", 2)],
        ),
        ("RESULTS", vec![result]),
    ] {
        let collection = database.collection::<Document>(collection);
        collection.insert_many(documents).await.unwrap();
    }

    // when a master is started on it,
    let host = host(&server);
    let mut cluster = Cluster::start_in("127.0.0.1", &[], &[("MONGODB_HOST", &host)]).await;

    // then they are there, and the worker, once it is started, runs what waits.
    is_well(&cluster).await;
    cluster.master.says("Loaded 1 workers from database").await;
    let workers = cluster.json("workers").await;
    assert_eq!(
        workers[0]["address"],
        format!("127.0.0.1:{port}"),
        "{workers}"
    );
    let over = cluster
        .has_status(&"task-3".parse().unwrap(), "completed")
        .await;
    assert_eq!(over["user_id"], "ann", "{over}");
    cluster.start_worker("worker-1", port, 1.0);
    cluster.worker_is_active("worker-1").await;
    let ran = cluster
        .has_status(&"task-5".parse().unwrap(), "completed")
        .await;
    assert_eq!(ran["worker_id"], "worker-1", "{ran}");
    let next = cluster.submit(&["exit", "0"]).await;
    cluster.has_status(&next, "completed").await;
    cluster.end().await;
}
