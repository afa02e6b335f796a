//! Our worker under an old master.

use std::{fs, path::Path};

use cloudai_engine::Engine;
use cloudai_tests::{
    cluster::free_port,
    engine::{TEST_SHELL, containers, engine},
    old_nodes::{Peer, Place},
    process::Process,
    programs::programs,
    wait::until,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

both_places![
    it_registers_and_runs_a_task_with_logs_and_files,
    it_registers_when_called,
    a_cancel_stops_a_container,
    a_restart_of_the_master_loses_nothing,
    a_restart_of_the_worker_takes_its_container_up,
];

const WORKER: &str = "worker-1";
/// In a command: waits to be let go, and leaves no trace of that.
const WAIT: &str = "until [ -e /output/go ]; do sleep 0.1; done; rm /output/go";

/// An old master and our worker, with the parts to restart either.
struct Pair {
    place: Place,
    master: Peer,
    port: u16,
    worker: Process,
    /// Where the worker serves.
    address: String,
    folder: TempDir,
    engine: Engine,
}

impl Pair {
    /// A worker that was told its master's address, registered.
    async fn start(place: Place) -> Self {
        let port = free_port();
        let knows = format!("{}:{port}", place.towards_here());
        let pair = Self::with(place, port, &knows, &[]).await;
        pair.master.sees("RegisterWorker", |_| true).await;
        pair
    }

    async fn with(place: Place, port: u16, knows: &str, master_flags: &[&str]) -> Self {
        let engine = engine().await;
        let folder = tempfile::tempdir().unwrap();
        let master = Peer::master_at(&place, port, master_flags).await;
        let address = format!("{}:{}", place.host(), free_port());
        let worker = start_worker(&place, &address, knows, folder.path());
        Self {
            place,
            master,
            port,
            worker,
            address,
            folder,
            engine,
        }
    }

    async fn restart_worker(&mut self) {
        self.worker.signal("KILL").await;
        self.worker.ends().await;
        let knows = self.master.address.clone();
        self.worker = start_worker(&self.place, &self.address, &knows, self.folder.path());
    }

    async fn restart_master(&mut self) {
        self.master.process.signal("KILL").await;
        self.master.process.ends().await;
        self.master = Peer::master_at(&self.place, self.port, &[]).await;
    }

    async fn wish(&mut self, wish: Value) {
        let mut wish = wish;
        wish["worker"] = self.address.clone().into();
        self.master.wish(&wish).await;
    }

    async fn assign(&mut self, task: &str, line: &str) {
        let task = json!({
            "task_id": task, "docker_image": TEST_SHELL, "command": line, "req_cpu": 0.5,
            "req_memory": 0.125, "req_storage": 0.5, "user_id": "ann", "task_name": "the name",
            "submitted_at": 1_700_000_000,
        });
        self.wish(json!({ "do": "assign", "task": task })).await;
        let answer = self.master.sees("assign", |_| true).await;
        assert_eq!(answer["success"], true, "{answer}");
    }

    /// Lets a container go on that waits with [`WAIT`].
    fn let_go(&self, task: &str) {
        let output = format!("worker/spool/{task}-1/output/go");
        fs::write(self.folder.path().join(output), "").unwrap();
    }

    /// Waits for a heartbeat that tells of this task as running.
    async fn is_running(&self, task: &str) -> Value {
        let running = |beat: &Value| {
            let tasks = beat["running"].as_array().unwrap();
            tasks
                .iter()
                .any(|told| told["task_id"] == task && told["status"] == "running")
        };
        self.master.sees("SendHeartbeat", running).await
    }

    async fn end(self) {
        let identity = fs::read_to_string(self.folder.path().join("worker/identity")).unwrap();
        let cluster = format!("old-{identity}").parse().unwrap();
        self.master.was_spoken_to_in_old_words();
        until("the container to be gone", async || {
            let left = containers(&self.engine, &cluster, WORKER).await;
            left.is_empty().then_some(())
        })
        .await;
    }
}

fn start_worker(place: &Place, address: &str, knows: &str, folder: &Path) -> Process {
    let mut command = place.command(&programs().worker);
    let data = folder.join("worker").display().to_string();
    command.args(["-id", WORKER, "-master", knows, "-port", address]);
    command.args([
        "-data-dir",
        &data,
        "-cpu",
        "2",
        "-mem",
        "4",
        "-storage",
        "20",
    ]);
    command.args(place.flags());
    Process::spawn(WORKER, command, folder)
}

async fn it_registers_and_runs_a_task_with_logs_and_files(place: Place) {
    let mut pair = Pair::start(place).await;
    let hello = pair.master.sees("RegisterWorker", |_| true).await;
    assert_eq!(
        (&hello["worker_id"], &hello["cpu"]),
        (&WORKER.into(), &2.0.into())
    );

    // When it is given a task that prints what isn't UTF-8, and leaves files,
    pair.assign(
        "task-7",
        &format!(
            "echo one; printf 'caf\\303\\251 \\377\\n'; {WAIT}; mkdir /output/sub; \
             : > /output/empty; head -c 600000 /dev/zero > /output/sub/large"
        ),
    )
    .await;
    pair.wish(json!({ "do": "logs", "task_id": "task-7" }))
        .await;
    let line = pair.master.sees("line", |_| true).await;
    let content = line["content"].as_str().unwrap();
    assert!(content.starts_with("one\n"), "while it runs: {line}");

    // then its heartbeats tell of it, with what it was given,
    let beat = pair.is_running("task-7").await;
    assert_eq!(beat["running"][0]["cpu"], 0.5, "{beat}");
    assert_eq!(beat["running"][0]["memory"], 0.125, "{beat}");
    pair.let_go("task-7");

    // its files come in order, before its result,
    let report = pair.master.sees("ReportTaskCompletion", |_| true).await;
    assert_eq!(
        (&report["task_id"], &report["worker_id"], &report["status"]),
        (&"task-7".into(), &WORKER.into(), &"success".into())
    );
    assert_eq!(report["logs"], "one\ncafé \u{fffd}\n");
    assert_eq!(report["output_files"], json!(["empty", "sub/large"]));
    let uploads = pair.master.all("UploadTaskFiles");
    assert_eq!(uploads.len(), 1, "{uploads:?}");
    let sha256 = |data: &[u8]| hex::encode(Sha256::digest(data));
    assert_eq!(
        uploads[0]["files"],
        json!([
            { "path": "empty", "size": 0, "sha256": sha256(b"") },
            { "path": "sub/large", "size": 600_000, "sha256": sha256(&vec![0; 600_000]) },
        ])
    );
    assert_eq!(uploads[0]["whole"], true);
    assert_eq!(
        (&uploads[0]["user_id"], &uploads[0]["task_name"]),
        (&"ann".into(), &"the name".into())
    );
    assert!(uploads[0]["timestamp"].as_i64() > Some(1_600_000_000));

    // and the stream gave the same log as text, to its end.
    let logs = pair.master.sees("logs", |_| true).await;
    assert_eq!(logs["text"], "one\ncafé \u{fffd}\n");
    assert_eq!(
        (&logs["complete"], &logs["status"]),
        (&true.into(), &"completed".into())
    );
    let time = logs["times"][0].as_str().unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    pair.end().await;
}

async fn it_registers_when_called(place: Place) {
    // Given a worker that knows no master that answers,
    let port = free_port();
    let flags = ["--fail-reports", "1", "--refuse-reports", "1"];
    let mut pair = Pair::with(place, port, "127.0.0.1:1", &flags).await;
    pair.worker.says("no master answers at 127.0.0.1:1").await;

    // when the master calls, it registers there;
    let address = pair.master.address.clone();
    pair.wish(json!({ "do": "register", "address": address }))
        .await;
    let ack = pair.master.sees("register", |_| true).await;
    assert_eq!(ack["success"], true, "{ack}");
    pair.master.sees("RegisterWorker", |_| true).await;
    pair.worker.says("✓ Ready to receive tasks").await;

    // a second call finds it registered.
    pair.wish(json!({ "do": "register", "address": address }))
        .await;
    until("the second answer", async || {
        (pair.master.all("register").len() == 2).then_some(())
    })
    .await;
    // Whether it registers once more because of that shows before its next heartbeat.
    let beats = pair.master.all("SendHeartbeat").len();
    until("the next heartbeat", async || {
        (pair.master.all("SendHeartbeat").len() > beats).then_some(())
    })
    .await;
    assert_eq!(pair.master.all("RegisterWorker").len(), 1);

    // A failure is told as one, and again while the master says no.
    pair.assign("task-1", "echo no >&2; exit 3").await;
    until("the third report", async || {
        (pair.master.all("ReportTaskCompletion").len() == 3).then_some(())
    })
    .await;
    let reports = pair.master.all("ReportTaskCompletion");
    assert!(reports.iter().all(|told| told["status"] == "failure"));
    assert_eq!(reports[0]["logs"], "no\n");
    assert!(pair.master.all("UploadTaskFiles").is_empty());
    pair.end().await;
}

async fn a_cancel_stops_a_container(place: Place) {
    let mut pair = Pair::start(place).await;
    pair.assign(
        "task-1",
        "trap 'echo bye; exit 1' TERM; echo up; while :; do sleep 0.1; done",
    )
    .await;
    pair.is_running("task-1").await;
    pair.wish(json!({ "do": "cancel", "task_id": "task-1" }))
        .await;
    let answer = pair.master.sees("cancel", |_| true).await;
    assert_eq!(answer["success"], true, "{answer}");
    let report = pair.master.sees("ReportTaskCompletion", |_| true).await;
    assert_eq!(
        (&report["status"], &report["logs"]),
        (&"failure".into(), &"up\nbye\n".into())
    );

    // What it doesn't hold it says so.
    pair.wish(json!({ "do": "cancel", "task_id": "task-9" }))
        .await;
    let answer = pair
        .master
        .sees("cancel", |answer| answer["success"] == false)
        .await;
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("does not hold task-9"), "{answer}");
    pair.end().await;
}

