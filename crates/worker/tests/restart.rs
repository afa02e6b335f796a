//! A worker that is killed and started again takes its tasks up where they were.

mod support;

use support::{
    fake_master::FakeMaster,
    image::containers,
    process::{Worker, output},
    until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_container_outlives_its_worker_and_its_log_stays_whole() {
    // Given a task that prints while it runs
    let master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start(folder.path(), &master.address(), &[]);
    let line = "for i in $(seq 1 30); do echo line $i; usleep 100000; done; echo x > /output/x";
    assert!(worker.assign(master.task("job-1", line)).await.success);
    let log = folder.path().join("spool/job-1-1/log");
    until("a part of the log", || {
        std::fs::metadata(&log).ok().filter(|log| log.len() > 60)
    })
    .await;

    // When the worker is killed, and is away for a while
    worker.kill();
    let state = &containers(&master.cluster).await[0].1;
    assert_eq!(state, "running");
    master.keep_logs(true);
    let worker = Worker::start(folder.path(), &master.address(), &[]);
    worker.says("Taking up 1 task(s) of an earlier run").await;
    master.sees_phase("job-1", "running").await;

    // Then it goes on, and nothing of it is missing or there twice
    let (framed, complete) = worker.framed_log("job-1", 0).await;
    assert!(complete);
    let lines: String = (1..=30).map(|i| format!("line {i}\n")).collect();
    assert_eq!(String::from_utf8(output(&framed).0).unwrap(), lines);
    master.keep_logs(false);
    let report = master.report("job-1").await;
    assert_eq!(report.exit.unwrap().exit_code, 0);
    assert!(report.log_complete && report.files_complete);
    assert_eq!(master.state().files[&("job-1".to_owned(), 1)]["x"], b"x\n");
    master.sees_nothing_held().await;
    assert!(containers(&master.cluster).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ended_meanwhile_is_reported() {
    let master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start(folder.path(), &master.address(), &[]);
    worker
        .assign(master.task("job-1", "echo a; sleep 1; echo b; exit 7"))
        .await;
    master.sees_phase("job-1", "running").await;
    worker.kill();
    support::within(async {
        while containers(&master.cluster).await[0].1 != "exited" {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;

    // Then its log is whole (and stays until the report is acknowledged), and so is its result
    master.keep_logs(true);
    let worker = Worker::start(folder.path(), &master.address(), &[]);
    let (framed, _) = worker.framed_log("job-1", 0).await;
    assert_eq!(output(&framed).0, b"a\nb\n");
    master.keep_logs(false);
    let exit = master.report("job-1").await.exit.unwrap();
    assert_eq!((exit.kind.as_str(), exit.exit_code), ("exited", 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_was_owed_is_made_after_the_restart() {
    let mut master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start(folder.path(), &master.address(), &[]);
    worker.assign(master.task("job-1", "sleep 1; exit 4")).await;
    master.sees_phase("job-1", "running").await;
    master.vanish();
    worker.says("[Task job-1] ✗ Ended: exit code 4").await;
    let state = folder.path().join("spool/job-1-1/state.json");
    until("its end on disk", || {
        let text = std::fs::read_to_string(&state).ok()?;
        text.contains("\"exited\": 4").then_some(())
    })
    .await;
    worker.kill();

    master.come_back();
    let worker = Worker::start(folder.path(), &master.address(), &[]);
    assert_eq!(master.report("job-1").await.exit.unwrap().exit_code, 4);
    worker.says("✓ Task result reported").await;
    master.sees_nothing_held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_leaves_containers_running_unless_told_otherwise() {
    let master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start(folder.path(), &master.address(), &[]);
    worker.assign(master.task("job-1", "sleep 600")).await;
    master.sees_phase("job-1", "running").await;
    worker.terminate();
    assert!(worker.ends().await);
    assert_eq!(containers(&master.cluster).await[0].1, "running");

    // When it is started with -stop-tasks and ended
    let mut worker = Worker::start(folder.path(), &master.address(), &["-stop-tasks"]);
    worker.says("✓ Ready to receive tasks...").await;
    master.sees_phase("job-1", "running").await;
    worker.terminate();
    assert!(worker.ends().await);

    // Then the container is gone and that is reported
    let exit = master.report("job-1").await.exit.unwrap();
    assert_eq!(exit.kind, "interrupted");
    assert!(exit.reason.contains("shut down"), "{}", exit.reason);
    assert!(containers(&master.cluster).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_came_first_is_remembered_over_a_restart() {
    let master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start(folder.path(), &master.address(), &[]);
    assert!(worker.cancel("job-1", 1).await.not_held);
    worker.kill();
    let worker = Worker::start(folder.path(), &master.address(), &[]);
    let ack = worker.assign(master.task("job-1", "true")).await;
    assert!(
        ack.message.contains("cancelled before it arrived"),
        "{ack:?}"
    );
}
