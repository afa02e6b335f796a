//! An engine whose own disk is full: what can't be pulled waits for room, what fills it ends by itself,
//! and what runs beside goes on.

use std::{fs, time::Duration};

use cloudai_model::{AttemptId, Command, TaskDraft, TaskId};
use cloudai_tests::{
    cluster::{Cluster, first, test_task},
    engine::TEST_SHELL,
    own_engine::OwnEngine,
    wait::{until, until_within},
};

use cloudai_tests::registry::Registry;

/// A worker counts a disk as full that has less than an eighth left.
const DISK_MB: u32 = 240;
/// The engine needs it twice over, packed and unpacked.
const IMAGE_MB: usize = 50;
/// Six tries of a pull, and the pauses between them.
const PATIENCE: Duration = Duration::from_secs(180);

/// A worker on that engine.
async fn with_worker(engine: &OwnEngine) -> Cluster {
    let mut cluster = Cluster::start().await;
    cluster
        .add_worker_with("worker-1", 4.0, |command| {
            command.env("DOCKER_HOST", engine.host());
        })
        .await;
    cluster
}

async fn submit(cluster: &mut Cluster, image: &str, command: Command) -> TaskId {
    let mut draft = TaskDraft {
        docker_image: image.to_owned(),
        command,
        // What it writes to a disk in memory counts.
        memory_gb: Some(0.5),
        ..test_task(&[])
    };
    draft.container.network = Some("none".to_owned());
    cluster.submit_draft(draft).await
}

async fn submit_line(cluster: &mut Cluster, line: &str) -> TaskId {
    submit(cluster, TEST_SHELL, Command::Shell(line.to_owned())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_the_engines_disk_has_no_room_for_costs_its_task_time_and_no_failure() {
    // Given an engine with room for tasks, but not for this image
    let (engine, disk) = OwnEngine::on_small_disk(DISK_MB).await;
    let registry = Registry::open_at(engine.here()).await;
    registry.put("app", "1", IMAGE_MB).await;
    let mut cluster = with_worker(&engine).await;
    disk.fill_but(70);

    // When a task needs it
    let image = format!("{}/app:1", registry.address);
    let task = submit(&mut cluster, &image, Command::Image).await;

    // Then its worker says why it can't be had, tries again, and gives the attempt up,
    let short = format!("no disk space left on this worker to pull image {image}");
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says(&format!("it is tried again: {short}")).await;
    let entry = until_within(PATIENCE, "the first attempt to be given up", async || {
        let entry = cluster.task(&task).await;
        let reason = entry["reason"].as_str().unwrap();
        (entry["status"] == "queued" && reason.contains(&short)).then_some(entry)
    })
    .await;
    // which is no failure of the task, nor does it count as one that takes workers down;
    assert_eq!(
        (&entry["retries_used"], &entry["taken_down"]),
        (&0.into(), &serde_json::json!([])),
        "{entry}"
    );
    // and what needs no new image runs there meanwhile.
    let small = submit_line(&mut cluster, "true").await;
    cluster
        .has_status_within(PATIENCE, &small, "completed")
        .await;

    // With room it runs.
    disk.empty();
    let entry = cluster
        .has_status_within(PATIENCE, &task, "completed")
        .await;
    let number = u32::try_from(entry["attempt"].as_u64().unwrap()).unwrap();
    assert!(number > 1, "{entry}");
    let last = AttemptId::new(task.clone(), number);
    let log = cluster.client().await.follow(&last, |_| {}).await;
    assert_eq!(log.stdout, b"hello from a registry\n");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fills_the_engines_disk_holds_up_what_comes_and_nothing_that_runs() {
    // Given a task that prints now and then,
    let (engine, disk) = OwnEngine::on_small_disk(DISK_MB).await;
    let mut cluster = with_worker(&engine).await;
    let line =
        "i=0; while [ ! -e /output/go ]; do i=$((i+1)); echo $i; usleep 200000; done; echo end";
    let runs = submit_line(&mut cluster, line).await;
    cluster.has_status(&runs, "running").await;

    // When another one beside it writes until the engine's disk is full
    let line = "dd if=/dev/zero of=/big bs=64k; while [ ! -e /output/go ]; do usleep 10000; done; \
                exit 7";
    let fills = submit_line(&mut cluster, line).await;
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    let said = worker.says("this worker takes no tasks").await;
    assert!(said.contains("the disk of its Docker Engine"), "{said}");

    // Then what comes waits,
    until("the master to know", async || {
        let workers = cluster.json("workers").await;
        let reason = workers[0]["reason"].as_str()?.to_owned();
        reason
            .contains("the disk of its Docker Engine")
            .then_some(())
    })
    .await;
    let waits = submit_line(&mut cluster, "true").await;
    assert_eq!(cluster.task(&waits).await["status"], "queued");

    // the one that filled it ends as it does, and its room is free again,
    let go = |cluster: &Cluster, task: &TaskId| {
        let go = cluster.path(&format!("worker-1/spool/{task}-1/output/go"));
        fs::write(go, "").unwrap();
    };
    go(&cluster, &fills);
    let entry = cluster.has_status_within(PATIENCE, &fills, "failed").await;
    assert_eq!(
        (&entry["exit_code"], &entry["attempt"]),
        (&7.into(), &1.into()),
        "{entry}"
    );
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("There is room on the disk again").await;
    let entry = cluster
        .has_status_within(PATIENCE, &waits, "completed")
        .await;
    assert_eq!(entry["attempt"], 1, "{entry}");

    // and what ran beside has gone on all the while.
    go(&cluster, &runs);
    let entry = cluster
        .has_status_within(PATIENCE, &runs, "completed")
        .await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    let log = cluster.client().await.follow(&first(&runs), |_| {}).await;
    let text = String::from_utf8(log.stdout).unwrap();
    assert_eq!(entry["log_complete"], true, "{entry}");
    let last = text.lines().count() - 1;
    let expected: String = (1..=last).map(|i| format!("{i}\n")).collect();
    assert_eq!(text, expected + "end\n");
    cluster.end().await;
    drop(disk);
}
