//! An old worker under our master.

use std::fs;

use cloudai_model::{AttemptId, Command, TaskDraft};
use cloudai_tests::{
    cluster::{Cluster, first, test_task},
    engine::TEST_SHELL,
    old_nodes::{Peer, Place},
    wait::until,
};

both_places![
    it_registers_when_called_and_runs_a_task_with_logs_and_files,
    it_registers_by_itself,
    logs_that_no_stream_gave_come_from_the_result,
    a_log_stream_that_breaks_goes_on_without_gap_or_repeat,
    a_log_whose_streams_all_break_is_completed_by_the_result,
    files_sent_beside_the_result_are_waited_for,
    files_that_come_after_the_result_are_kept,
    files_that_are_not_taken_are_said_to_be_missing,
    a_cancel_stops_it_and_its_failure_is_the_cancel,
    after_its_restart_the_second_attempt_has_an_id_of_its_own,
    a_restart_of_the_master_takes_its_task_up,
    a_long_upload_does_not_make_it_missing,
];

const WORKER: &str = "worker-old";

async fn master(place: &Place) -> Cluster {
    Cluster::start_with(place.bind_here(), place.flags()).await
}

/// An old worker that hears of its master by MasterRegister alone.
async fn registered(cluster: &mut Cluster, place: &Place, flags: &[&str]) -> Peer {
    let worker = Peer::worker(place, WORKER, flags).await;
    let command = format!("register {WORKER} {}", worker.address);
    cluster.master.type_line(&command).await;
    cluster.worker_is_active(WORKER).await;
    worker
}

fn shell(line: &str) -> TaskDraft {
    TaskDraft {
        docker_image: TEST_SHELL.to_owned(),
        command: Command::Shell(line.to_owned()),
        ..test_task(&[])
    }
}

async fn log_of(cluster: &Cluster, attempt: &AttemptId) -> String {
    let log = cluster.client().await.follow(attempt, |_| {}).await;
    String::from_utf8([log.stdout, log.stderr].concat()).unwrap()
}

async fn it_registers_when_called_and_runs_a_task_with_logs_and_files(place: Place) {
    let mut cluster = master(&place).await;
    // Given an old worker that knows no master, when it is registered, it is called and comes.
    let worker = registered(&mut cluster, &place, &["--logs", "stream"]).await;
    let call = worker.sees("MasterRegister", |_| true).await;
    let master = format!("{}:{}", place.towards_here(), cluster.grpc_port());
    assert_eq!(call["address"], master);

    // When it runs a task that prints and leaves files,
    let task = cluster
        .submit_draft(TaskDraft {
            name: Some("the name".to_owned()),
            user_id: Some("ann".to_owned()),
            ..shell(
                "echo one; echo 'two é'; mkdir $OUTPUT/sub; : > $OUTPUT/empty; \
                 head -c 2500 /dev/zero | tr '\\0' x > $OUTPUT/sub/large",
            )
        })
        .await;
    cluster.has_status(&task, "completed").await;

    // then it was asked in words that it knows, and all that came of it is here.
    let sent = worker.sees("AssignTask", |_| true).await;
    assert_eq!(sent["task_id"], task.to_string());
    assert_eq!((&sent["cpu"], &sent["user"]), (&0.5.into(), &"ann".into()));
    assert!(
        sent["submitted_at"].as_i64() > Some(1_600_000_000),
        "{sent}"
    );
    assert_eq!(log_of(&cluster, &first(&task)).await, "one\ntwo é\n");
    let uploaded = worker.sees("uploaded", |_| true).await;
    assert_eq!(uploaded["success"], true, "{uploaded}");
    let folder = cluster
        .path("master/files")
        .join("ann")
        .join(task.to_string());
    assert_eq!(fs::read(folder.join("sub/large")).unwrap(), [b'x'; 2500]);
    assert_eq!(fs::read(folder.join("empty")).unwrap(), b"");
    let reported = worker.sees("reported", |_| true).await;
    assert_eq!(reported["success"], true, "{reported}");
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}

