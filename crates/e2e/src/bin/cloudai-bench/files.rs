//! Files from a worker to its master: one large, many small, each beside a plain copy of the same
//! bytes that is made safe as the master makes them safe.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use cloudai_model::TaskId;
use cloudai_tests::{
    cluster::{Cluster, test_task},
    measuring::{Memory, memory_mb},
};
use tokio::time::{Instant, sleep};

const LARGE_BYTES: u64 = 1 << 30;
const SMALL_FILES: usize = 10_000;
const MB: f64 = (1 << 20) as f64;

/// Measures and prints.
pub(crate) async fn run() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    // What the first task of all costs is not what is measured.
    sent(&mut cluster, &["output", "warm", "1000", "1"]).await;

    let (task, large) = sent(
        &mut cluster,
        &["output", "large", &LARGE_BYTES.to_string(), "7"],
    )
    .await;
    let memory = ["master", "worker"].map(|name| {
        let pid = match name {
            "master" => cluster.master.pid(),
            _ => cluster.workers["worker-1"].pid(),
        };
        (name, memory_mb(pid, Memory::Most))
    });
    let copied = copy(&kept(&cluster, &task), &cluster.path("copy"));
    let large = LARGE_BYTES as f64 / MB / large.as_secs_f64();
    let copied = LARGE_BYTES as f64 / MB / copied.as_secs_f64();

    let (task, small) = sent(&mut cluster, &["files", "many", &SMALL_FILES.to_string()]).await;
    let small_copied = copy(&kept(&cluster, &task), &cluster.path("small-copy"));
    let small = SMALL_FILES as f64 / small.as_secs_f64();
    let small_copied = SMALL_FILES as f64 / small_copied.as_secs_f64();
    cluster.end().await;

    println!(
        "\noutput files, from the end of the container to the result, with the container's removal"
    );
    println!(
        "{:<34}{:>12}{:>12}{:>8}",
        "", "CloudAI", "cp + sync", "ratio"
    );
    let row = |what: &str, ours: f64, theirs: f64| {
        println!("{what:<34}{ours:>12.0}{theirs:>12.0}{:>8.2}", ours / theirs);
    };
    row("one of 1 GB, MB/s", large, copied);
    row("10,000 of a few bytes, files/s", small, small_copied);
    for (name, most) in memory {
        println!("{:<34}{most:>9.1} MB", format!("{name}, the most it held"));
    }
}

/// Runs a task that leaves files: how long from its end to its result.
async fn sent(cluster: &mut Cluster, words: &[&str]) -> (TaskId, Duration) {
    let mut draft = test_task(words);
    draft.storage_gb = Some(4.0);
    let task = cluster.submit_draft(draft).await;
    let worker = &cluster.workers["worker-1"];
    let reports = |worker: &cloudai_tests::process::Process| {
        let lines = worker.lines();
        lines
            .iter()
            .filter(|line| line.contains("Task result reported"))
            .count()
    };
    let before = reports(worker);
    let ended = format!("[Task {task}] ✓ Completed");
    while !worker.lines().iter().any(|line| line.contains(&ended)) {
        sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    while reports(worker) == before {
        sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    cluster.has_status(&task, "completed").await;
    (task, took)
}

/// Where the master keeps the files of a task.
fn kept(cluster: &Cluster, task: &TaskId) -> PathBuf {
    cluster.path("master").join(format!("files/admin/{task}"))
}

/// Copies a folder and flushes it: how long that takes.
fn copy(from: &Path, to: &Path) -> Duration {
    let began = Instant::now();
    copy_folder(from, to);
    rustix::fs::syncfs(File::open(to).unwrap()).unwrap();
    began.elapsed()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
