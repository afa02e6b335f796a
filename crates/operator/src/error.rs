//! Why something asked of a master was not done: one error for each operation.

use std::error::Error;

use crate::{Degraded, MOST_AT_ONCE};
use cloudai_core::{
    AddWorkerError, ChangeError, DrainError, NotReady, PlaceError, RemoveWorkerError, SubmitError,
    SubmitManyError,
};
use cloudai_files::{
    log::{FrameError, LogError},
    output::{CopyError, StoreError},
};
use cloudai_model::{
    DraftErrors, TaskId, TaskStatus, UserName, WorkerAddress, WorkerId, record::Removal,
};

/// Why the master did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It is shutting down.
    #[error("the master is shutting down")]
    ShuttingDown,
    /// Its store could not be read yet: what there is to change is not known.
    #[error("the store has not been read yet: {0}; try again when it is in reach")]
    StoreUnread(Box<Degraded>),
    /// Its store can't be written, and why: nothing was changed.
    #[error("nothing can be changed just now: {0}")]
    StoreWaits(String),
}

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
    /// Its key was used with something else.
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    /// It came before the store had been read, and could not be kept until then.
    #[error("the task can't be kept until the store has been read")]
    NotKept(#[source] Box<dyn Error + Send + Sync>),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// The user submitted something else under the same key, less than a day ago.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key {key:?} was used for another submit, of {task}: expected a new key, or the same body"
)]
pub struct KeyReused {
    /// The key, as its user sent it.
    pub key: String,
    /// The first task of what was submitted under it.
    pub task: TaskId,
}

/// Why none of several tasks was submitted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitManyFailure {
    /// There is none, or there are too many.
    #[error("{0} tasks at once: expected 1 to {MOST_AT_ONCE}")]
    Count(usize),
    /// Fields that can't be as they are, by the task's place in what was submitted, from 0.
    #[error("{} of the tasks can't be as they are", .0.len())]
    Drafts(Vec<(usize, DraftErrors)>),
    /// The core refused them.
    #[error(transparent)]
    Refused(#[from] SubmitManyError),
    /// Whether an id was used before can't be read.
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// Their key was used with something else.
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    /// They were taken under their key before, and not all of them are kept any more.
    #[error(
        "of {of} tasks that were taken under this key {left} are still known: expected a new key to \
         submit them again"
    )]
    Forgotten {
        /// How many are kept.
        left: usize,
        /// How many were submitted.
        of: usize,
    },
    /// They came before the store had been read, and could not be kept until then.
    #[error("the tasks can't be kept until the store has been read")]
    NotKept(#[source] Box<dyn Error + Send + Sync>),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Why an agent's choice was not followed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceFailure {
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] PlaceError),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Why a task was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelFailure {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// There is no such task.
    #[error("there is no task {0}: `list-tasks` shows those that there are")]
    Unknown(TaskId),
    /// It is over.
    #[error("task {0} is final: {1}")]
    Final(TaskId, TaskStatus),
    /// See [`ReadFailure`].
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Why a task was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeFailure {
    /// Fields that can't be as they are.
    #[error(transparent)]
    Draft(#[from] DraftErrors),
    /// There is no such task.
    #[error("there is no task {0}: `list-tasks` shows those that there are")]
    Unknown(TaskId),
    /// It is over.
    #[error("task {0} is final: {1}")]
    Final(TaskId, TaskStatus),
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] ChangeError),
    /// See [`ReadFailure`].
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
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
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Why a worker was not unregistered.
#[derive(Debug, thiserror::Error)]
pub enum UnregisterFailure {
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] RemoveWorkerError),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Why a log could not be shown to its end.
#[derive(Debug, thiserror::Error)]
pub enum LogFailure {
    /// It is there no more.
    #[error("the log of task {task} was {removal}")]
    Removed {
        /// Which task.
        task: TaskId,
        /// When, and by what.
        removal: Removal,
    },
    /// Its file can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It can't be read.
    #[error("the log is damaged")]
    Frame(#[from] FrameError),
    /// See [`ReadFailure`].
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Why a worker was not drained, or not put to use again.
#[derive(Debug, thiserror::Error)]
pub enum DrainFailure {
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] DrainError),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Why what is promised was not compared with what workers said.
#[derive(Debug, thiserror::Error)]
pub enum InspectFailure {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Why the differences between promises and workers were not put right.
#[derive(Debug, thiserror::Error)]
pub enum MendFailure {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Why it was not told where a task stands.
#[derive(Debug, thiserror::Error)]
pub enum ExplainFailure {
    /// There is no such task.
    #[error("there is no task {0}: `list-tasks` shows those that there are")]
    Unknown(TaskId),
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// See [`ReadFailure`].
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Why it was not told what files a task left.
#[derive(Debug, thiserror::Error)]
pub enum FilesFailure {
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
    /// They are there no more.
    #[error("the files of task {task} were {removal}")]
    Removed {
        /// Which task.
        task: TaskId,
        /// When, and by what.
        removal: Removal,
    },
    /// See [`ReadFailure`].
    #[error(transparent)]
    Read(#[from] ReadFailure),
}

/// Why files were not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveFilesFailure {
    /// There are none to remove.
    #[error(transparent)]
    Files(#[from] FilesFailure),
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// The disk refuses. That they were removed is written down already: it is tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// See [`NoAnswer`].
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Why files were not downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadFailure {
    /// There are none to copy.
    #[error(transparent)]
    Files(#[from] FilesFailure),
    /// They can't be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
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
