//! What can be asked of a master, whoever asks: the console and the servers of the master are thin
//! over this trait, and tests may fake it.
//!
//! One error type for each operation. Its text, followed by its causes, is what the caller reads.

use std::{collections::BTreeMap, error::Error, path::Path, sync::Arc};

use async_trait::async_trait;
use cloudai_core::{
    AddWorkerError, CancelOutcome, Event, PlaceError, RemoveWorkerError, Snapshot, SubmitError,
    Submitted, explain::Explanation,
};
use cloudai_files::{
    log::{Frame, FrameError, LogError},
    output::{CopyError, CopySummary},
};
use cloudai_model::{
    AttemptId, DraftErrors, Now, TaskDraft, TaskId, TaskStatus, UserName, WorkerAddress, WorkerId,
    record::{FileRecord, ResultRecord, TaskRecord, WorkerRecord},
};
use tokio::sync::broadcast;

/// The master, as its front ends see it.
#[async_trait]
pub trait Operator: Send + Sync {
    /// Both clocks.
    fn now(&self) -> Now;

    /// What does not change while the master runs.
    fn about(&self) -> About;

    /// The cluster as it was a moment ago. Never waits.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// What happens from now on. Losing some of it loses nothing but news.
    fn events(&self) -> broadcast::Receiver<Event>;

    /// Checks and keeps a task.
    async fn submit(&self, draft: TaskDraft) -> Result<Submitted, SubmitFailure>;

    /// Asks for a task's end.
    async fn cancel(&self, task: &TaskId) -> Result<CancelOutcome, CancelFailure>;

    /// Places a waiting task where an agent wants it.
    async fn place(&self, task: TaskId, worker: WorkerId) -> Result<AttemptId, PlaceFailure>;

    /// Makes a worker known. One that is known at this address already stays as it is.
    async fn register(
        &self,
        worker: WorkerId,
        address: WorkerAddress,
    ) -> Result<Registered, RegisterFailure>;

    /// Forgets a worker; answers the attempts that were taken from it.
    async fn unregister(&self, worker: &WorkerId) -> Result<Vec<AttemptId>, UnregisterFailure>;

    /// How many tasks there are in each status; a status without any may be missing.
    async fn counts(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadFailure>;

    /// A task, its state as it is now: phase and reason are those of the live task.
    async fn task(&self, task: &TaskId) -> Result<Option<TaskView>, ReadFailure>;

    /// Tasks, the newest first.
    async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskRecord>, ReadFailure>;

    /// The first `limit` of the waiting, in order, and why each waits.
    async fn queue(&self, limit: usize) -> Result<Vec<QueueEntry>, ReadFailure>;

    /// The log of an attempt from its first byte to its end, live. Ends when nothing more of that
    /// attempt's log will come, and at once if there is none of it.
    async fn follow_log(&self, attempt: &AttemptId) -> Result<Box<dyn FrameSource>, LogFailure>;

    /// Copies the task's output files of `user` into the folder `destination`, which is made if
    /// need be. Checksums are verified; a file that is there and differs is not overwritten.
    async fn download(
        &self,
        task: &TaskId,
        user: &UserName,
        destination: &Path,
    ) -> Result<Downloaded, DownloadFailure>;
}

/// A log that is read as it grows.
#[async_trait]
pub trait FrameSource: Send {
    /// The next frame; `None` at the end. Dropping the future loses no frame.
    async fn next(&mut self) -> Result<Option<Frame>, LogFailure>;
}

/// What does not change while the master runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The program's version.
    pub version: String,
    /// The store, such as `sqlite ./cloudai-data/cloudai.db`.
    pub store: String,
    /// What is listened on: a name such as `gRPC`, and the address.
    pub services: Vec<(String, String)>,
}

/// A worker is known now.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// What is kept.
    pub record: WorkerRecord,
    /// Whether it was so before.
    pub already: bool,
    /// What it shows to be let in from another machine.
    pub token: String,
    /// Where it finds this master, `host:port`.
    pub master_address: String,
}

