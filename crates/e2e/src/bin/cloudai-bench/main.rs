//! `make bench`: figures of this machine, each beside something that is run next to it.
//!
//! Ratios are what counts; the absolute figures are for orientation and nothing tests them. With
//! `files` or `restart` as its argument only those of output files, or of a restart.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark"
)]

mod files;
mod restart;

use std::{collections::BTreeMap, fs, time::Duration};

use cloudai_engine::{ContainerPlan, ContainerSettings, Engine};
use cloudai_model::{AttemptId, Command, TaskId, Wall};
use cloudai_tests::{
    cluster::{Cluster, first, test_task},
    engine::{TEST_TASK, containers},
    measuring::{Memory, flushes_per_s, memory_mb, percentile, submits_per_s},
    wait::until,
};

const STARTS: usize = 30;
const SUBMITS: usize = 3000;
const IDLE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("files") => return files::run().await,
        Some("restart") => return restart::run().await,
        _ => {}
    }
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    // What a program holds when nothing has been asked of it for a while.
    tokio::time::sleep(IDLE).await;
    let master_mb = memory_mb(cluster.master.pid(), Memory::Now);
    let worker_mb = memory_mb(cluster.workers["worker-1"].pid(), Memory::Now);

    let (through, bare) = starts(&mut cluster).await;
    cluster.end().await;

    println!(
        "\nfrom submit to container start, as the engine tells it ({STARTS} of each, in turn)"
    );
    println!("{:<34}{:>10}{:>10}", "", "p50 ms", "p99 ms");
    println!(
        "{:<34}{:>10}{:>10}",
        "through CloudAI",
        percentile(&through, 50),
        percentile(&through, 99)
    );
    println!(
        "{:<34}{:>10}{:>10}",
        "bare engine: create and start",
        percentile(&bare, 50),
        percentile(&bare, 99)
    );
    let added = percentile(&through, 50) - percentile(&bare, 50);
    println!("{:<34}{added:>10}", "added at p50");

    println!("\nresident memory after {} s idle", IDLE.as_secs());
    println!("{:<34}{master_mb:>10.1} MB   (aim: under 40)", "master");
    println!("{:<34}{worker_mb:>10.1} MB   (aim: under 25)", "worker");

    let cluster = Cluster::start().await;
    println!("\ndurable submits, each answered when it is flushed, no workers");
    println!(
        "{:<34}{:>10}{:>14}{:>8}",
        "in flight", "submits/s", "flushes/s", "ratio"
    );
    for in_flight in [1, 16, 128] {
        let count = match in_flight {
            1 => SUBMITS / 10,
            _ => SUBMITS,
        };
        let flushes = flushes_per_s(&cluster.path("flushes"));
        let submits = submits_per_s(&cluster, in_flight, count).await;
        println!(
            "{in_flight:<34}{submits:>10.0}{flushes:>14.0}{:>8.2}",
            submits / flushes
        );
    }
    cluster.end().await;

    files::run().await;
    restart::run().await;
}

/// Milliseconds from asking to the container's start, through CloudAI and with the bare engine,
/// one after the other so that a busy machine troubles both.
async fn starts(cluster: &mut Cluster) -> (Vec<i64>, Vec<i64>) {
    let engine = cluster.engine.clone();
    let (mut through, mut bare) = (Vec::new(), Vec::new());
    for number in 0..STARTS {
        through.push(start_through(cluster, &engine).await);
        bare.push(start_bare(cluster, &engine, number).await);
    }
    through.sort_unstable();
    bare.sort_unstable();
    (through, bare)
}

async fn start_through(cluster: &mut Cluster, engine: &Engine) -> i64 {
    let id = cluster.id();
    let asked = cloudai_clock::now().wall;
    let task = cluster.submit(&["sleep", "1"]).await;
    let started = until("the container to run", async || {
        for held in containers(engine, &id, "worker-1").await {
            if held.attempt == first(&task) {
                return engine.inspect(&held.id).await.ok()?.started_at;
            }
        }
        None
    })
    .await;
    cluster.has_status(&task, "completed").await;
    started.0 - asked.0
}

async fn start_bare(cluster: &Cluster, engine: &Engine, number: usize) -> i64 {
    let output_dir = cluster.path(&format!("bare-{number}"));
    fs::create_dir_all(&output_dir).unwrap();
    let draft = test_task(&["sleep", "1"]);
    let (_, spec) = draft.check().unwrap();
    let image = engine
        .image(&TEST_TASK.parse().unwrap())
        .await
        .unwrap()
        .unwrap()
        .id;
    let plan = ContainerPlan {
        cluster: cluster.id(),
        worker: "bare".parse().unwrap(),
        attempt: AttemptId::new(TaskId::numbered(number as u64), 1),
        image,
        command: Command::Exec(vec!["/test-task".into(), "sleep".into(), "1".into()]),
        env: BTreeMap::new(),
        cpu_milli: spec.resources.cpu_milli,
        memory_bytes: spec.resources.memory_bytes,
        gpu_devices: Vec::new(),
        output_dir,
        settings: ContainerSettings::default(),
    };
    let asked = cloudai_clock::now().wall;
    let created = engine.create(&plan).await.unwrap();
    engine.start(&created.id).await.unwrap();
    let started: Option<Wall> = engine.inspect(&created.id).await.unwrap().started_at;
    engine.wait(&created.id).await.unwrap();
    engine.remove(&created.id).await.unwrap();
    started.unwrap().0 - asked.0
}
