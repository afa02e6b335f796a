//! Restarts are invisible to containers, and what was accepted is kept.

use cloudai_tests::{
    client::Log,
    cluster::{Cluster, first},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_master_finds_everything_again() {
    // Given a running task with a log, and one that waits,
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 0.5).await;
    let running = cluster.submit(&["lines", "40", "200"]).await;
    cluster.has_status(&running, "running").await;
    let waiting = cluster.submit(&["exit", "0"]).await;

    // when the master is killed and comes back,
    cluster.kill_master().await;
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
    is_whole(log, 40);
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
        let id = cluster.id();
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
    is_whole(log, 40);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_its_tasks_costs_them_time_and_no_retry() {
    let mut cluster = Cluster::start().await;
    let port = cluster.register("worker-1").await;
    cluster.start_worker_with("worker-1", port, 2.0, |worker| {
        worker.arg("-stop-tasks");
    });
    cluster.worker_is_active("worker-1").await;
    let task = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&task, "running").await;

    let mut worker = cluster.workers.remove("worker-1").unwrap();
    worker.signal("TERM").await;
    assert_eq!(worker.ends().await, Some(0));
    assert_eq!(cluster.container_count("worker-1").await, 0);
    cluster.has_status(&task, "queued").await;

    cluster.add_worker("worker-2", 2.0).await;
    let entry = cluster.has_status(&task, "running").await;
    assert_eq!(
        (&entry["attempt"], &entry["worker_id"]),
        (&2.into(), &"worker-2".into())
    );
    cluster.end().await;
}

/// Whether a log is what `test-task lines` prints: each line once, in order, on its output.
fn is_whole(log: Log, count: usize) {
    let [out, err] = [log.stdout, log.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    let line = |number: usize| format!("line {number} of {count}\n");
    let on_stderr = |number: &usize| number.is_multiple_of(5);
    let expected: String = (1..=count).filter(|n| !on_stderr(n)).map(line).collect();
    assert_eq!(out, expected);
    let expected: String = (1..=count).filter(on_stderr).map(line).collect();
    assert_eq!(err, expected);
}
