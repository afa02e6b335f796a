//! `make bench`, the logs: how many MB/s come from a container to somebody who watches, how old a
//! line is when it is seen, and what memory that takes; each beside the bare engine, of which the
//! same container is read.
//!
//! Ratios are what counts; the absolute figures are for orientation and nothing tests them.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark")]

use std::{collections::BTreeMap, fs};

use bytes::Bytes;
use cloudai_engine::{
    ContainerId, ContainerPlan, ContainerSettings, Engine, LogError, LogPieces, LogPosition,
};
use cloudai_model::{AttemptId, Command, TaskId};
use cloudai_tests::{
    cluster::{Cluster, first, test_task},
    engine::TEST_TASK,
    measuring::{Memory, memory_mb, percentile},
    wait::until,
};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

const FLOOD_BYTES: usize = 500_000_000;
const FIRST_LINES: usize = 20;
const LINES: usize = 200;

#[tokio::main]
async fn main() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let mut bare = Bare::new(&cluster).await;
    let pids = [cluster.master.pid(), cluster.workers["worker-1"].pid()];
    let before = pids.map(|pid| memory_mb(pid, Memory::Now));

    println!(
        "\na container's output to whoever watches, {} MB of each",
        FLOOD_BYTES / 1_000_000
    );
    println!(
        "{:<34}{:>10}{:>14}{:>14}{:>8}",
        "lines of", "MB/s", "bare attach", "bare log -f", "ratio"
    );
    for (name, line) in [
        ("10 MB", 10_000_000),
        ("1000 bytes", 1000),
        ("100 bytes", 100),
    ] {
        let words = ["spew", &FLOOD_BYTES.to_string(), &line.to_string()].map(str::to_owned);
        let attached = bare.flood(&words, Reading::Attached).await;
        let through = flood_through(&mut cluster, &words).await;
        let logged = bare.flood(&words, Reading::Log).await;
        let ratio = through / attached;
        println!("{name:<34}{through:>10.0}{attached:>14.0}{logged:>14.0}{ratio:>8.2}");
    }
    println!("\nresident memory, before and the most while that went through");
    for ((name, pid), before) in ["master", "worker"].into_iter().zip(pids).zip(before) {
        let most = memory_mb(pid, Memory::Most);
        println!("{name:<34}{before:>10.1} MB{most:>11.1} MB");
    }

    println!(
        "\nage of a line when it is seen, in ms ({FIRST_LINES} first lines, {LINES} later ones)"
    );
    println!(
        "{:<34}{:>10}{:>10}{:>14}{:>10}",
        "", "first p50", "p99", "later p50", "p99"
    );
    let mut firsts = [Vec::new(), Vec::new(), Vec::new()];
    let one = ["times", "1", "0"].map(str::to_owned);
    for _ in 0..FIRST_LINES {
        firsts[0].extend(ages_through(&mut cluster, &one).await);
        firsts[1].extend(bare.ages(&one, Reading::Attached).await);
        firsts[2].extend(bare.ages(&one, Reading::Log).await);
    }
    let many = ["times", &LINES.to_string(), "20"].map(str::to_owned);
    let later = [
        ages_through(&mut cluster, &many).await,
        bare.ages(&many, Reading::Attached).await,
        bare.ages(&many, Reading::Log).await,
    ];
    let names = ["through CloudAI", "bare attach", "bare log -f"];
    for ((name, mut first), mut later) in names.into_iter().zip(firsts).zip(later) {
        first.sort_unstable();
        later.remove(0);
        later.sort_unstable();
        println!(
            "{name:<34}{:>10}{:>10}{:>14}{:>10}",
            percentile(&first, 50),
            percentile(&first, 99),
            percentile(&later, 50),
            percentile(&later, 99)
        );
    }
    cluster.end().await;
}

/// MB/s from the first byte seen to the last.
#[derive(Default)]
struct Rate {
    began: Option<Instant>,
    bytes: usize,
}

impl Rate {
    fn seen(&mut self, data: &Bytes) {
        self.began.get_or_insert_with(Instant::now);
        self.bytes += data.len();
    }

    fn mb_per_s(&self) -> f64 {
        // The engine's own log may lack its last newline.
        assert!((FLOOD_BYTES - 1..=FLOOD_BYTES).contains(&self.bytes));
        self.bytes as f64 / 1e6 / self.began.unwrap().elapsed().as_secs_f64()
    }
}