async fn it_registers_by_itself(place: Place) {
    let mut cluster = master(&place).await;
    let address = format!("{}:{}", place.towards_here(), cluster.grpc_port());
    let worker = Peer::worker(&place, WORKER, &["--master", &address]).await;
    let refused = worker.sees("refused", |_| true).await;
    assert_eq!(refused["code"], "PERMISSION_DENIED");
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("worker worker-old not authorized") && message.contains("register"),
        "{message}"
    );
    let command = format!("register {WORKER} {}", worker.address);
    cluster.master.type_line(&command).await;
    cluster.worker_is_active(WORKER).await;
    // A task that fails, fails; its figures are those of the heartbeat.
    let task = cluster.submit_draft(shell("exit 3")).await;
    cluster.has_status(&task, "failed").await;
    worker.sees("beat", |beat| beat["success"] == true).await;
    until("its figures", async || {
        let usage = cluster.json(&format!("stats {WORKER}")).await["usage"].clone();
        (usage["cpu_percent"] == 12.5 && usage["memory_gb"] == 0.5).then_some(())
    })
    .await;
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}

async fn logs_that_no_stream_gave_come_from_the_result(place: Place) {
    let mut cluster = master(&place).await;
    // Given one that has less patience for its report than the master has for its stream,
    let flags = ["--logs", "result", "--report-timeout", "3", "--beat", "2"];
    let worker = registered(&mut cluster, &place, &flags).await;
    let task = cluster.submit_draft(shell("echo one; echo two >&2")).await;
    let entry = cluster.has_status(&task, "completed").await;
    assert!(!worker.all("StreamTaskLogs").is_empty(), "it was asked");
    assert_eq!(log_of(&cluster, &first(&task)).await, "one\ntwo\n");

    // then the result counts all the same, and nothing runs twice.
    let again = worker.sees("reported", |_| true).await;
    assert_eq!(again["success"], true, "{again}");
    assert!(
        !worker.all("reported not yet").is_empty(),
        "it gave up once"
    );
    assert_eq!(entry["attempt"], 1, "{entry}");
    assert_eq!(worker.all("AssignTask").len(), 1);
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}

async fn a_log_stream_that_breaks_goes_on_without_gap_or_repeat(place: Place) {
    let mut cluster = master(&place).await;
    let worker = registered(&mut cluster, &place, &["--logs", "cut"]).await;
    let task = cluster
        .submit_draft(shell(
            "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.3; done",
        ))
        .await;
    cluster.has_status(&task, "completed").await;
    assert!(
        worker.all("StreamTaskLogs").len() >= 3,
        "it was asked again"
    );
    let expected: String = (1..=6).map(|i| format!("line {i}\n")).collect();
    assert_eq!(log_of(&cluster, &first(&task)).await, expected);
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}

async fn a_log_whose_streams_all_break_is_completed_by_the_result(place: Place) {
    let mut cluster = master(&place).await;
    let worker = registered(&mut cluster, &place, &["--logs", "cut-always"]).await;
    let line = "echo one; sleep 1; echo two; echo three";
    let task = cluster.submit_draft(shell(line)).await;
    let entry = cluster.has_status(&task, "completed").await;
    assert!(
        worker.all("StreamTaskLogs").len() >= 2,
        "it was asked again"
    );
    assert_eq!(log_of(&cluster, &first(&task)).await, "one\ntwo\nthree\n");
    assert_eq!(entry["attempt"], 1, "{entry}");
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}

async fn files_sent_beside_the_result_are_waited_for(place: Place) {
    let mut cluster = master(&place).await;
    let flags = ["--upload", "at-once", "--slow-upload", "2"];
    let worker = registered(&mut cluster, &place, &flags).await;
    let line = "head -c 2500 /dev/zero > $OUTPUT/file";
    let task = cluster.submit_draft(shell(line)).await;
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["reason"], "", "{entry}");
    let file = cluster.path("master/files/admin").join(task.to_string());
    assert_eq!(fs::metadata(file.join("file")).unwrap().len(), 2500);
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}

async fn files_that_come_after_the_result_are_kept(place: Place) {
    let mut cluster = master(&place).await;
    let worker = registered(&mut cluster, &place, &["--upload", "after"]).await;
    let task = cluster.submit_draft(shell("echo x > $OUTPUT/file")).await;
    let entry = cluster.has_status(&task, "completed").await;
    let reason = entry["reason"].as_str().unwrap();
    assert!(
        reason.contains("had named 1 and sent none when it reported"),
        "{entry}"
    );
    let uploaded = worker.sees("uploaded", |_| true).await;
    assert_eq!(uploaded["success"], true, "{uploaded}");
    let file = cluster.path("master/files/admin").join(task.to_string());
    assert_eq!(fs::read(file.join("file")).unwrap(), b"x\n");
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}