async fn a_restart_of_the_master_loses_nothing(place: Place) {
    let mut pair = Pair::start(place).await;
    pair.assign("task-1", &format!("echo one; {WAIT}; echo two"))
        .await;
    pair.is_running("task-1").await;
    pair.restart_master().await;
    // It is found again, told of what runs, and of how that ends.
    pair.master.sees("RegisterWorker", |_| true).await;
    pair.is_running("task-1").await;
    pair.let_go("task-1");
    let report = pair.master.sees("ReportTaskCompletion", |_| true).await;
    assert_eq!(
        (&report["status"], &report["logs"]),
        (&"success".into(), &"one\ntwo\n".into())
    );
    pair.end().await;
}

async fn a_restart_of_the_worker_takes_its_container_up(place: Place) {
    let mut pair = Pair::start(place).await;
    pair.assign("task-1", &format!("echo one; {WAIT}; echo two"))
        .await;
    pair.is_running("task-1").await;
    pair.restart_worker().await;
    until("it to register again", async || {
        (pair.master.all("RegisterWorker").len() == 2).then_some(())
    })
    .await;
    pair.let_go("task-1");
    let report = pair.master.sees("ReportTaskCompletion", |_| true).await;
    assert_eq!(
        (&report["status"], &report["logs"]),
        (&"success".into(), &"one\ntwo\n".into()),
        "the same container: it ran once"
    );
    assert_eq!(pair.master.all("ReportTaskCompletion").len(), 1);
    pair.end().await;
}
