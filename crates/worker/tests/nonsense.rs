//! A master that sends nonsense: the worker says so, and runs on.

mod support;

use cloudai_proto::cluster::{Task, TaskId, TaskLogRequest};
use support::{fake_master::FakeMaster, process::Worker, worker};
use tonic::Code;

/// The worker runs a task as ever, and holds nothing else.
async fn runs_on(master: &FakeMaster, worker: &Worker) {
    let mut order = master.task("honest", "true");
    order.sequence = 100;
    let ack = worker.assign(order).await;
    assert!(ack.success, "{ack:?}");
    assert_eq!(master.report("honest").await.status, "success");
    master.sees_nothing_held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_none_or_leads_out_is_refused_by_its_name() {
    let (master, worker, folder) = worker().await;
    let mut client = worker.client().await;
    // Beside its data directory, where nobody else has anything.
    let beside = folder.path().with_extension("beside");
    let beside_it = format!("../{}", beside.file_name().unwrap().display());
    for id in [
        "",
        &beside_it,
        "a/b",
        "/etc/passwd",
        ".",
        "..",
        "\0",
        "a\nb",
    ] {
        let refused = client
            .assign_task(master.task(id, "true"))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{id:?}: {refused}");
        assert!(refused.message().contains("task_id"), "{id:?}: {refused}");

        let stop = TaskId {
            task_id: id.to_owned(),
            attempt: 1,
            ..TaskId::default()
        };
        let refused = client.cancel_task(stop).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{id:?}: {refused}");

        let log = TaskLogRequest {
            task_id: id.to_owned(),
            attempt: 1,
            framed: true,
            ..TaskLogRequest::default()
        };
        let refused = client.stream_task_logs(log).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{id:?}: {refused}");
    }
    let cluster = Task {
        cluster_id: beside_it,
        ..master.task("job-1", "true")
    };
    let refused = client.assign_task(cluster).await.unwrap_err();
    assert!(refused.message().contains("cluster_id"), "{refused}");
    runs_on(&master, &worker).await;
    assert!(!beside.exists(), "{}", beside.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_does_not_hold_it_neither_stops_nor_tells_of() {
    let (master, worker, _folder) = worker().await;
    let ack = worker.cancel("never", 1).await;
    assert!(!ack.success && ack.not_held, "{ack:?}");
    let mut client = worker.client().await;
    for (attempt, framed) in [(0, false), (1, false), (1, true)] {
        let log = TaskLogRequest {
            task_id: "never".to_owned(),
            attempt,
            framed,
            offset: u64::MAX,
            follow: true,
            ..TaskLogRequest::default()
        };
        let refused = client.stream_task_logs(log).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused}");
        assert!(refused.message().contains("does not hold"), "{refused}");
    }
    runs_on(&master, &worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_for_another_worker_is_refused() {
    let (master, worker, _folder) = worker().await;
    let astray = Task {
        target_worker_id: "worker-9".to_owned(),
        ..master.task("job-1", "true")
    };
    let ack = worker.assign(astray).await;
    assert!(!ack.success, "{ack:?}");
    assert!(ack.message.contains("worker-9"), "{}", ack.message);
    runs_on(&master, &worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_attempt_with_another_job_is_told_apart() {
    let (master, worker, _folder) = worker().await;
    let first = master.task("job-1", "sleep 600");
    assert!(worker.assign(first.clone()).await.success);
    master.sees_phase("job-1", "running").await;

    // The same once more is the same, and anything else is another.
    assert!(worker.assign(first.clone()).await.success);
    let other_line = master.task("job-1", "rm -rf /");
    let more = Task {
        req_cpu: Some(1.0),
        ..first
    };
    for other in [other_line, more] {
        let ack = worker.assign(other).await;
        assert!(!ack.success, "{ack:?}");
        assert!(ack.message.contains("another job"), "{}", ack.message);
    }
    // Nothing happened to what runs.
    master.sees_phase("job-1", "running").await;
    assert!(worker.cancel("job-1", 1).await.success);
    assert_eq!(master.report("job-1").await.exit.unwrap().kind, "cancelled");
    runs_on(&master, &worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_large_is_refused_and_the_server_goes_on() {
    let (master, worker, _folder) = worker().await;
    let mut client = worker.client().await;
    let oversized = master.task("job-1", &"x".repeat(5 << 20));
    let refused = client.assign_task(oversized).await.unwrap_err();
    assert!(
        matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{refused}"
    );
    runs_on(&master, &worker).await;
}
