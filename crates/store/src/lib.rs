//! What CloudAI keeps: the [`Store`] trait and what stands behind it, [`MemoryStore`],
//! [`SqliteStore`] and [`MongoStore`]; and [`JournaledStore`], which goes on while the latter is out
//! of reach. What looks after a store reads all of it as an [`Export`].
//!
//! A store writes [`Record`]s down and reads them back. It decides nothing: what a record means,
//! and which may follow which, is the core's business. What it does watch over is that a task is
//! added once, has one result, and that nothing is kept of a task that doesn't exist.

mod batch;
mod error;
mod export;
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod memory;
mod mongo;
#[cfg(any(test, feature = "mongod"))]
pub mod mongod;
mod sqlite;
mod submitted;

#[cfg(test)]
mod conformance;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use cloudai_model::{
    TaskId, TaskStatus, UserName, Wall, WorkerId,
    account::AuditRecord,
    record::{
        AssignmentRecord, FilesRecord, ForgottenRecord, Record, Removed, ResultRecord, TaskRecord,
    },
};
use tokio::sync::mpsc;

pub use cloudai_model::account::{AuditQuery, StoredAccounts};

#[cfg(any(test, feature = "fakes"))]
pub use self::journal::FakeDatabase;
pub use self::{
    error::{CommitError, ReadError},
    export::{Export, Holdings, Piece},
    journal::{
        AppendError, Changes, JournalError, JournalSettings, JournaledOpenError, JournaledStore,
        Submitted, TakeInError,
    },
    memory::MemoryStore,
    mongo::{
        Adopted, MongoFilling, MongoOpenError, MongoReader, MongoSettings, MongoSettingsError,
        MongoStore,
    },
    sqlite::{
        DATABASE_FILE, DataDirLock, InUse, LOCK_FILE, OpenError, SqliteFilling, SqliteReader,
        SqliteStore, Unfinished, note_backup,
    },
    submitted::SubmittedUnder,
};

/// The most records that [`Store::load`] sends in one chunk.
pub const LOAD_CHUNK: usize = 1000;

/// The highest [`TaskRecord::order`] and [`AuditRecord::number`] that can be stored: every database
/// counts with a sign.
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
    /// - What a batch says of a task before it forgets it counts for nothing, and need not be known.
    /// - `Removed` replaces what was said before. `TaskForgotten` takes everything away that is
    ///   kept of a task, if it is known; its numbers count for [`Highest`] ever after, and so do
    ///   those that `Forgotten` says, where they are higher than what is there.
    /// - Of `Account`, `User` and `Key` replace what was there, and the removals succeed if there is
    ///   nothing to remove. `UserRemoved` removes the user's keys, too; a `Key` of a user who is not
    ///   there is not kept: they were removed meanwhile. `Audit` is written once a number; the
    ///   identical one changes nothing. `AuditForgotten` never forgets the entry of the highest
    ///   number, so that numbers go on rising.
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

    /// A page of what [`Self::files_of_user`] says.
    ///
    /// # Errors
    /// If some can't be read.
    async fn files_page(&self, query: &FilesQuery) -> Result<Vec<FilesOfTask>, ReadError>;

    /// What the output files of all of a user's tasks take, in bytes, without those that were removed.
    ///
    /// # Errors
    /// If they can't be read.
    async fn files_bytes_of_user(&self, user: &UserName) -> Result<u64, ReadError>;

    /// The tasks that a user submitted under a key, by their order.
    ///
    /// # Errors
    /// If they can't be read.
    async fn submitted(&self, user: &UserName, key: &str)
    -> Result<Vec<SubmittedUnder>, ReadError>;

    /// All users, keys and ended tokens.
    ///
    /// # Errors
    /// If some can't be read.
    async fn accounts(&self) -> Result<StoredAccounts, ReadError>;

    /// The entries of the audit that fit the query, those of the highest numbers first.
    ///
    /// # Errors
    /// If one can't be read.
    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, ReadError>;

    /// When the oldest entries of the audit were made, those of before `before`, at most `limit` of
    /// them, by time: so forgetting can go in steps. The last entry, which stays, is none of them.
    ///
    /// # Errors
    /// If they can't be read.
    async fn oldest_audit(&self, before: Wall, limit: usize) -> Result<Vec<Wall>, ReadError>;

    /// Final tasks in the order in which they ended, with what was removed of each. Tasks of which
    /// it is not known when they ended are left out.
    ///
    /// # Errors
    /// If they can't be read.
    async fn ended(&self, query: &EndedQuery) -> Result<Vec<EndedTask>, ReadError>;

    /// What was removed of what these tasks left; those of which nothing was are absent.
    ///
    /// # Errors
    /// If it can't be read.
    async fn removed(&self, tasks: &[TaskId]) -> Result<BTreeMap<TaskId, Removed>, ReadError>;

    /// A task, and what there is of it besides if it has ended: in one read of one instant where the
    /// database can.
    ///
    /// # Errors
    /// If it can't be read.
    async fn whole_task(&self, task: &TaskId) -> Result<Option<WholeTask>, ReadError> {
        let Some(record) = self.task(task).await? else {
            return Ok(None);
        };
        if !record.state.status.is_final() {
            return Ok(Some(WholeTask::unfinished(record)));
        }
        let result = self.result(task).await?;
        let mut removed = self.removed(std::slice::from_ref(task)).await?;
        Ok(Some(WholeTask {
            record,
            result,
            removed: removed.remove(task).unwrap_or_default(),
        }))
    }

    /// The files on this machine that it keeps records in, also those that are not there just now;
    /// none if all records are elsewhere.
    fn disk_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Waits for what is under way and closes. Every later call but this one answers that the
    /// store is closed.
    ///
    /// # Errors
    /// If what was committed could not be moved to its last place. It is safe all the same.
    async fn close(&self) -> Result<(), CommitError>;
}

