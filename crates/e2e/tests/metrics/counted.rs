//! What has happened has been counted, once.

use cloudai_model::TaskDraft;
use cloudai_tests::wait::until;

use super::{cluster, figure, metrics, shell};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_counted_from_submit_to_end_with_what_they_leave() {
    let mut cluster = cluster().await;
    // Given a task that leaves a log and two files, one that fails twice, and one that can't be,
    let line = "echo hello; echo 1 >/output/a; echo 22 >/output/b";
    let good = cluster.submit_draft(shell(line)).await;
    let bad = TaskDraft {
        max_retries: Some(1),
        ..shell("exit 3")
    };
    let bad = cluster.submit_draft(bad).await;
    let never = TaskDraft {
        cpu_cores: Some(-1.0),
        ..shell("true")
    };
    let refused = cluster.client().await.submit(never).await;
    assert!(refused.is_err());
    cluster.has_status(&good, "completed").await;
    cluster.has_status(&bad, "failed").await;
    // then each is where it belongs.
    let text = metrics(&cluster).await;
    for (series, expected) in [
        ("cloudai_tasks{status=\"queued\"}", 0.0),
        ("cloudai_tasks{status=\"pending\"}", 0.0),
        ("cloudai_tasks{status=\"running\"}", 0.0),
        ("cloudai_tasks_submitted_total", 2.0),
        ("cloudai_submits_refused_total{reason=\"invalid\"}", 1.0),
        ("cloudai_tasks_ended_total{status=\"completed\"}", 1.0),
        ("cloudai_tasks_ended_total{status=\"failed\"}", 1.0),
        ("cloudai_task_retries_total{cause=\"failure\"}", 1.0),
        ("cloudai_task_retries_total{cause=\"machine\"}", 0.0),
        ("cloudai_task_wait_seconds_count", 2.0),
        ("cloudai_task_run_seconds_count{status=\"completed\"}", 1.0),
        ("cloudai_placements_total{policy=\"round-robin\"}", 3.0),
        ("cloudai_workers{status=\"active\"}", 1.0),
        ("cloudai_capacity_cpu_cores", 4.0),
        ("cloudai_promised_cpu_cores", 0.0),
        ("cloudai_files_received_bytes_total", 5.0),
        ("cloudai_files_received_total", 2.0),
        ("cloudai_store_degraded", 0.0),
        ("cloudai_ready", 1.0),
    ] {
        assert_eq!(figure(&text, series), expected, "{series}\n{text}");
    }
    for series in [
        "cloudai_logs_received_bytes_total",
        "cloudai_heartbeats_total{result=\"taken\"}",
        "cloudai_store_commit_duration_seconds_count",
        "cloudai_disk_free_bytes{holds=\"logs\"}",
        "process_resident_memory_bytes",
    ] {
        assert!(figure(&text, series) > 0.0, "{series}\n{text}");
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_started_again_counts_what_it_finds() {
    // Given a task that runs, and one that has no room beside it,
    let mut cluster = cluster().await;
    let runs = cluster.submit_draft(shell("sleep 600")).await;
    cluster.has_status(&runs, "running").await;
    let waits = TaskDraft {
        cpu_cores: Some(3.8),
        ..shell("sleep 600")
    };
    let waits = cluster.submit_draft(waits).await;
    let is =
        |text: &str, status: &str| figure(text, &format!("cloudai_tasks{{status=\"{status}\"}}"));
    let before = metrics(&cluster).await;
    assert_eq!((is(&before, "running"), is(&before, "queued")), (1.0, 1.0));
    // when the master is started again,
    cluster.kill_master().await;
    cluster.restart_master().await;
    // then both are counted as what they are, and the first start not once more,
    let after = metrics(&cluster).await;
    assert_eq!((is(&after, "running"), is(&after, "queued")), (1.0, 1.0));
    // and their ends are.
    for task in [&waits, &runs] {
        cluster.client().await.cancel(task).await;
        cluster.has_status(task, "cancelled").await;
    }
    let text = metrics(&cluster).await;
    assert_eq!((is(&text, "running"), is(&text, "queued")), (0.0, 0.0));
    assert_eq!(
        figure(&text, "cloudai_tasks_ended_total{status=\"cancelled\"}"),
        2.0
    );
    assert_eq!(figure(&text, "cloudai_task_wait_seconds_count"), 0.0);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_falls_silent_is_an_inactive_one() {
    let mut cluster = cluster().await;
    let is = async |cluster: &super::Cluster, status: &str| {
        let text = metrics(cluster).await;
        figure(&text, &format!("cloudai_workers{{status=\"{status}\"}}"))
    };
    assert_eq!(is(&cluster, "active").await, 1.0);
    cluster.kill_worker("w-1").await;
    until("the worker to be counted as inactive", async || {
        (is(&cluster, "inactive").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(is(&cluster, "active").await, 0.0);
    cluster.end().await;
}