async fn files_that_are_not_taken_are_said_to_be_missing(place: Place) {
    let mut cluster = master(&place).await;
    // Given one whose result names none of the files that it sent in vain.
    let worker = registered(&mut cluster, &place, &["--upload", "climbing"]).await;
    let task = cluster.submit_draft(shell("echo > $OUTPUT/file")).await;
    let entry = cluster.has_status(&task, "completed").await;
    let refused = worker.sees("uploaded not yet", |_| true).await;
    assert_eq!(refused["code"], "INVALID_ARGUMENT", "{refused}");
    let reason = entry["reason"].as_str().unwrap();
    assert!(
        reason.contains("files incomplete: its worker's upload was not taken: file_path"),
        "{entry}"
    );
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}

async fn a_cancel_stops_it_and_its_failure_is_the_cancel(place: Place) {
    let mut cluster = master(&place).await;
    let worker = registered(&mut cluster, &place, &["--beat", "2"]).await;
    let task = cluster.submit_draft(shell("echo up; sleep 600")).await;
    cluster.has_status(&task, "running").await;
    cluster.client().await.cancel(&task).await;
    cluster.has_status(&task, "cancelled").await;
    let asked = worker.sees("CancelTask", |_| true).await;
    assert_eq!(asked["task_id"], task.to_string());
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}

async fn after_its_restart_the_second_attempt_has_an_id_of_its_own(place: Place) {
    let mut cluster = master(&place).await;
    let worker = registered(&mut cluster, &place, &["--beat", "2"]).await;
    let task = cluster
        .submit_draft(shell("echo hello > $OUTPUT/file; echo up; sleep 600"))
        .await;
    cluster.has_status(&task, "running").await;

    // When the worker is killed and comes back with nothing,
    let address = worker.address.clone();
    worker.process.kill().await;
    let flags = ["--beat", "2"];
    let worker = Peer::worker_at(&place, WORKER, &address, &flags).await;

    // then the task goes to it once more, under an id of its own,
    let second = format!("{task}-2");
    worker
        .sees("AssignTask", |sent| sent["task_id"] == second.as_str())
        .await;
    until("the second attempt to run", async || {
        let entry = cluster.task(&task).await;
        (entry["attempt"] == 2 && entry["status"] == "running").then_some(())
    })
    .await;
    worker
        .sees("StreamTaskLogs", |asked| {
            asked["task_id"] == second.as_str()
        })
        .await;
    // by which it is cancelled, reports and sends its files.
    cluster.client().await.cancel(&task).await;
    worker
        .sees("CancelTask", |asked| asked["task_id"] == second.as_str())
        .await;
    cluster.has_status(&task, "cancelled").await;
    let attempt = AttemptId::new(task.clone(), 2);
    assert_eq!(log_of(&cluster, &attempt).await, "up\n");
    let file = cluster.path("master/files/admin").join(task.to_string());
    assert_eq!(fs::read(file.join("file")).unwrap(), b"hello\n");
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}

async fn a_restart_of_the_master_takes_its_task_up(place: Place) {
    let mut cluster = master(&place).await;
    let worker = registered(&mut cluster, &place, &["--beat", "2"]).await;
    let lines = "for i in $(seq 1 30); do echo line $i; sleep 0.2; done; echo x > $OUTPUT/file";
    let task = cluster.submit_draft(shell(lines)).await;
    cluster.has_status(&task, "running").await;

    cluster.kill_master().await;
    cluster.restart_master().await;

    // The master calls the worker again, and the same process goes on to its end.
    until("a second call", async || {
        (worker.all("MasterRegister").len() >= 2).then_some(())
    })
    .await;
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    assert_eq!(worker.all("AssignTask").len(), 1);
    assert!(worker.all("CancelTask").is_empty());
    // While the master started it knew no worker, and refused none for that.
    for failed in [worker.all("beat failed"), worker.all("refused")].concat() {
        assert_eq!(failed["code"], "UNAVAILABLE", "{failed}");
    }
    let expected: String = (1..=30).map(|i| format!("line {i}\n")).collect();
    assert_eq!(log_of(&cluster, &first(&task)).await, expected);
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}

async fn a_long_upload_does_not_make_it_missing(place: Place) {
    let mut cluster = master(&place).await;
    let flags = ["--beat", "2", "--slow-upload", "6"];
    let worker = registered(&mut cluster, &place, &flags).await;
    let line = "head -c 20000 /dev/zero > $OUTPUT/file";
    let task = cluster.submit_draft(shell(line)).await;
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    assert_eq!(worker.all("AssignTask").len(), 1);
    let file = cluster.path("master/files/admin").join(task.to_string());
    assert_eq!(fs::metadata(file.join("file")).unwrap().len(), 20_000);
    worker.was_spoken_to_in_old_words();
    cluster.end().await;
}
