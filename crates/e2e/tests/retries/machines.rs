//! Failures of machines: as often as needed, none of the task's retries, and a limit.

use cloudai_model::TaskDraft;
use cloudai_tests::{
    cluster::{Cluster, test_task},
    engine::containers,
    wait::until,
};
use serde_json::json;

use crate::{is_said, reason, shell};

/// A master that soon gives a worker up, and a task under which so many failed.
async fn quick(limit: &str) -> Cluster {
    let flags = [
        "-heartbeat-interval=1s",
        "-inactive-after=3s",
        "-lost-after=5s",
        "-machine-failure-limit",
        limit,
    ];
    Cluster::start_with("127.0.0.1", &flags).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_workers_are_lost_is_run_again_and_given_up_at_the_limit() {
    let mut cluster = quick("3").await;
    cluster.add_worker("worker-1", 2.0).await;
    let task = cluster.submit(&["sleep", "600"]).await;
    let mut attempts = 0;
    for lost in 1..=3 {
        // When its worker is killed, and stays away,
        attempts = until("the task to run", async || {
            let entry = cluster.task(&task).await;
            let attempt = entry["attempt"].as_u64()?;
            (entry["status"] == "running" && attempt > attempts).then_some(attempt)
        })
        .await;
        cluster.workers.remove("worker-1").unwrap().kill().await;

        // then it waits for another, which is no failure of its own;
        let expected = if lost < 3 { "queued" } else { "failed" };
        let entry = until(&format!("{task} to be {expected}"), async || {
            let entry = cluster.task(&task).await;
            (entry["status"] == expected).then_some(entry)
        })
        .await;
        assert_eq!(entry["retries_used"], 0, "{entry}");
        assert_eq!(
            entry["taken_down"].as_array().unwrap().len(),
            lost,
            "{entry}"
        );
        cluster.restart_worker("worker-1", 2.0);
        cluster.worker_is_active("worker-1").await;
    }

    // after three times it is given up, with the names,
    let entry = cluster.task(&task).await;
    assert_eq!(
        reason(&entry),
        "given up: 3 times a worker was lost or failed under it: worker-1 3 times"
    );
    // and nothing of it is left when the worker is back.
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_vanishes_while_its_worker_is_away_counts_as_a_failed_machine() {
    let mut cluster = quick("1").await;
    cluster.add_worker("worker-1", 2.0).await;
    let task = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&task, "running").await;
    cluster.workers.remove("worker-1").unwrap().kill().await;
    let id = cluster.id();
    for held in containers(&cluster.engine, &id, "worker-1").await {
        let removed = tokio::process::Command::new("docker")
            .args(["rm", "--force", "--volumes", held.id.as_str()])
            .output();
        assert!(removed.await.unwrap().status.success());
    }
    cluster.restart_worker("worker-1", 2.0);
    let entry = cluster.has_status(&task, "failed").await;
    assert_eq!(
        reason(&entry),
        "given up: a worker was lost or failed under it: worker-1"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_admins_and_orderly_stops_do_is_not_counted() {
    let mut cluster = quick("1").await;
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.arg("-stop-tasks");
        })
        .await;
    let task = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&task, "running").await;

    // A worker that is told to stop with its tasks,
    let mut worker = cluster.workers.remove("worker-1").unwrap();
    worker.signal("TERM").await;
    assert_eq!(worker.ends().await, Some(0));
    let entry = is_said(&mut cluster, &task, "").await;
    assert_ne!(entry["status"], "failed", "{entry}");
    cluster.restart_worker("worker-1", 2.0);
    let runs_again = async |cluster: &mut Cluster, attempt: u64| {
        until(&format!("attempt {attempt} to run"), async || {
            let entry = cluster.task(&task).await;
            assert_ne!(entry["status"], "failed", "{entry}");
            (entry["status"] == "running" && entry["attempt"] == attempt).then_some(entry)
        })
        .await
    };
    runs_again(&mut cluster, 2).await;

    // a master that is killed and started again,
    cluster.kill_master().await;
    cluster.restart_master().await;
    cluster.worker_is_active("worker-1").await;
    runs_again(&mut cluster, 2).await;

    // and a worker that is unregistered: none of it takes anything from the task.
    cluster.add_worker("worker-2", 2.0).await;
    cluster.master.type_line("unregister worker-1").await;
    let entry = runs_again(&mut cluster, 3).await;
    assert_eq!(
        (&entry["taken_down"], &entry["retries_used"]),
        (&json!([]), &json!(0))
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machine_failures_take_no_retry_and_retries_no_machine_failures() {
    // Given a task that fails once by itself, and whose worker is then lost,
    let mut cluster = quick("5").await;
    cluster.add_worker("worker-1", 2.0).await;
    let draft = TaskDraft {
        max_retries: Some(1),
        ..shell("case $CLOUDAI_ATTEMPT in 1) exit 4;; 2) sleep 600;; esac")
    };
    let task = cluster.submit_draft(draft).await;
    until("the second attempt to run", async || {
        let entry = cluster.task(&task).await;
        (entry["status"] == "running" && entry["attempt"] == 2).then_some(())
    })
    .await;
    cluster.workers.remove("worker-1").unwrap().kill().await;
    until("its worker to be lost", async || {
        let entry = cluster.task(&task).await;
        (entry["status"] == "queued" && entry["taken_down"] == json!(["worker-1"])).then_some(())
    })
    .await;

    // then it is run all the same, and both are told apart.
    cluster.restart_worker("worker-1", 2.0);
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(
        (
            &entry["attempt"],
            &entry["retries_used"],
            &entry["taken_down"]
        ),
        (&json!(3), &json!(1), &json!(["worker-1"]))
    );
    let small = test_task(&["exit", "0"]);
    let after = cluster.submit_draft(small).await;
    cluster.has_status(&after, "completed").await;
    cluster.end().await;
}
