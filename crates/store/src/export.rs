//! A store as a whole: every record of it, as of one instant, for what looks after stores and not
//! for a master at work.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use cloudai_model::{
    ClusterId, TaskStatus,
    account::AccountChange,
    record::{ClusterRecord, Record},
};
use tokio::sync::mpsc;

use crate::{LOAD_CHUNK, ReadError};

/// What a chunk of records may weigh, in bytes roughly: a log's tail or a list of a hundred thousand
/// files weighs more than most.
const CHUNK_BYTES: usize = 4 << 20;

/// Reads all of a store, whether or not a master is at work on it, and changes nothing.
#[async_trait]
pub trait Export: Send + Sync + 'static {
    /// For people, as [`crate::Store::describe`].
    fn describe(&self) -> String;

    /// The version of what is stored there.
    fn schema(&self) -> i64;

    /// How much there is.
    ///
    /// # Errors
    /// If it can't be counted.
    async fn holdings(&self) -> Result<Holdings, ReadError>;

    /// Sends every record in an order in which an empty store can take them: `Cluster`, each
    /// `Worker` by id, each user by name, each key and each ended token by id, each task as `TaskAdded`
    /// with the state it has, by order, each `Removed` by the task's order, each `Assignment` by the
    /// task's order and the attempt, each `Result` and each `Files` by the task's order, each
    /// `StopOrder` by task and attempt, as texts, each entry of the audit by number, and `Forgotten`,
    /// if tasks were. All of it is as of one instant. What can't be read is sent as such, in its place,
    /// and the rest follows.
    ///
    /// # Errors
    /// If the database fails, was written meanwhile where that can't be helped
    /// ([`ReadError::WrittenMeanwhile`]), or the receiver is gone.
    async fn export(&self, sink: mpsc::Sender<Piece>) -> Result<(), ReadError>;

    /// What the database itself finds wrong with what it holds, if it can look.
    ///
    /// # Errors
    /// If it can't.
    async fn integrity(&self) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }
}

/// A part of what [`Export::export`] sends.
#[derive(Debug)]
pub enum Piece {
    /// Records: at most [`LOAD_CHUNK`].
    Records(Vec<Record>),
    /// One that is there and can't be read.
    Unreadable(ReadError),
}

/// How much a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holdings {
    /// The cluster, once a master has started on it.
    pub cluster: Option<ClusterRecord>,
    /// Registered workers.
    pub workers: u64,
    /// Tasks by status; those without any are absent.
    pub tasks: BTreeMap<TaskStatus, u64>,
    /// Attempts.
    pub assignments: u64,
    /// Results.
    pub results: u64,
    /// Tasks whose output files are in.
    pub files: u64,
    /// Containers that unregistered workers must still stop.
    pub stop_orders: u64,
    /// Tasks of which something that they left was removed.
    pub removed: u64,
    /// Whether tasks were forgotten, so that it keeps their highest numbers.
    pub has_forgotten: bool,
    /// Users.
    pub users: u64,
    /// Their keys.
    pub keys: u64,
    /// Tokens that were ended before their time.
    pub ended_tokens: u64,
    /// Entries of the audit.
    pub audit: u64,
    /// Documents of an earlier program that no master has taken up yet.
    pub not_taken_up: u64,
}

