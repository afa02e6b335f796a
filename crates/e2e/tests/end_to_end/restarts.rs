//! Restarts are invisible to containers, and what was accepted is kept.

use cloudai_tests::cluster::{Cluster, first};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_master_finds_everything_again() {
    // Given a running task with a log, and one that waits,
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 0.5).await;
    let running = cluster.submit(&["lines", "40", "200"]).await;
    cluster.has_status(&running, "running").await;
    let waiting = cluster.submit(&["exit", "0"]).await;

    // when the master is killed and comes back,
    cluster.master.signal("KILL").await;
    cluster.master.ends().await;
    cluster.restart_master().await;
    cluster.master.says("Loaded 1 workers from database").await;

    // then the same container goes on to its end, its log without gap or repeat, and the other runs.
    let entry = cluster.has_status(&running, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    let log = cluster
        .client()
        .await
        .follow(&first(&running), |_| {})
        .await;
    let lines = [log.stdout, log.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    let count: usize = lines.iter().map(|text| text.lines().count()).sum();
    assert_eq!(count, 40, "{lines:?}");
    let entry = cluster.has_status(&waiting, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_takes_its_containers_up_again() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let long = cluster.submit(&["lines", "40", "200"]).await;
    let short = cluster.submit(&["sleep", "2"]).await;
    for task in [&long, &short] {
        cluster.has_status(task, "running").await;
    }
    let worker = cluster.workers.remove("worker-1").unwrap();
    worker.kill().await;
    // One of them ends while nobody looks.
    cloudai_tests::wait::until("the short one to end", async || {
        let id = cluster.id().await;
        let held = cloudai_tests::engine::containers(&cluster.engine, &id, "worker-1").await;
        held.iter()
            .any(|container| container.state == cloudai_engine::HeldState::Ended)
            .then_some(())
    })
    .await;
    cluster.restart_worker("worker-1", 2.0);
    for task in [&long, &short] {
        let entry = cluster.has_status(task, "completed").await;
        assert_eq!(entry["attempt"], 1, "{entry}");
    }
    let log = cluster.client().await.follow(&first(&long), |_| {}).await;
    let lines = [log.stdout, log.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    let count: usize = lines.iter().map(|text| text.lines().count()).sum();
    assert_eq!(count, 40, "{lines:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_of_both_leaves_the_container_running() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let task = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&task, "running").await;
    cluster.master.type_line("exit").await;
    assert_eq!(cluster.master.ends().await, Some(0));
    let mut worker = cluster.workers.remove("worker-1").unwrap();
    worker.signal("TERM").await;
    assert_eq!(worker.ends().await, Some(0));

    cluster.restart_master().await;
    assert_eq!(cluster.container_count("worker-1").await, 1);
    cluster.restart_worker("worker-1", 2.0);
    cluster.worker_is_active("worker-1").await;
    let entry = cluster.has_status(&task, "running").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    cluster.client().await.cancel(&task).await;
    cluster.has_status(&task, "cancelled").await;
    cluster.end().await;
}
