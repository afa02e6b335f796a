//! A worker that is told to end.

use cloudai_tests::{cluster::Cluster, wait::until};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_says_so_and_gets_nothing_until_it_is_back() {
    // Given a worker with a task
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let runs = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&runs, "running").await;

    // When it is told to end, it says so before it falls silent
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.signal("TERM").await;
    assert_eq!(worker.ends().await, Some(0));
    let workers = cluster.json("workers").await;
    let entry = &workers[0];
    assert_eq!(
        entry["status"], "active",
        "it was heard a moment ago: {entry}"
    );
    assert_eq!(entry["reason"], "it is being shut down", "{entry}");

    // Then nothing is placed there, and what runs there goes on
    let waits = cluster.submit(&["exit", "0"]).await;
    let entry = cluster.task(&waits).await;
    assert_eq!(
        (&entry["status"], &entry["attempt"]),
        (&"queued".into(), &0.into()),
        "{entry}"
    );
    assert_eq!(cluster.container_count("worker-1").await, 1);

    // And when it is back, both are as if nothing had been
    cluster.restart_worker("worker-1", 2.0);
    let entry = cluster.has_status(&waits, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    let entry = cluster.has_status(&runs, "running").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    cluster.client().await.cancel(&runs).await;
    cluster.has_status(&runs, "cancelled").await;
    until("no containers", async || {
        (cluster.container_count("worker-1").await == 0).then_some(())
    })
    .await;
    cluster.end().await;
}
