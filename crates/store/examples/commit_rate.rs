//! How many tasks a second reach the disk, by the size of a batch, beside a bare SQLite loop that
//! writes as many rows of about the same size into one table without an index.
//!
//! `cargo run --release -p cloudai-store --example commit_rate [seconds a figure]`
//!
//! With `MONGODB_URI` set (`mongodb://localhost:27017`) the same goes to that server, into databases
//! named `commit_rate_...`, which stay there.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use cloudai_model::{
    AttemptId, ContainerEnd, Exit, Grant, PeakUsage, Phase, TaskDraft, TaskId, TaskSpec,
    TaskStatus, Wall, Whole,
    record::{AssignmentRecord, Record, ResultRecord, TaskRecord, TaskState},
};
use cloudai_store::{MongoSettings, MongoStore, SqliteStore, Store};
use rusqlite::Connection;

/// Writes of a task: added, assigned, running, over, its attempt closed, its result.
const WRITES: u64 = 6;

/// The one place here that reads a clock.
mod clock {
    pub(crate) use std::time::Instant;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let seconds = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 3.0,
    };
    let span = Duration::from_secs_f64(seconds);
    println!("tasks/s on disk, {WRITES} writes a task; ratio to a bare one-table loop");
    println!(
        "{:>6} {:>10} {:>10} {:>6}",
        "batch", "store", "bare", "ratio"
    );
    for batch in [1, 8, 256] {
        let (store_dir, bare_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let store = SqliteStore::open(store_dir.path())?;
        let store = through_store(&store, batch, span).await?;
        let bare = bare(&bare_dir.path().join("bare.db"), batch, span)?;
        println!(
            "{batch:>6} {store:>10.0} {bare:>10.0} {:>6.2}",
            store / bare
        );
    }
    if let Ok(uri) = std::env::var("MONGODB_URI") {
        println!("{:>6} {:>10}", "batch", "mongodb");
        for batch in [1, 8, 256, 1024] {
            let settings = MongoSettings {
                uri: Some(uri.clone()),
                database: Some(format!("commit_rate_{}_{batch}", std::process::id())),
                ..MongoSettings::default()
            };
            let store = MongoStore::open(&settings).await?;
            let rate = through_store(&store, batch, span).await?;
            println!("{batch:>6} {rate:>10.0}");
        }
    }
    Ok(())
}

/// Each commit takes a batch of tasks through their whole life.
async fn through_store(
    store: &dyn Store,
    batch: u64,
    span: Duration,
) -> Result<f64, Box<dyn Error>> {
    let (_, spec) = draft().check()?;
    let began = clock::Instant::now();
    let mut done = 0;
    while began.elapsed() < span {
        let records = (done..done + batch)
            .map(|number| life(number + 1, &spec))
            .collect::<Result<Vec<_>, _>>()?;
        store
            .commit(Arc::new(records.into_iter().flatten().collect()))
            .await?;
        done += batch;
    }
    let rate = done as f64 / began.elapsed().as_secs_f64();
    store.close().await?;
    Ok(rate)
}

fn bare(path: &Path, batch: u64, span: Duration) -> rusqlite::Result<f64> {
    let mut db = Connection::open(path)?;
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch("CREATE TABLE bare (id INTEGER PRIMARY KEY, content BLOB NOT NULL)")?;
    let content = [7_u8; 160];
    let began = clock::Instant::now();
    let mut done = 0;
    while began.elapsed() < span {
        let transaction = db.transaction()?;
        for _ in 0..batch * WRITES {
            transaction
                .prepare_cached("INSERT INTO bare (content) VALUES (?1)")?
                .execute([&content[..]])?;
        }
        transaction.commit()?;
        done += batch;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

fn draft() -> TaskDraft {
    TaskDraft {
        docker_image: "docker.io/library/alpine:3.20".to_owned(),
        ..TaskDraft::default()
    }
}

fn life(number: u64, spec: &TaskSpec) -> Result<Vec<Record>, Box<dyn Error>> {
    let id = TaskId::numbered(1_697_123_456_000_000 + number);
    let at = Wall(1_697_123_456_000);
    let worker: cloudai_model::WorkerId = "worker-1".parse()?;
    let running = TaskState {
        status: TaskStatus::Running,
        phase: Phase::Running,
        attempt: 1,
        worker: Some(worker.clone()),
        started_at: Some(at),
        ..TaskState::queued("")
    };
    let over = TaskState {
        status: TaskStatus::Completed,
        phase: Phase::Done,
        exit_code: Some(0),
        completed_at: Some(at),
        ..running.clone()
    };
    let open = AssignmentRecord {
        attempt: AttemptId::new(id.clone(), 1),
        worker: worker.clone(),
        sequence: number,
        grant: Grant::default(),
        assigned_at: at,
        ended: None,
    };
    let closed = AssignmentRecord {
        ended: Some((at, "exit code 0".to_owned())),
        ..open.clone()
    };
    let result = ResultRecord {
        attempt: open.attempt.clone(),
        worker: Some(worker),
        status: TaskStatus::Completed,
        reason: String::new(),
        end: Some(ContainerEnd {
            exit: Exit::Exited(0),
            started_at: Some(at),
            finished_at: at,
            usage: PeakUsage::default(),
            image_digest: None,
        }),
        log: Whole::Complete,
        files: Whole::Complete,
        log_tail: String::new(),
        completed_at: at,
        sla_success: None,
    };
    Ok(vec![
        Record::TaskAdded(Box::new(TaskRecord {
            task: id.clone(),
            order: number,
            spec: spec.clone(),
            submitted_at: at,
            state: TaskState::queued(""),
        })),
        Record::Assignment(open),
        Record::TaskChanged(id.clone(), running),
        Record::TaskChanged(id, over),
        Record::Assignment(closed),
        Record::Result(Box::new(result)),
    ])
}
