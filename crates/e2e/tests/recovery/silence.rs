//! Workers that fall silent, a master that stands still: who is given up, who is not. The spans are
//! a tenth of the defaults, which `cloudai-core` checks; with `CLOUDAI_TESTS_FULL_SPANS` set, as
//! `make test-all` does, they are the defaults, and the master stands still for a minute.

use std::time::Duration;

use cloudai_model::AttemptId;
use cloudai_tests::{cluster::Cluster, wait::until};
use tokio::time::sleep;

use crate::task::{gated, let_go};

const SPANS: [&str; 6] = [
    "-heartbeat-interval",
    "500ms",
    "-inactive-after",
    "1500ms",
    "-lost-after",
    "3s",
];

fn has_full_spans() -> bool {
    std::env::var_os("CLOUDAI_TESTS_FULL_SPANS").is_some()
}

fn lost_after() -> Duration {
    Duration::from_secs(if has_full_spans() { 30 } else { 3 })
}

/// A cluster of two workers, of which the first runs a gated task.
async fn with_task_on_the_first() -> (Cluster, AttemptId) {
    let spans: &[&str] = if has_full_spans() { &[] } else { &SPANS };
    let mut cluster = Cluster::start_with("127.0.0.1", spans).await;
    cluster.add_worker("worker-1", 1.0).await;
    let task = cluster.submit_draft(gated()).await;
    let entry = cluster.has_status(&task, "running").await;
    assert_eq!(entry["worker_id"], "worker-1", "{entry}");
    cluster.add_worker("worker-2", 1.0).await;
    (cluster, AttemptId::new(task, 1))
}

/// Waits until the second attempt runs on the second worker; it is not before the first is lost.
async fn runs_elsewhere(cluster: &mut Cluster, first: &AttemptId) -> AttemptId {
    until("the first worker to be inactive", async || {
        let workers = cluster.json("workers").await;
        (workers[0]["status"] == "inactive").then_some(())
    })
    .await;
    // Inactive is not lost.
    let entry = cluster.task(&first.task).await;
    assert!(
        entry["attempt"] == 1 || entry["worker_id"] == "worker-2",
        "{entry}"
    );
    let entry = until("its task to run elsewhere", async || {
        let entry = cluster.task(&first.task).await;
        let elsewhere = entry["worker_id"] == "worker-2" && entry["status"] == "running";
        elsewhere.then_some(entry)
    })
    .await;
    assert_eq!(entry["attempt"], 2, "{entry}");
    AttemptId::new(first.task.clone(), 2)
}

/// Lets the second attempt end, and checks that the result is its.
async fn the_second_counts(cluster: &mut Cluster, second: &AttemptId) {
    let_go(cluster, "worker-2", second);
    let entry = cluster.has_status(&second.task, "completed").await;
    assert_eq!(
        (&entry["attempt"], &entry["worker_id"]),
        (&2.into(), &"worker-2".into()),
        "{entry}"
    );
    let log = cluster.client().await.follow(second, |_| {}).await;
    assert_eq!(log.stdout, b"attempt 2\nend\n");
    let kept = cluster.path(&format!("master/files/admin/{}/end", second.task));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "attempt 2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_silent_too_long_finds_its_attempt_taken_over_and_stops_it() {
    let (mut cluster, first) = with_task_on_the_first().await;

    // When the first worker stands still for long, its container does not
    cluster.workers["worker-1"].signal("STOP").await;
    let second = runs_elsewhere(&mut cluster, &first).await;
    assert_eq!(cluster.container_count("worker-1").await, 1);

    // Then the container is stopped as soon as it is back, and has no say.
    cluster.workers["worker-1"].signal("CONT").await;
    until("the first attempt's container to be gone", async || {
        (cluster.container_count("worker-1").await == 0).then_some(())
    })
    .await;
    assert_eq!(cluster.container_count("worker-2").await, 1);
    the_second_counts(&mut cluster, &second).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_of_an_attempt_that_was_taken_over_is_refused() {
    let (mut cluster, first) = with_task_on_the_first().await;

    // When the first worker is killed, its container ends, and its task runs elsewhere
    cluster.kill_worker("worker-1").await;
    let_go(&cluster, "worker-1", &first);
    let second = runs_elsewhere(&mut cluster, &first).await;

    // Then its report, files and log come too late
    cluster.restart_worker("worker-1", 1.0);
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("Taking up 1 task(s) of an earlier run").await;
    let spool = cluster.path(&format!("worker-1/spool/{first}"));
    until("the first worker to have dropped it", async || {
        (!spool.exists()).then_some(())
    })
    .await;
    assert_eq!(cluster.container_count("worker-1").await, 0);
    let entry = cluster.task(&first.task).await;
    assert_eq!(
        (&entry["status"], &entry["attempt"]),
        (&"running".into(), &2.into()),
        "{entry}"
    );
    the_second_counts(&mut cluster, &second).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_stood_still_takes_no_worker_for_lost() {
    let (mut cluster, first) = with_task_on_the_first().await;

    // When the master itself stands still for twice as long as a worker may be silent
    let seen = cluster.master.lines().len();
    cluster.master.signal("STOP").await;
    sleep(lost_after() * 2).await;
    cluster.master.signal("CONT").await;
    // and has looked at its workers often enough since
    sleep(lost_after() * 2).await;

    // Then it has taken nobody for gone
    let workers = cluster.json("workers").await;
    for worker in workers.as_array().unwrap() {
        assert_eq!(worker["status"], "active", "{worker}");
    }
    let said = cluster.master.lines().split_off(seen);
    let gone = |line: &&String| line.contains("inactive") || line.contains("lost");
    assert_eq!(said.iter().find(gone), None);
    let entry = cluster.task(&first.task).await;
    assert_eq!(
        (&entry["attempt"], &entry["worker_id"]),
        (&1.into(), &"worker-1".into()),
        "{entry}"
    );
    let_go(&cluster, "worker-1", &first);
    let entry = cluster.has_status(&first.task, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    cluster.end().await;
}
