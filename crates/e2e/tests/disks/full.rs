//! Full disks on the master: new work waits with a reason, what runs goes on, nothing that was
//! accepted is lost, and all is well when space returns, without a restart.

use std::{fs, time::Duration};

use cloudai_model::TaskId;
use cloudai_test_task::output_bytes;
use cloudai_tests::{
    cluster::{Cluster, first, test_task},
    small_disk::SmallDisk,
    wait::{until, until_within},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{asks, shell, submit};

const LOCAL: &str = "127.0.0.1";

/// Prints numbered lines, ten a second, and leaves a file.
const TALKS: &str = "i=0; while [ $i -lt 150 ]; do echo \"line $i of the log\"; i=$((i+1)); \
                     sleep 0.1; done; echo whole > /output/result";

fn talked() -> String {
    (0..150).map(|i| format!("line {i} of the log\n")).collect()
}

/// The status code of the master's HTTP server.
async fn code(cluster: &Cluster, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(&cluster.http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

async fn health_is(cluster: &Cluster, wanted: &str) -> serde_json::Value {
    until(&format!("/health to be {wanted}"), async || {
        let health = cluster.get("/health").await;
        (health["status"] == wanted).then_some(health)
    })
    .await
}

/// That a task whose container has exited doesn't end for some seconds.
async fn stays_running(cluster: &mut Cluster, task: &TaskId) {
    let began = cloudai_clock::now().mono;
    until("some seconds to be over", async || {
        assert_eq!(cluster.task(task).await["status"], "running");
        let over = cloudai_clock::now().mono.since(began);
        (over > Duration::from_secs(6)).then_some(())
    })
    .await;
}

async fn stdout(cluster: &mut Cluster, task: &TaskId) -> Vec<u8> {
    let mut client = cluster.client().await;
    client.follow(&first(task), |_| {}).await.stdout
}

async fn downloaded(cluster: &mut Cluster, task: &TaskId, file: &str) -> Vec<u8> {
    let folder = cluster.path(&format!("downloaded-{task}"));
    let said = asks(
        cluster,
        &format!("download {task} admin {}", folder.display()),
    )
    .await;
    assert!(said.contains("✓ 1 file"), "{said}");
    fs::read(folder.join(file)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_new_work_waits_and_what_was_accepted_ends_right_when_space_returns() {
    let flags = ["-min-free", "16MB"];
    let (mut cluster, disk) = Cluster::start_prepared(LOCAL, &flags, &[], |folder| {
        SmallDisk::at(&folder.join("master"), 64)
    })
    .await;
    let pid = cluster.master.pid();
    cluster.add_worker("worker-1", 0.5).await;
    // Given a task that talks, and one that waits for its place,
    let talks = submit(&mut cluster, TALKS).await;
    cluster.has_status(&talks, "running").await;
    let waits = cluster
        .submit(&["output", "data.bin", "2000000", "7"])
        .await;

    // when something fills the disk,
    disk.fill();

    // then it is said wherever somebody looks,
    let health = health_is(&cluster, "full").await;
    let why = health["reason"].as_str().unwrap();
    for part in [
        "the master's disk for store, logs, files",
        "16 MB must stay free",
        "free some space there, or let retention keep less",
    ] {
        assert!(why.contains(part), "{why}");
    }
    assert_eq!(code(&cluster, "/health").await, "200");
    assert_eq!(code(&cluster, "/ready").await, "503");
    let ready = cluster.get("/ready").await;
    assert_eq!(ready["ready"], false);
    assert!(ready["reason"].as_str().unwrap().contains("nearly full"));
    let status = cluster.json("status").await;
    assert_eq!(status["takes_new_tasks"], false, "{status}");
    let said = asks(&mut cluster, "status").await;
    assert!(said.contains("⚠️ Full:"), "{said}");
    assert!(
        said.contains("no new task is taken: the master's disk"),
        "{said}"
    );
    // a new task is refused with the reason,
    let refused = cluster.client().await.submit(shell("true")).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("no new task is taken: the master's disk"),
        "{refused}"
    );
    let said = asks(&mut cluster, "task cloudai/test-shell -- true").await;
    assert!(
        said.contains("❌ Failed to submit task: no new task is taken"),
        "{said}"
    );
    // the one that waits says why, also when there is a place for it,
    until("the first to have exited", async || {
        let entry = cluster.task(&talks).await;
        (entry["phase"] == "uploading").then_some(())
    })
    .await;
    let said = asks(&mut cluster, &format!("explain {waits}")).await;
    assert!(said.contains("nearly full"), "{said}");
    assert_eq!(cluster.task(&waits).await["status"], "queued");
    stays_running(&mut cluster, &talks).await;

    // and when there is space again all goes on by itself.
    disk.empty();
    health_is(&cluster, "ok").await;
    let patience = Duration::from_secs(90);
    let entry = cluster
        .has_status_within(patience, &talks, "completed")
        .await;
    assert_eq!(entry["log_complete"], true, "{entry}");
    assert_eq!(entry["files_complete"], true, "{entry}");
    let log = stdout(&mut cluster, &talks).await;
    assert_eq!(String::from_utf8(log).unwrap(), talked());
    assert_eq!(downloaded(&mut cluster, &talks, "result").await, b"whole\n");
    cluster
        .has_status_within(patience, &waits, "completed")
        .await;
    let bytes = downloaded(&mut cluster, &waits, "data.bin").await;
    assert!(bytes == output_bytes(2_000_000, 7), "{} bytes", bytes.len());
    let next = submit(&mut cluster, "true").await;
    cluster.has_status(&next, "completed").await;
    assert_eq!(code(&cluster, "/ready").await, "200");
    assert_eq!(cluster.master.pid(), pid);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_waits_with_its_worker_while_the_disk_for_logs_is_full() {
    let (mut cluster, disk) =
        Cluster::start_prepared(LOCAL, &["-min-free", "4MB"], &[], |folder| {
            SmallDisk::at(&folder.join("master/logs"), 16)
        })
        .await;
    cluster.add_worker("worker-1", 2.0).await;
    // Given a task that will print more than the disk will have room for,
    let line = "echo begun; sleep 4; i=0; while [ $i -lt 60000 ]; do \
                echo \"line $i, one of many that fill a log\"; i=$((i+1)); done";
    let task = submit(&mut cluster, line).await;
    until("its first line to be here", async || {
        let file = cluster.path("master").join(format!("logs/{task}/1.log"));
        fs::metadata(file).ok().filter(|it| it.len() > 0)
    })
    .await;

    // when the disk is full before it does,
    disk.fill();
    until("it to have exited", async || {
        (cluster.task(&task).await["phase"] == "uploading").then_some(())
    })
    .await;

    // then its end waits for its log,
    let health = health_is(&cluster, "full").await;
    let why = health["reason"].as_str().unwrap();
    assert!(why.contains("disk for logs ("), "{why}");
    stays_running(&mut cluster, &task).await;

    // and is whole when there is room.
    disk.empty();
    let patience = Duration::from_secs(90);
    let entry = cluster
        .has_status_within(patience, &task, "completed")
        .await;
    assert_eq!(entry["log_complete"], true, "{entry}");
    let log = String::from_utf8(stdout(&mut cluster, &task).await).unwrap();
    let lines = (0..60_000).map(|i| format!("line {i}, one of many that fill a log\n"));
    let expected: String = std::iter::once("begun\n".to_owned()).chain(lines).collect();
    assert!(log == expected, "{} of {} bytes", log.len(), expected.len());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_wait_with_their_worker_while_the_disk_for_files_is_full() {
    let (mut cluster, disk) =
        Cluster::start_prepared(LOCAL, &["-min-free", "4MB"], &[], |folder| {
            SmallDisk::at(&folder.join("master/files"), 24)
        })
        .await;
    cluster.add_worker("worker-1", 2.0).await;
    let line = "sleep 3; dd if=/dev/zero of=/output/zeros bs=1M count=9; echo x >> /output/zeros";
    let task = submit(&mut cluster, line).await;
    cluster.has_status(&task, "running").await;
    disk.fill();
    until("it to have exited", async || {
        (cluster.task(&task).await["phase"] == "uploading").then_some(())
    })
    .await;
    health_is(&cluster, "full").await;
    // Its log is here, its files are not: it has not ended, however often they are sent.
    stays_running(&mut cluster, &task).await;

    disk.empty();
    let patience = Duration::from_secs(90);
    let entry = cluster
        .has_status_within(patience, &task, "completed")
        .await;
    assert_eq!(entry["files_complete"], true, "{entry}");
    let bytes = downloaded(&mut cluster, &task, "zeros").await;
    assert_eq!(bytes.len(), (9 << 20) + 2);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_room_waits_as_long_as_it_takes_and_what_was_accepted_is_there() {
    // Without a watermark, so that the store itself finds the disk full. A worker is soon missed.
    let settings = [
        "-min-free 0",
        "-heartbeat-interval 1s",
        "-inactive-after 4s",
        "-lost-after 9s",
    ];
    let settings = settings.map(|setting| setting.split_once(' ').unwrap());
    let settings: Vec<&str> = settings.into_iter().flat_map(|(k, v)| [k, v]).collect();
    let (mut cluster, disk) = Cluster::start_prepared(LOCAL, &settings, &[], |folder| {
        SmallDisk::at(&folder.join("master"), 32)
    })
    .await;
    let pid = cluster.master.pid();
    // One task runs all the time, the others wait.
    cluster.add_worker("worker-0", 1.0).await;
    let running = submit(&mut cluster, "sleep 100; echo end").await;
    cluster.has_status(&running, "running").await;
    asks(&mut cluster, "drain worker-0").await;
    let mut accepted = vec![running.clone()];
    for _ in 0..20 {
        accepted.push(submit(&mut cluster, "true").await);
    }
    disk.fill();

    // When a submit finds no room,
    let stuck = until("a submit to wait for room", async || {
        let mut client = cluster.client().await;
        let mut submit = tokio::spawn(async move { client.submit(shell("true")).await });
        match timeout(Duration::from_secs(2), &mut submit).await {
            Ok(answered) => {
                accepted.push(answered.unwrap().expect("it is taken").task);
                None
            }
            Err(_) => Some(submit),
        }
    })
    .await;

    // then it is said, what can be read is read, and others are told at once,
    let health = health_is(&cluster, "full").await;
    let why = health["reason"].as_str().unwrap();
    assert!(why.contains("is full: free some space"), "{why}");
    let listed = cluster.json("list-tasks -limit 1000").await;
    assert_eq!(listed.as_array().unwrap().len(), accepted.len());
    let said = asks(&mut cluster, &format!("cancel {}", accepted[0])).await;
    assert!(said.contains("nothing can be changed just now"), "{said}");
    let said = asks(&mut cluster, "task cloudai/test-shell -- true").await;
    assert!(said.contains("❌"), "{said}");
    // for longer than other troubles of a store are borne,
    let began = cloudai_clock::now().mono;
    until_within(Duration::from_secs(120), "more than a minute", async || {
        assert_eq!(cluster.get("/health").await["status"], "full");
        let waited = cloudai_clock::now().mono.since(began);
        (waited > Duration::from_secs(65)).then_some(())
    })
    .await;
    assert!(!stuck.is_finished());

    // and with room again the submit is answered.
    disk.empty();
    let answered = timeout(Duration::from_secs(30), stuck).await;
    accepted.push(answered.unwrap().unwrap().expect("it is taken").task);
    health_is(&cluster, "ok").await;
    assert_eq!(cluster.master.pid(), pid);
    // Whose calls waited with the store was not silent: its task was never given to another.
    let lines = cluster.master.lines();
    let lost = lines.iter().find(|line| line.contains("lost"));
    assert_eq!(lost, None);
    assert_eq!(cluster.task(&running).await["attempt"], 1);

    // A master that is to end doesn't wait for room for ever, and a start goes on from there.
    disk.fill();
    let stuck = until("a submit to wait for room", async || {
        let mut client = cluster.client().await;
        let mut submit = tokio::spawn(async move { client.submit(shell("true")).await });
        match timeout(Duration::from_secs(2), &mut submit).await {
            Ok(answered) => {
                accepted.push(answered.unwrap().expect("it is taken").task);
                None
            }
            Err(_) => Some(submit),
        }
    })
    .await;
    cluster.master.signal("TERM").await;
    cluster.master.ends().await;
    stuck.abort();
    disk.empty();
    cluster.restart_master().await;
    health_is(&cluster, "ok").await;
    let listed = cluster.json("list-tasks -limit 1000").await;
    let listed: Vec<_> = listed.as_array().unwrap().iter().collect();
    for task in &accepted {
        let id = task.to_string();
        assert!(
            listed.iter().any(|entry| entry["task_id"] == id.as_str()),
            "{id}"
        );
    }
    let entry = cluster
        .has_status_within(Duration::from_secs(90), &running, "completed")
        .await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    cluster.add_worker("worker-1", 4.0).await;
    let next = cluster.submit_draft(test_task(&["echo", "on"])).await;
    cluster
        .has_status_within(Duration::from_secs(90), &next, "completed")
        .await;
    cluster.end().await;
}
