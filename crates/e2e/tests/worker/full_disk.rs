//! A worker whose disk is full takes nothing new, says why, and is well again by itself.

use std::{fs, time::Duration};

use cloudai_model::{Command, TaskDraft, TaskId};
use cloudai_tests::{
    cluster::{Cluster, first, test_task},
    engine::TEST_SHELL,
    small_disk::SmallDisk,
    wait::until,
};

const FULL: &str = "the disk of its data directory is full: expected 64 MB free, or an eighth of a small \
                    disk, and free inodes";

async fn submit(cluster: &mut Cluster, line: &str) -> TaskId {
    let draft = TaskDraft {
        docker_image: TEST_SHELL.to_owned(),
        command: Command::Shell(line.to_owned()),
        ..test_task(&[])
    };
    cluster.submit_draft(draft).await
}

async fn reason_of_worker(cluster: &mut Cluster) -> String {
    let workers = cluster.json("workers").await;
    workers[0]["reason"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_new_is_placed_and_what_runs_goes_on_until_there_is_room() {
    // Given a worker on a small disk with a task that prints now and then
    let mut cluster = Cluster::start().await;
    let disk = SmallDisk::at(&cluster.path("worker-1"), 32);
    cluster.add_worker("worker-1", 2.0).await;
    let line =
        "i=0; while [ ! -e /output/go ]; do i=$((i+1)); echo $i; usleep 200000; done; echo end";
    let runs = submit(&mut cluster, line).await;
    cluster.has_status(&runs, "running").await;

    // When somebody else fills the disk
    let filled = cluster.path("worker-1/filled");
    let mut size = 32 << 20;
    while size > 0 {
        // As much as there is room for, but for some KB.
        match fs::write(&filled, vec![7; size]) {
            Ok(()) => break,
            Err(_) => size -= 256 << 10,
        }
    }
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker
        .says(&format!("{FULL}; this worker takes no tasks"))
        .await;
    until("the master's listing to say so", async || {
        (reason_of_worker(&mut cluster).await == FULL).then_some(())
    })
    .await;

    // Then what comes waits and is told why, without an attempt lost to it
    let waits = submit(&mut cluster, "echo here > /output/file").await;
    let entry = cluster.task(&waits).await;
    assert_eq!(
        (&entry["status"], &entry["attempt"]),
        (&"queued".into(), &0.into()),
        "{entry}"
    );
    let why = cluster.json(&format!("explain {waits}")).await;
    assert_eq!(
        why["waiting"]["workers"][0]["obstacles"][0]["kind"], "unwell",
        "{why}"
    );
    let entry = cluster.task(&runs).await;
    assert_eq!(
        (&entry["status"], &entry["attempt"]),
        (&"running".into(), &1.into())
    );

    // And with room again, all is as it was.
    fs::remove_file(&filled).unwrap();
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("There is room on the disk again").await;
    let entry = cluster.has_status(&waits, "completed").await;
    assert_eq!(
        (&entry["attempt"], &entry["files_complete"]),
        (&1.into(), &true.into()),
        "{entry}"
    );
    let go = cluster.path(&format!("worker-1/spool/{runs}-1/output/go"));
    fs::write(go, "").unwrap();
    let patience = Duration::from_secs(120);
    let entry = cluster
        .has_status_within(patience, &runs, "completed")
        .await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    let log = cluster.client().await.follow(&first(&runs), |_| {}).await;
    let text = String::from_utf8(log.stdout).unwrap();
    let last = text.lines().count() - 1;
    let expected: String = (1..=last).map(|i| format!("{i}\n")).collect();
    assert_eq!(
        text,
        expected + "end\n",
        "no line is lost, none is there twice"
    );
    assert_eq!(reason_of_worker(&mut cluster).await, "");
    cluster.end().await;
    drop(disk);
}
