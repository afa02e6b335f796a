//! Which worker runs what, and what waits.

use cloudai_model::{TaskDraft, TaskId};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    wait::until,
};

fn cores(cores: f64, words: &[&str]) -> TaskDraft {
    TaskDraft {
        cpu_cores: Some(cores),
        ..test_task(words)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_unequal_capacity_share_and_none_is_promised_twice() {
    // Given a worker with 2 cores and one with 1,
    let mut cluster = Cluster::start().await;
    cluster.add_worker("large", 2.0).await;
    cluster.add_worker("small", 1.0).await;

    // when four tasks of a core each come,
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(cluster.submit_draft(cores(1.0, &["sleep", "600"])).await);
    }

    // then three are placed by size, and the fourth waits and says why.
    for task in &tasks[..3] {
        cluster.has_status(task, "running").await;
    }
    let mut placed = Vec::new();
    for task in &tasks[..3] {
        placed.push(
            cluster.task(task).await["worker_id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    placed.sort();
    assert_eq!(placed, ["large", "large", "small"]);
    let waiting = cluster.task(&tasks[3]).await;
    assert_eq!(waiting["status"], "queued", "{waiting}");
    assert!(
        waiting["reason"]
            .as_str()
            .unwrap()
            .contains("CPU short by 1 core"),
        "{waiting}"
    );

    // When one ends, it starts by itself.
    cluster.client().await.cancel(&tasks[0]).await;
    cluster.has_status(&tasks[3], "running").await;
    for task in &tasks[1..] {
        cluster.client().await.cancel(task).await;
    }
    for task in &tasks {
        cluster.has_status(task, "cancelled").await;
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_waits_without_workers_and_starts_when_one_joins() {
    let mut cluster = Cluster::start().await;
    let task = cluster.submit(&["exit", "0"]).await;
    let entry = cluster.task(&task).await;
    assert_eq!(
        (&entry["status"], &entry["attempt"]),
        (&"queued".into(), &0.into())
    );
    assert_eq!(entry["reason"], "no worker is registered");
    let queue = cluster.json("queue").await;
    assert_eq!(queue[0]["task_id"], task.to_string(), "{queue}");

    cluster.add_worker("worker-1", 1.0).await;
    cluster.has_status(&task, "completed").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_dispatch_goes_where_it_says() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("a", 4.0).await;
    cluster.add_worker("b", 1.0).await;
    let image = cloudai_tests::engine::TEST_TASK;
    for (number, command) in ["dispatch b", "task b"].into_iter().enumerate() {
        let name = format!("direct-{number}");
        let line = format!("{command} {image} -name {name} -mem 0.125 -- /test-task exit 0");
        cluster.master.type_line(&line).await;
        let entry = until("the task to be done", async || {
            let tasks = cluster.json("list-tasks completed").await;
            tasks
                .as_array()?
                .iter()
                .find(|task| task["name"] == name.as_str())
                .cloned()
        })
        .await;
        assert_eq!(entry["worker_id"], "b", "{entry}");
    }
    let seen = cluster.master.lines().len();
    cluster
        .master
        .type_line(&format!("dispatch nobody {image}"))
        .await;
    cluster
        .master
        .says_after(seen, "worker nobody is not registered")
        .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unregister_takes_the_worker_out_and_its_task_runs_elsewhere() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("a", 1.0).await;
    let task = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&task, "running").await;

    cluster.master.type_line("unregister a").await;
    let entry = cluster.has_status(&task, "queued").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    assert_eq!(
        cluster.json("workers").await.as_array().map(Vec::len),
        Some(0)
    );
    until("the container to be stopped there", async || {
        (cluster.container_count("a").await == 0).then_some(())
    })
    .await;

    cluster.add_worker("b", 1.0).await;
    let entry = cluster.has_status(&task, "running").await;
    assert_eq!(
        (&entry["worker_id"], &entry["attempt"]),
        (&"b".into(), &2.into())
    );
    finish(&mut cluster, &task).await;
    cluster.end().await;
}

async fn finish(cluster: &mut Cluster, task: &TaskId) {
    cluster.client().await.cancel(task).await;
    cluster.has_status(task, "cancelled").await;
}