impl Holdings {
    /// Counts one more record, as an export sends it.
    pub fn add(&mut self, record: &Record) {
        match record {
            Record::Cluster(cluster) => self.cluster = Some(cluster.clone()),
            Record::Worker(_) => self.workers += 1,
            Record::TaskAdded(task) => *self.tasks.entry(task.state.status).or_default() += 1,
            Record::Assignment(_) => self.assignments += 1,
            Record::Result(_) => self.results += 1,
            Record::Files(_) => self.files += 1,
            Record::StopOrder(_) => self.stop_orders += 1,
            Record::Removed(_) => self.removed += 1,
            Record::Forgotten(_) => self.has_forgotten = true,
            Record::Account(AccountChange::User(_)) => self.users += 1,
            Record::Account(AccountChange::Key(_)) => self.keys += 1,
            Record::Account(AccountChange::TokenEnded(_)) => self.ended_tokens += 1,
            Record::Account(AccountChange::Audit(_)) => self.audit += 1,
            // An export says what is, not what changed.
            Record::WorkerRemoved(_)
            | Record::TaskChanged(..)
            | Record::SpecChanged(..)
            | Record::StopOrderDone(_)
            | Record::TaskForgotten(_)
            | Record::Account(
                AccountChange::UserRemoved(_)
                | AccountChange::KeyRemoved(_)
                | AccountChange::TokensForgotten(_)
                | AccountChange::AuditForgotten(_),
            ) => {}
        }
    }

    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All tasks.
    #[must_use]
    pub fn task_count(&self) -> u64 {
        self.tasks.values().sum()
    }

    /// All records.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        u64::from(self.cluster.is_some())
            + self.workers
            + self.task_count()
            + self.assignments
            + self.results
            + self.files
            + self.stop_orders
            + self.removed
            + u64::from(self.has_forgotten)
            + self.users
            + self.keys
            + self.ended_tokens
            + self.audit
    }

    /// Whose it is.
    #[must_use]
    pub fn cluster_id(&self) -> Option<&ClusterId> {
        Some(&self.cluster.as_ref()?.cluster)
    }
}

impl fmt::Display for Holdings {
    /// `cluster c-5f2a90d1, 2 workers, 17 tasks (1 running, 16 completed), 18 attempts, ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let plural = |count: u64, one: &str, more: &str| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {more}"),
        };
        match &self.cluster {
            Some(cluster) => write!(f, "cluster {}, ", cluster.cluster)?,
            None => f.write_str("no cluster yet, ")?,
        }
        let tasks = plural(self.task_count(), "task", "tasks");
        write!(f, "{}, {tasks}", plural(self.workers, "worker", "workers"))?;
        if !self.tasks.is_empty() {
            let by_status = self.tasks.iter();
            let by_status: Vec<_> = by_status
                .map(|(status, count)| format!("{count} {status}"))
                .collect();
            write!(f, " ({})", by_status.join(", "))?;
        }
        for (count, one, more) in [
            (self.assignments, "attempt", "attempts"),
            (self.results, "result", "results"),
            (self.files, "set of files", "sets of files"),
            (self.stop_orders, "stop order", "stop orders"),
            (self.removed, "removal", "removals"),
            (self.users, "user", "users"),
            (self.keys, "key", "keys"),
            (self.ended_tokens, "ended token", "ended tokens"),
            (self.audit, "entry of the audit", "entries of the audit"),
        ] {
            if count > 0 {
                write!(f, ", {}", plural(count, one, more))?;
            }
        }
        if self.not_taken_up > 0 {
            let them = plural(self.not_taken_up, "document", "documents");
            write!(f, ", and {them} of an earlier program")?;
        }
        Ok(())
    }
}

/// Records on their way out, until they fill a chunk.
#[derive(Default)]
pub(crate) struct Chunk {
    records: Vec<Record>,
    bytes: usize,
}

impl Chunk {
    /// Adds a record; the chunk, once it is full.
    pub(crate) fn add(&mut self, record: Record) -> Option<Piece> {
        self.bytes += bytes(&record);
        self.records.push(record);
        let full = self.records.len() == LOAD_CHUNK || self.bytes >= CHUNK_BYTES;
        full.then(|| self.take()).flatten()
    }

    /// What has gathered, if anything has.
    pub(crate) fn take(&mut self) -> Option<Piece> {
        self.bytes = 0;
        let records = std::mem::take(&mut self.records);
        (!records.is_empty()).then_some(Piece::Records(records))
    }
}

/// What a record weighs, roughly.
fn bytes(record: &Record) -> usize {
    match record {
        Record::Result(result) => result.log_tail.len(),
        Record::Account(AccountChange::Audit(entry)) => 200 + entry.detail.len(),
        Record::Files(files) => files.files.iter().map(|file| file.path.len() + 100).sum(),
        _ => 200,
    }
}