/// A task, and what there is of it once it has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct WholeTask {
    /// The task.
    pub record: TaskRecord,
    /// How it ended.
    pub result: Option<ResultRecord>,
    /// What was removed of what it left.
    pub removed: Removed,
}

impl WholeTask {
    /// Of a task that has not ended.
    #[must_use]
    pub fn unfinished(record: TaskRecord) -> Self {
        Self {
            record,
            result: None,
            removed: Removed::default(),
        }
    }
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

/// Which of a user's output files to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesQuery {
    /// Whose.
    pub user: UserName,
    /// Only those of tasks submitted before the one of this order: the cursor.
    pub before: Option<u64>,
    /// Those of so many tasks at most.
    pub limit: usize,
}

/// A task's output files, and where the task stands among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesOfTask {
    /// [`TaskRecord::order`].
    pub order: u64,
    /// The files.
    pub files: FilesRecord,
}

/// Which ended tasks to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedQuery {
    /// Those that ended so.
    pub statuses: BTreeSet<TaskStatus>,
    /// Those that ended before this.
    pub before: Wall,
    /// Those that come after this one: the cursor.
    pub after: Option<EndedAt>,
    /// At most so many.
    pub limit: usize,
}

/// A place in the order in which tasks ended; at the same time the earlier submit comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndedAt {
    /// When it ended.
    pub at: Wall,
    /// [`TaskRecord::order`].
    pub order: u64,
}

/// A task that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedTask {
    /// Which.
    pub task: TaskId,
    /// Whose.
    pub user: UserName,
    /// Its place.
    pub place: EndedAt,
    /// What was removed of what it left.
    pub removed: Removed,
}

/// The highest numbers given out, over all tasks: final ones and forgotten ones count, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Highest {
    /// The highest [`TaskId::number`]; `None` if no task has one.
    pub task_number: Option<u64>,
    /// The highest [`TaskRecord::order`]; 0 if there is no task.
    pub order: u64,
}

impl Highest {
    /// The higher of each.
    fn and(self, other: Self) -> Self {
        Self {
            task_number: self.task_number.max(other.task_number),
            order: self.order.max(other.order),
        }
    }

    /// What an export says, if these are the numbers of forgotten tasks: nothing, if there were
    /// none.
    fn as_forgotten(self) -> Option<ForgottenRecord> {
        let Self { task_number, order } = self;
        (self != Self::default()).then_some(ForgottenRecord { order, task_number })
    }
}

impl From<ForgottenRecord> for Highest {
    fn from(forgotten: ForgottenRecord) -> Self {
        let ForgottenRecord { order, task_number } = forgotten;
        Self { task_number, order }
    }
}

/// Whether two records are of one submit, wherever each of them stands by now and whatever was
/// changed since.
fn same_submit(one: &TaskRecord, other: &TaskRecord) -> bool {
    one.task == other.task
        && one.order == other.order
        && one.submitted_at == other.submitted_at
        && one.spec.is_same_but_for_changes(&other.spec)
}
