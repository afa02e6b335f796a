//! What CloudAI keeps: the [`Store`] trait and what stands behind it, [`MemoryStore`],
//! [`SqliteStore`] and [`MongoStore`]; and [`JournaledStore`], which goes on while the latter is out
//! of reach. What looks after a store reads all of it as an [`Export`].
//!
//! A store writes [`Record`]s down and reads them back. It decides nothing: what a record means,
//! and which may follow which, is the core's business. What it does watch over is that a task is
//! added once, has one result, and that nothing is kept of a task that doesn't exist.

mod error;
mod export;
mod journal;
mod memory;
mod mongo;
#[cfg(any(test, feature = "mongod"))]
pub mod mongod;
mod sqlite;

#[cfg(test)]
mod conformance;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use cloudai_model::{
    TaskId, TaskStatus, UserName, WorkerId,
    record::{AssignmentRecord, FilesRecord, Record, ResultRecord, TaskRecord},
};
use tokio::sync::mpsc;

pub use self::{
    error::{CommitError, ReadError},
    export::{Export, Holdings, Piece},
    journal::{
        AppendError, Changes, Degraded, JournalError, JournalSettings, JournaledOpenError,
        JournaledStore, Submitted, TakeInError,
    },
    memory::MemoryStore,
    mongo::{
        Adopted, MongoFilling, MongoOpenError, MongoReader, MongoSettings, MongoSettingsError,
        MongoStore,
    },
    sqlite::{
        DATABASE_FILE, DataDirLock, LOCK_FILE, OpenError, SqliteFilling, SqliteReader, SqliteStore,
        Unfinished, note_backup,
    },
};

/// The most records that [`Store::load`] sends in one chunk.
pub const LOAD_CHUNK: usize = 1000;

/// The highest [`TaskRecord::order`] that can be stored: every database counts with a sign.
pub const HIGHEST_ORDER: u64 = i64::MAX as u64;

/// Keeps records.
///
/// One owner commits; any number of readers read beside it, without waiting for it, and see every
/// batch whose commit has returned.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// For people: `sqlite ./cloudai-data/cloudai.db`.
    fn describe(&self) -> String;

    /// Writes a batch as one transaction: all or nothing, on disk when it returns.
    ///
    /// The records apply in their order. The identical batch may be sent again after an error of
    /// unknown outcome, until another one is sent: what it wrote is written again, or found to be
    /// there.
    ///
    /// - `TaskAdded` of a known task with the same order, spec and time of submit changes nothing:
    ///   a state that has moved on since stays as it is, and so does what was changed in the spec.
    /// - `SpecChanged` changes what it names of the spec, and nothing else.
    /// - `Result` is written once a task. The identical one changes nothing.
    /// - `Cluster`, `Worker`, `TaskChanged`, `Assignment`, `Files` and `StopOrder` replace what
    ///   was there; the two removals succeed if there is nothing to remove.
    ///
    /// # Errors
    /// See [`CommitError`]; [`CommitError::may_retry`] tells those that can pass from those that
    /// show a mistake of the caller's. Nothing of the batch is kept in either case, unless the
    /// outcome is unknown.
    async fn commit(&self, batch: Arc<Vec<Record>>) -> Result<(), CommitError>;

    /// Sends what a start needs, in chunks of at most [`LOAD_CHUNK`], in this order: `Cluster`,
    /// each `Worker` by id, each task that is not final as `TaskAdded` by rising order, each
    /// `Assignment` of those tasks that has not ended by the task's order and the attempt, each
    /// `StopOrder`. All of it is as of one instant.
    ///
    /// # Errors
    /// If something can't be read, or the receiver is gone.
    async fn load(&self, sink: mpsc::Sender<Vec<Record>>) -> Result<Highest, ReadError>;

    /// A task.
    ///
    /// # Errors
    /// If it can't be read.
    async fn task(&self, task: &TaskId) -> Result<Option<TaskRecord>, ReadError>;

    /// The tasks that fit the query, newest first.
    ///
    /// # Errors
    /// If one can't be read.
    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskRecord>, ReadError>;

    /// How many tasks stand at each status; those without any are absent.
    ///
    /// # Errors
    /// If they can't be read.
    async fn count_by_status(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadError>;

    /// A task's attempts, by number.
    ///
    /// # Errors
    /// If one can't be read.
    async fn assignments(&self, task: &TaskId) -> Result<Vec<AssignmentRecord>, ReadError>;

    /// A task's result, once it has one.
    ///
    /// # Errors
    /// If it can't be read.
    async fn result(&self, task: &TaskId) -> Result<Option<ResultRecord>, ReadError>;

    /// A task's output files, once they are in.
    ///
    /// # Errors
    /// If they can't be read.
    async fn files(&self, task: &TaskId) -> Result<Option<FilesRecord>, ReadError>;

    /// The output files of all of a user's tasks, the newest task first.
    ///
    /// # Errors
    /// If some can't be read.
    async fn files_of_user(&self, user: &UserName) -> Result<Vec<FilesRecord>, ReadError>;

    /// Waits for what is under way and closes. Every later call but this one answers that the
    /// store is closed.
    ///
    /// # Errors
    /// If what was committed could not be moved to its last place. It is safe all the same.
    async fn close(&self) -> Result<(), CommitError>;
}

/// Which tasks to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskQuery {
    /// Only those that stand at one of these; empty: at any.
    pub statuses: BTreeSet<TaskStatus>,
    /// Only this user's.
    pub user: Option<UserName>,
    /// Only those whose last attempt was given to this worker.
    pub worker: Option<WorkerId>,
    /// Only those submitted before the one of this order: the cursor. The next page begins before
    /// the last order of this one.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl TaskQuery {
    /// The newest tasks of anyone, at most `limit` of them.
    #[must_use]
    pub fn newest(limit: usize) -> Self {
        Self {
            statuses: BTreeSet::new(),
            user: None,
            worker: None,
            before: None,
            limit,
        }
    }
}

/// The highest numbers given out, over all tasks, also final ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Highest {
    /// The highest [`TaskId::number`]; `None` if no task has one.
    pub task_number: Option<u64>,
    /// The highest [`TaskRecord::order`]; 0 if there is no task.
    pub order: u64,
}

/// Whether two records are of one submit, wherever each of them stands by now and whatever was
/// changed since.
fn same_submit(one: &TaskRecord, other: &TaskRecord) -> bool {
    one.task == other.task
        && one.order == other.order
        && one.submitted_at == other.submitted_at
        && one.spec.is_same_but_for_changes(&other.spec)
}
