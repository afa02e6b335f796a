//! Tasks on a real worker with a real engine, told by a fake master.

mod support;

use std::time::Duration;

use support::{
    cut_engine::CutEngine,
    fake_master::FakeMaster,
    image::{containers, remove},
    process::{Worker, output},
    spool_is_empty, until, worker,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_and_its_log_files_and_result_arrive() {
    let (master, worker, folder) = worker().await;

    // When a task prints on both outputs and leaves files
    let line = "printf 'a\\0b\\n'; echo oops >&2; head -c 600000 /dev/zero > /output/big; \
                mkdir -p /output/sub; echo hi > /output/sub/small; touch /output/empty; exit 3";
    master.keep_logs(true);
    let ack = worker.assign(master.task("job-1", line)).await;
    assert!(ack.success, "{}", ack.message);
    let (framed, complete) = worker.framed_log("job-1", 0).await;
    master.keep_logs(false);

    // Then the log is whole, byte for byte, on either stream
    assert!(complete);
    let (out, err) = output(&framed);
    assert_eq!(out, b"a\0b\n");
    assert_eq!(err, b"oops\n");

    // And the result says how it ended, after the files
    let report = master.report("job-1").await;
    let exit = report.exit.unwrap();
    assert_eq!((exit.kind.as_str(), exit.exit_code), ("exited", 3));
    assert!(exit.started_at_ms.is_some() && exit.finished_at_ms >= exit.started_at_ms.unwrap());
    assert_eq!((report.attempt, report.status.as_str()), (1, "failure"));
    assert_eq!(report.log_length, Some(framed.len() as u64));
    assert!(report.log_complete && report.files_complete);
    {
        let state = master.state();
        let files = &state.files[&("job-1".to_owned(), 1)];
        assert_eq!(files["big"], vec![0; 600_000]);
        assert_eq!(files["sub/small"], b"hi\n");
        assert_eq!(files["empty"], b"");
        assert_eq!(files.len(), 3);
    }
    master.sees_phase("job-1", "uploading").await;

    // And nothing stays
    master.sees_nothing_held().await;
    assert!(containers(&master.cluster).await.is_empty());
    until("an empty spool", || spool_is_empty(&folder).then_some(())).await;
    for line in [
        "✓ Worker registered: Worker registered successfully",
        "✓ Ready to receive tasks...",
        "Received task assignment: job-1 (Image: cloudai-worker-test/busybox:1)",
        "[Task job-1] ✗ Ended: exit code 3",
        "✓ Task result reported: Task result received",
    ] {
        worker.says(line).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_repeated_until_it_is_acknowledged_and_then_never_again() {
    let (master, worker, _folder) = worker().await;
    master.state().lose_reports = 3;
    worker.assign(master.task("job-1", "true")).await;
    until("four reports", || {
        (master.state().reports.len() == 4).then_some(())
    })
    .await;
    master.sees_nothing_held().await;
    let state = master.state();
    assert_eq!(state.reports.len(), 4);
    assert!(
        state
            .reports
            .iter()
            .all(|report| *report == state.reports[0])
    );
    assert!(
        worker
            .said()
            .contains(&"[Task job-1] ✓ Completed successfully".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_sent_again_whole_when_the_stream_breaks() {
    let (master, worker, _folder) = worker().await;
    master.state().break_uploads = 2;
    worker
        .assign(master.task("job-1", "seq 1 100000 > /output/numbers"))
        .await;
    let report = master.report("job-1").await;
    assert!(report.files_complete, "{}", report.files_reason);
    let state = master.state();
    assert_eq!(state.uploads, 3);
    let files = &state.files[&("job-1".to_owned(), 1)];
    assert_eq!(files["numbers"].len(), 588_895);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_left_out_and_said() {
    let (master, worker, _folder) = worker().await;
    let line = "ln -s /etc/passwd /output/link; mkfifo /output/pipe; echo x > /output/file";
    worker.assign(master.task("job-1", line)).await;
    let report = master.report("job-1").await;
    assert!(!report.files_complete);
    assert!(
        report.files_reason.contains("link: is a symbolic link"),
        "{}",
        report.files_reason
    );
    assert!(
        report.files_reason.contains("pipe: is a FIFO"),
        "{}",
        report.files_reason
    );
    assert_eq!(report.exit.unwrap().exit_code, 0);
    assert_eq!(master.state().files[&("job-1".to_owned(), 1)].len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_had_is_the_result() {
    let (master, worker, _folder) = worker().await;
    let mut order = master.task("job-1", "true");
    order.docker_image = "127.0.0.1:1/no/such:image".to_owned();
    worker.assign(order).await;
    worker
        .says("[Task job-1] Pulling image: 127.0.0.1:1/no/such:image")
        .await;
    let exit = master.report("job-1").await.exit.unwrap();
    assert_eq!(exit.kind, "not-started");
    assert!(exit.reason.contains("no/such:image"), "{}", exit.reason);
    assert_eq!(exit.started_at_ms, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_cancelled() {
    // Given a registry that accepts and never answers
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (master, worker, _folder) = worker().await;
    let mut order = master.task("job-1", "true");
    order.docker_image = format!("{address}/slow:1");
    worker.assign(order).await;
    master.sees_phase("job-1", "pulling").await;

    // When the pull is cancelled
    let ack = worker.cancel("job-1", 1).await;
    assert!(ack.success && !ack.not_held, "{ack:?}");

    // Then that is the result, at once
    let exit = master.report("job-1").await.exit.unwrap();
    assert_eq!(exit.kind, "cancelled");
    master.sees_nothing_held().await;
    assert!(containers(&master.cluster).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_is_cancelled_with_sigterm_and_then_with_sigkill() {
    let (master, worker, folder) = worker().await;
    worker
        .assign(master.task(
            "job-1",
            "echo up; trap 'echo bye; exit 0' TERM; while :; do usleep 10000; done",
        ))
        .await;
    let deaf = master.task(
        "job-2",
        "trap '' TERM; echo up; while :; do usleep 10000; done",
    );
    worker.assign(deaf).await;
    for id in ["job-1", "job-2"] {
        // The trap is set when the line has been printed.
        master.sees_phase(id, "running").await;
        let path = folder.path().join(format!("spool/{id}-1/log"));
        until("its first line", || {
            std::fs::metadata(&path).ok().filter(|m| m.len() > 0)
        })
        .await;
    }

    master.keep_logs(true);
    let asked = tokio::time::Instant::now();
    assert!(worker.cancel("job-1", 1).await.success);
    assert!(worker.cancel("job-2", 1).await.success);
    let (framed, _) = worker.framed_log("job-1", 0).await;
    assert_eq!(
        output(&framed).0,
        b"up\nbye\n",
        "it had time to say goodbye"
    );
    master.keep_logs(false);
    for id in ["job-1", "job-2"] {
        let exit = master.report(id).await.exit.unwrap();
        assert_eq!(exit.kind, "cancelled", "{id}");
    }
    assert!(
        asked.elapsed() >= Duration::from_secs(1),
        "the grace was given"
    );
    master.sees_nothing_held().await;
    assert!(containers(&master.cluster).await.is_empty());

    // And what isn't held is answered so, and never started
    let ack = worker.cancel("job-3", 1).await;
    assert!(ack.not_held && !ack.success, "{ack:?}");
    let ack = worker.assign(master.task("job-3", "true")).await;
    assert!(!ack.success);
    assert!(
        ack.message.contains("cancelled before it arrived"),
        "{}",
        ack.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_assignment_is_answered_the_same_and_run_once() {
    let (master, worker, _folder) = worker().await;
    let line = "echo once >> /output/runs";
    for _ in 0..3 {
        assert!(worker.assign(master.task("job-1", line)).await.success);
    }
    master.report("job-1").await;
    master.sees_nothing_held().await;
    assert!(worker.assign(master.task("job-1", line)).await.success);
    master.sees_nothing_held().await;
    let state = master.state();
    assert_eq!(state.reports.len(), 1);
    assert_eq!(state.files[&("job-1".to_owned(), 1)]["runs"], b"once\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_with_what_is_missing() {
    let (master, worker, _folder) = worker().await;
    let mut order = master.task("job-1", "true");
    order.req_cpu = Some(64.0);
    let ack = worker.assign(order).await;
    assert!(!ack.success);
    assert_eq!(ack.message, "not enough free here: needs 64 cores, 4 free");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_signals_are_told_from_exit_codes() {
    let (master, worker, _folder) = worker().await;
    let hog = "dd if=/dev/zero of=/dev/null bs=200M count=1";
    worker.assign(master.task("job-1", hog)).await;
    worker.assign(master.task("job-2", "kill -SEGV $$")).await;
    assert_eq!(
        master.report("job-1").await.exit.unwrap().kind,
        "out-of-memory"
    );
    let exit = master.report("job-2").await.exit.unwrap();
    assert_eq!((exit.kind.as_str(), exit.signal), ("signalled", 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_while_it_grows_and_goes_on_at_any_byte() {
    // Given a master that is away when the task ends, so that its log stays
    let (mut master, worker, _folder) = worker().await;
    let line = "for i in 1 2 3 4 5; do echo line $i; usleep 100000; done";
    worker.assign(master.task("job-1", line)).await;
    master.sees_phase("job-1", "running").await;
    master.vanish();
    let (whole, complete) = worker.framed_log("job-1", 0).await;
    assert!(complete);
    let lines = "line 1\nline 2\nline 3\nline 4\nline 5\n";
    assert_eq!(output(&whole).0, lines.as_bytes());
    for offset in [1, 17, whole.len() - 1, whole.len()] {
        let (rest, complete) = worker.framed_log("job-1", offset as u64).await;
        assert!(complete);
        assert_eq!(rest, whole[offset..], "from {offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_without_a_line_end_arrives_whole() {
    let (master, worker, _folder) = worker().await;
    master.keep_logs(true);
    let line = "dd if=/dev/zero bs=1M count=24 2>/dev/null; seq 1 100000 >&2";
    let mut task = master.task("job-1", line);
    task.req_storage = Some(1.0);
    worker.assign(task).await;
    let (framed, complete) = worker.framed_log("job-1", 0).await;
    master.keep_logs(false);
    assert!(complete);
    let (out, err) = output(&framed);
    assert_eq!(out.len(), 24 << 20);
    assert!(out.iter().all(|byte| *byte == 0));
    let numbers: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(err == numbers.as_bytes(), "{} bytes of stderr", err.len());
    let report = master.report("job-1").await;
    assert!(report.log_complete);
    assert_eq!(report.log_length, Some(framed.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_caller_gets_the_output_as_text() {
    let (master, worker, _folder) = worker().await;
    let line = "printf 'caf\\303\\251 \\377\\n'; echo oops >&2; sleep 600";
    worker.assign(master.task("job-1", line)).await;
    let mut chunks = worker.plain_log("job-1").await;
    let mut text = String::new();
    let lossy = ["caf\u{e9} \u{fffd}\n", "oops\n"];
    while lossy.iter().any(|line| !text.contains(line)) {
        let chunk = support::within(chunks.message()).await.unwrap().unwrap();
        assert!(
            chunk.timestamp.ends_with('Z') && !chunk.is_complete,
            "{chunk:?}"
        );
        assert!(
            chunk.data.is_empty() && chunk.stream.is_empty(),
            "{chunk:?}"
        );
        text.push_str(&chunk.content);
    }
    worker.cancel("job-1", 1).await;
    let last = support::within(chunks.message()).await.unwrap().unwrap();
    assert!(last.is_complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_survives_an_engine_that_breaks_off() {
    // Given a task that prints, on an engine behind a connection that can be cut
    let master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut cut = CutEngine::new(folder.path()).await;
    let flags = ["-docker-host", &cut.host()];
    let worker = Worker::start(folder.path(), &master.address(), &flags);
    let line = "for i in $(seq 1 40); do echo line $i; usleep 100000; done";
    master.keep_logs(true);
    assert!(worker.assign(master.task("job-1", line)).await.success);
    let log = folder.path().join("spool/job-1-1/log");
    let longer = |than: u64| {
        let log = log.clone();
        move || std::fs::metadata(&log).ok().filter(|log| log.len() > than)
    };

    // When it is cut while the task prints, until the worker says so
    until("a part of the log", longer(60)).await;
    cut.cut();
    worker
        .says("this worker takes no tasks until it answers")
        .await;
    assert!(!worker.assign(master.task("job-2", "true")).await.success);
    cut.mend().await;
    worker.says("✓ Docker Engine is back").await;

    // Then nothing is missing and nothing is there twice
    let (framed, complete) = worker.framed_log("job-1", 0).await;
    master.keep_logs(false);
    assert!(complete);
    let lines: String = (1..=40).map(|i| format!("line {i}\n")).collect();
    assert_eq!(String::from_utf8(output(&framed).0).unwrap(), lines);
    let report = master.report("job-1").await;
    assert_eq!(report.exit.unwrap().exit_code, 0);
    assert!(report.log_complete, "{}", report.log_reason);
    master.sees_nothing_held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_master_does_not_want_is_dropped() {
    let (master, worker, folder) = worker().await;
    master.state().superseded = true;
    worker.assign(master.task("job-1", "true")).await;
    master.sees_nothing_held().await;
    until("an empty spool", || spool_is_empty(&folder).then_some(())).await;
    assert_eq!(master.state().reports.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_someone_removes_is_reported_so() {
    let (master, worker, _folder) = worker().await;
    worker.assign(master.task("job-1", "sleep 600")).await;
    master.sees_phase("job-1", "running").await;
    remove(&format!("cloudai-{}-job-1-1", master.cluster)).await;
    let exit = master.report("job-1").await.exit.unwrap();
    // Its removal kills it first, which is not taken for its end.
    assert_eq!(exit.kind, "interrupted", "{exit:?}");
    assert!(exit.reason.contains("removed by someone else"), "{exit:?}");
}
