//! From submit to result.

use cloudai_model::{TaskDraft, TaskId};
use cloudai_tests::cluster::{Cluster, first, test_task};
use serde_json::Value;

async fn ends_as(cluster: &mut Cluster, words: &[&str], status: &str) -> (TaskId, Value) {
    let task = cluster.submit(words).await;
    let entry = cluster.has_status(&task, status).await;
    (task, entry)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_and_its_result_comes_back() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;

    let (task, entry) = ends_as(&mut cluster, &["exit", "0"], "completed").await;
    assert_eq!(entry["exit_code"], 0, "{entry}");
    assert_eq!(entry["attempt"], 1);
    assert_eq!(entry["worker_id"], "worker-1");
    assert_eq!(entry["phase"], "done");
    cluster
        .master
        .says(&format!("Task completion: {task} from worker worker-1"))
        .await;

    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker
        .says(&format!("Received task assignment: {task}"))
        .await;
    worker
        .says(&format!("[Task {task}] ✓ Completed successfully"))
        .await;
    worker
        .says("✓ Task result reported: Task result received")
        .await;
    assert_eq!(
        cluster.container_count("worker-1").await,
        0,
        "containers are cleaned up"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_code_signal_and_memory_limit_are_told_apart() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;

    let (_, entry) = ends_as(&mut cluster, &["exit", "3"], "failed").await;
    assert_eq!(
        (&entry["exit_code"], &entry["reason"]),
        (&3.into(), &"exit code 3".into())
    );

    let (_, entry) = ends_as(&mut cluster, &["crash"], "failed").await;
    assert_eq!(entry["exit_code"], 134, "{entry}");
    assert!(
        entry["reason"].as_str().unwrap().contains("signal"),
        "{entry}"
    );

    let (_, entry) = ends_as(&mut cluster, &["memory-hog", "512"], "failed").await;
    assert!(
        entry["reason"].as_str().unwrap().contains("out of memory"),
        "{entry}"
    );

    let missing = TaskDraft {
        docker_image: "127.0.0.1:1/no/such-image:1".to_owned(),
        ..test_task(&["exit", "0"])
    };
    let task = cluster.submit_draft(missing).await;
    let entry = cluster.has_status(&task, "failed").await;
    assert!(
        entry["reason"].as_str().unwrap().contains("127.0.0.1:1"),
        "{entry}"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_command_runs_in_a_shell_and_gets_its_environment() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let draft = TaskDraft {
        docker_image: cloudai_tests::engine::TEST_SHELL.to_owned(),
        command: cloudai_model::Command::Shell("echo \"$GREETING $CLOUDAI_ATTEMPT\"".to_owned()),
        env: [("GREETING".to_owned(), "hello world".to_owned())].into(),
        ..test_task(&[])
    };
    let task = cluster.submit_draft(draft).await;
    cluster.has_status(&task, "completed").await;
    let log = cluster.client().await.follow(&first(&task), |_| {}).await;
    assert_eq!(String::from_utf8_lossy(&log.stdout), "hello world 1\n");
    cluster.end().await;
}
