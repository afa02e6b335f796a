//! Time-outs of the queue, the pull and the run, and a run's that is changed while it runs.

use cloudai_model::{Command, TaskDraft};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    registry::Registry,
    relay::{End, Relay},
};

use crate::{answers, is_said, reason, shell};

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_stands_still_ends_with_its_own_reason() {
    // Given a registry that stalls in the midst of a layer,
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let registry = Registry::open().await;
    registry.put("team/app", "1", 16).await;
    let relay = Relay::over_tcp(End::Tcp(registry.address)).await;
    relay.allow(8 << 20);

    // when a task waits for an image from there,
    let draft = TaskDraft {
        docker_image: format!("{}/team/app:1", relay.address()),
        command: Command::Image,
        pull_timeout_s: Some(15.0),
        timeout_s: Some(600.0),
        max_retries: Some(3),
        ..test_task(&[])
    };
    let task = cluster.submit_draft(draft).await;
    is_said(&mut cluster, &task, "of 16.0 MB").await;

    // then it has failed for that, is not tried again, and the worker goes on.
    let entry = cluster.has_status(&task, "failed").await;
    assert_eq!(reason(&entry), "the pull of its image timed out after 15s");
    assert_eq!(
        (&entry["time_out"], &entry["attempt"]),
        (&"pull".into(), &1.into())
    );
    let after = cluster.submit_draft(shell("true")).await;
    cluster.has_status(&after, "completed").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_too_long_ends_with_what_was_waited_for() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let submitted = answers(
        &mut cluster,
        "task cloudai/test-shell -gpu_cores 1 -queue_timeout 2s -- true",
        "submitted: queued",
    )
    .await;
    let task = submitted.split(' ').find(|word| word.starts_with("task-"));
    let task = task.unwrap().parse().unwrap();
    let entry = cluster.has_status(&task, "failed").await;
    assert_eq!(
        reason(&entry),
        "timed out after 2s in the queue: no worker with 1 GPU"
    );
    assert_eq!(
        (&entry["time_out"], &entry["attempt"]),
        (&"queue".into(), &0.into())
    );

    // What starts in time runs for as long as it takes.
    let draft = TaskDraft {
        queue_timeout_s: Some(30.0),
        ..shell("sleep 1")
    };
    let task = cluster.submit_draft(draft).await;
    cluster.has_status(&task, "completed").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runs_time_out_ends_it_and_is_changed_while_it_runs() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let run = |timeout_s| TaskDraft {
        timeout_s,
        ..test_task(&["sleep", "600"])
    };
    // One ends by its time-out.
    let short = cluster.submit_draft(run(Some(2.0))).await;
    let entry = cluster.has_status(&short, "failed").await;
    assert_eq!(
        (reason(&entry), &entry["time_out"]),
        ("timed out after 2s", &"run".into())
    );
    let refused = answers(
        &mut cluster,
        &format!("change {short} -timeout 1h"),
        "Failed to change task",
    )
    .await;
    assert!(
        refused.ends_with(&format!("task {short} is final: failed")),
        "{refused}"
    );

    // Of another it is taken away in time, and that holds after a kill of the master:
    let long = cluster.submit_draft(run(Some(12.0))).await;
    cluster.has_status(&long, "running").await;
    let line = format!("change {long} -timeout none");
    answers(
        &mut cluster,
        &line,
        "changed: it may run as long as it will",
    )
    .await;
    cluster.kill_master().await;
    cluster.restart_master().await;
    let beside = cluster.submit(&["nap", "14"]).await;
    cluster.has_status(&beside, "completed").await;
    let entry = cluster.task(&long).await;
    assert_eq!(
        (&entry["status"], &entry["timeout_s"]),
        (&"running".into(), &().into())
    );

    // With one that is over already, it ends at once and says why.
    let line = format!("change {long} -timeout 3s");
    answers(&mut cluster, &line, "is being stopped on worker-1").await;
    let entry = cluster.has_status(&long, "failed").await;
    assert_eq!(entry["timeout_s"], 3.0, "{entry}");
    assert!(reason(&entry).starts_with("timed out"), "{entry}");
    cluster.end().await;
}