/// A task and, once it is final, its result.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    /// The task.
    pub record: TaskRecord,
    /// Its result.
    pub result: Option<ResultRecord>,
}

/// Which tasks are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// In this status alone.
    pub status: Option<TaskStatus>,
    /// Of this user alone.
    pub user: Option<UserName>,
    /// At most so many.
    pub limit: usize,
}

/// A waiting task.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueEntry {
    /// Its place, from 1.
    pub position: usize,
    /// The task.
    pub record: TaskRecord,
    /// Why it waits.
    pub why: Explanation,
}

/// What a download brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Every file of the task.
    pub files: Vec<FileRecord>,
    /// How many of them were written, and how many were there already.
    pub summary: CopySummary,
}

/// The master did not answer: it is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the master is shutting down")]
pub struct ShuttingDown;

/// The store could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the store")]
pub struct ReadFailure(#[source] pub Box<dyn Error + Send + Sync>);

/// Why a task was not submitted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitFailure {
    /// Fields that can't be as they are.
    #[error(transparent)]
    Draft(#[from] DraftErrors),
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] SubmitError),
    /// Whether its id was used before can't be read.
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// See [`ShuttingDown`].
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

/// Why an agent's choice was not followed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceFailure {
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] PlaceError),
    /// See [`ShuttingDown`].
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

/// Why a task was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelFailure {
    /// See [`cloudai_core::NotReady`].
    #[error(transparent)]
    NotReady(#[from] cloudai_core::NotReady),
    /// There is no such task.
    #[error("there is no task {0}: `list-tasks` shows those that there are")]
    Unknown(TaskId),
    /// It is over.
    #[error("task {0} is final: {1}")]
    Final(TaskId, TaskStatus),
    /// See [`ReadFailure`].
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// See [`ShuttingDown`].
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

/// Why a worker was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterFailure {
    /// It is registered at another address.
    #[error(
        "worker {worker} already registered at {address}: `unregister {worker}` first if it has moved"
    )]
    Elsewhere {
        /// Which worker.
        worker: WorkerId,
        /// Where it is registered.
        address: WorkerAddress,
    },
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] AddWorkerError),
    /// There is nothing to tell this registration from others by.
    #[error("this machine gives no random numbers")]
    Random(#[source] std::io::Error),
    /// See [`ShuttingDown`].
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

/// Why a worker was not unregistered.
#[derive(Debug, thiserror::Error)]
pub enum UnregisterFailure {
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] RemoveWorkerError),
    /// See [`ShuttingDown`].
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

/// Why a log could not be shown to its end.
#[derive(Debug, thiserror::Error)]
pub enum LogFailure {
    /// Its file can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It can't be read.
    #[error("the log is damaged")]
    Frame(#[from] FrameError),
    /// See [`ReadFailure`].
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// See [`ShuttingDown`].
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

/// Why files were not downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadFailure {
    /// There is no such task of that user: nobody learns of another's.
    #[error("there is no task {task} of user {user}")]
    Unknown {
        /// Which task.
        task: TaskId,
        /// Whose.
        user: UserName,
    },
    /// It is not over yet.
    #[error("task {task} is {status}: its files are there when it has ended")]
    NotFinal {
        /// Which task.
        task: TaskId,
        /// Where it stands.
        status: TaskStatus,
    },
    /// They can't be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// See [`ReadFailure`].
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// See [`ShuttingDown`].
    #[error(transparent)]
    ShuttingDown(#[from] ShuttingDown),
}

/// An error and its causes in one line.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some errors say their cause already.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the file")]
        struct Outer(#[source] std::io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("it failed: {0}")]
        struct Telling(#[source] std::io::Error);

        let cause = || std::io::Error::other("disk gone");
        assert_eq!(
            with_causes(&Outer(cause())),
            "cannot read the file: disk gone"
        );
        assert_eq!(with_causes(&Telling(cause())), "it failed: disk gone");
    }
}
