//! How many tasks a second are kept, by the size of a batch and by the store, each beside a bare loop
//! on the same database that writes as many rows of about the same size into one table without an
//! index.
//!
//! `cargo run --release -p cloudai-store --features mongod --example commit_rate [seconds a figure]`
//!
//! The MongoDBs are a single server and a replica set of three, all on this machine, of the mongod
//! that `scripts/mongod-up` sets up.

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
use cloudai_store::{
    MongoSettings, MongoStore, SqliteStore, Store,
    mongod::{ReplicaSet, Server, bson::doc, client},
};
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
    println!("tasks/s kept, {WRITES} writes a task; ratio to a bare one-table loop");
    println!(
        "{:>12} {:>6} {:>10} {:>10} {:>6}",
        "store", "batch", "store", "bare", "ratio"
    );
    for batch in BATCHES {
        let (store_dir, bare_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let store = SqliteStore::open(store_dir.path())?;
        let store = through_store(&store, batch, span).await?;
        let bare = bare(&bare_dir.path().join("bare.db"), batch, span)?;
        tell("sqlite", batch, store, bare);
    }
    let single = tokio::task::block_in_place(|| Server::start(&[]));
    let single_settings = || single.settings();
    through_mongo("single", single_settings, &single.uri(), span).await?;
    let set = tokio::task::block_in_place(ReplicaSet::start);
    let uri = set.settings().uri.unwrap_or_default();
    through_mongo("replica set", || set.settings(), &uri, span).await
}

/// From one task by itself to what piles up under load.
const BATCHES: [u64; 3] = [1, 8, 256];

fn tell(name: &str, batch: u64, store: f64, bare: f64) {
    println!(
        "{name:>12} {batch:>6} {store:>10.0} {bare:>10.0} {:>6.2}",
        store / bare
    );
}

async fn through_mongo(
    name: &str,
    settings: impl Fn() -> MongoSettings,
    uri: &str,
    span: Duration,
) -> Result<(), Box<dyn Error>> {
    for batch in BATCHES {
        let store = MongoStore::open(&settings()).await?;
        let store = through_store(&store, batch, span).await?;
        let bare = bare_mongo(uri, batch, span).await?;
        tell(name, batch, store, bare);
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

/// As safe as the store: a majority has it in its journal.
async fn bare_mongo(uri: &str, batch: u64, span: Duration) -> Result<f64, Box<dyn Error>> {
    let database = client(uri).await.database("commit_rate_bare");
    let content = "7".repeat(160);
    let began = clock::Instant::now();
    let mut done = 0;
    while began.elapsed() < span {
        let documents = vec![doc! { "content": &content }; usize::try_from(batch * WRITES)?];
        let insert = doc! {
            "insert": "bare",
            "documents": documents,
            "writeConcern": { "w": "majority", "j": true },
        };
        database.run_command(insert).await?;
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