/// Gathers lines that hold the time at which they were written, and says how old they were.
#[derive(Default)]
struct Ages {
    line: Vec<u8>,
    ages: Vec<i64>,
}

impl Ages {
    fn seen(&mut self, data: &Bytes) {
        let now = cloudai_clock::now().wall.0;
        for byte in data {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                let written: i64 = String::from_utf8(line).unwrap().parse().unwrap();
                self.ages.push(now - written);
            } else {
                self.line.push(*byte);
            }
        }
    }
}

async fn flood_through(cluster: &mut Cluster, words: &[String]) -> f64 {
    let mut rate = Rate::default();
    watch(cluster, words, |data| rate.seen(data)).await;
    rate.mb_per_s()
}

async fn ages_through(cluster: &mut Cluster, words: &[String]) -> Vec<i64> {
    let mut ages = Ages::default();
    watch(cluster, words, |data| ages.seen(data)).await;
    ages.ages
}

/// Submits a task and watches it from before its first line to its end.
async fn watch(cluster: &mut Cluster, words: &[String], mut each: impl FnMut(&Bytes)) {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut draft = test_task(&words);
    // A log counts as storage.
    draft.storage_gb = Some(4.0);
    let task = cluster.submit_draft(draft).await;
    let mut client = cluster.client().await;
    until("the task to have begun", async || {
        let seen = client.watch(&first(&task), |_, data| each(&data)).await;
        match seen {
            Ok(_) => Some(()),
            // It has no log before it is given to a worker.
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
                None
            }
        }
    })
    .await;
    cluster.has_status(&task, "completed").await;
}

/// Containers like those of a worker, run with nothing but the engine.
struct Bare {
    engine: Engine,
    plan: ContainerPlan,
    next: u64,
}

#[derive(Clone, Copy)]
enum Reading {
    Attached,
    Log,
}

impl Bare {
    async fn new(cluster: &Cluster) -> Self {
        let output_dir = cluster.path("bare");
        fs::create_dir_all(&output_dir).unwrap();
        let (_, spec) = test_task(&["exit", "0"]).check().unwrap();
        let image = cluster.engine.image(&TEST_TASK.parse().unwrap()).await;
        let plan = ContainerPlan {
            cluster: cluster.id(),
            worker: "bare".parse().unwrap(),
            attempt: AttemptId::new(TaskId::numbered(0), 1),
            image: image.unwrap().unwrap().id,
            command: Command::Image,
            env: BTreeMap::new(),
            cpu_milli: spec.resources.cpu_milli,
            memory_bytes: spec.resources.memory_bytes,
            gpu_devices: Vec::new(),
            output_dir,
            settings: ContainerSettings::default(),
        };
        Self {
            engine: cluster.engine.clone(),
            plan,
            next: 0,
        }
    }

    async fn flood(&mut self, words: &[String], reading: Reading) -> f64 {
        let mut rate = Rate::default();
        self.read(words, reading, |data| rate.seen(data)).await;
        rate.mb_per_s()
    }

    async fn ages(&mut self, words: &[String], reading: Reading) -> Vec<i64> {
        let mut ages = Ages::default();
        self.read(words, reading, |data| ages.seen(data)).await;
        ages.ages
    }

    async fn read(&mut self, words: &[String], reading: Reading, mut each: impl FnMut(&Bytes)) {
        self.next += 1;
        self.plan.attempt = AttemptId::new(TaskId::numbered(self.next), 1);
        let program = ["/test-task".to_owned()];
        self.plan.command = Command::Exec(program.iter().chain(words).cloned().collect());
        let id: ContainerId = self.engine.create(&self.plan).await.unwrap().id;
        let mut pieces: LogPieces = match reading {
            Reading::Attached => {
                let attached = self.engine.attach(&id).await.unwrap();
                self.engine.start(&id).await.unwrap();
                attached
            }
            Reading::Log => {
                self.engine.start(&id).await.unwrap();
                self.engine.logs(&id, LogPosition::START)
            }
        };
        while let Some(piece) = pieces.next().await {
            // Whether the last line of the engine's log had a newline can't be known.
            if matches!(piece, Err(LogError::LastNewline(_))) {
                break;
            }
            each(&piece.unwrap().data);
        }
        self.engine.remove(&id).await.unwrap();
    }
}
