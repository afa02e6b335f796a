//! What callers are told. One error type for each operation.

use std::time::Duration;

use cloudai_model::{
    AttemptId, ClusterId, TaskId, TaskStatus, UserName, WorkerId, record::WorkerRecord,
};

use crate::{
    explain::{Explanation, Obstacle},
    inspect::{Inspection, Mended},
    registry::{AlreadyRegistered, UnknownWorker},
    users::LimitReached,
};

/// An answer to a [`crate::Call`].
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To a submit.
    Submitted(Result<Submitted, SubmitError>),
    /// To a submit of several: each in the order of the submit.
    SubmittedMany(Result<Vec<Taken>, SubmitManyError>),
    /// To a cancel.
    Cancelled(Result<CancelOutcome, CancelError>),
    /// To a change.
    Changed(Result<ChangeOutcome, ChangeError>),
    /// To an agent's placement.
    Placed(Result<AttemptId, PlaceError>),
    /// To the question why tasks wait, in the queue's order; without those that don't wait.
    Waiting(Result<Vec<Waiting>, NotReady>),
    /// To a registration.
    WorkerAdded(Result<WorkerRecord, AddWorkerError>),
    /// To an unregistration: the attempts that were taken from the worker.
    WorkerRemoved(Result<Vec<AttemptId>, RemoveWorkerError>),
    /// To a drain: what the worker still has to run.
    Drained(Result<Vec<AttemptId>, DrainError>),
    /// To the wish to see both views.
    Inspected(Result<Inspection, NotReady>),
    /// To the wish to have them put right: every difference, and what was done about it.
    Mended(Result<Vec<Mended>, NotReady>),
    /// To what retention wants to remove: the tasks that have not ended, of which nothing is.
    Retired(Result<Vec<TaskId>, NotReady>),
    /// To a worker's hello.
    Welcomed(Result<Welcome, WorkerCallError>),
    /// To a heartbeat.
    HeartbeatTaken(Result<HeartbeatTaken, WorkerCallError>),
    /// To the question which attempt an old node means; `None`: none that is known here.
    Attempt(Result<Option<(WorkerId, AttemptId)>, NotReady>),
    /// To a worker's word on an attempt.
    Reported(Result<Reported, WorkerCallError>),
}

/// The store has not been read yet; ask again in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the master has just started and is still reading its store: try again in a moment")]
pub struct NotReady;

/// A task is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// Its id.
    pub task: TaskId,
    /// Queued, or pending if it could be placed at once.
    pub status: TaskStatus,
    /// Where it was sent, if it was.
    pub worker: Option<WorkerId>,
    /// Its place among the waiting, from 1; 0 if it doesn't wait.
    pub position: usize,
    /// Why it waits, if it does.
    pub waiting: Option<Explanation>,
}

/// Why a task was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// The client's id is in use.
    #[error("task {0} is there already: expected an id that was never used")]
    IdTaken(TaskId),
    /// The client's id is of the master's own form and ahead of its clock.
    #[error(
        "task id {0} is of the form that the master makes and lies ahead of its clock: \
         expected another form, such as nightly-7, or no id"
    )]
    IdAhead(TaskId),
    /// The worker named is not registered.
    #[error("{0}: register it first, or name no worker")]
    UnknownTarget(UnknownWorker),
    /// The queue is full.
    #[error("the queue is full: {0} tasks wait; try again when some have been started")]
    QueueFull(usize),
    /// As many tasks of the user wait as may.
    #[error(
        "{user} may have {limit} tasks waiting at a time: try again when some have been started, or \
         cancel some"
    )]
    UserQueueFull {
        /// Whose task it is.
        user: UserName,
        /// How many of the user's tasks may wait.
        limit: u64,
    },
    /// Alone it is larger than all that its user may have.
    #[error("{0}: ask for less, or an admin for a higher limit")]
    BeyondLimit(LimitReached),
    /// No new task is taken for now.
    #[error("no new task is taken: {0}")]
    HeldUp(String),
}

/// One task of a submit of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its id.
    pub task: TaskId,
    /// Queued, or pending if it could be placed at once.
    pub status: TaskStatus,
    /// Where it was sent, if it was.
    pub worker: Option<WorkerId>,
    /// Why it waits; empty if it doesn't.
    pub reason: String,
}

/// Why none of several tasks was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitManyError {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// The queue has no room for all of them.
    #[error(
        "the queue has room for {room} more tasks and these are {tasks}: submit fewer at once, or try \
         again when some have been started"
    )]
    QueueFull {
        /// How many may come in.
        room: usize,
        /// How many these are.
        tasks: usize,
    },
    /// No new task is taken for now.
    #[error("no new task is taken: {0}")]
    HeldUp(String),
    /// These can't come in, and so none does.
    #[error("{} of the tasks can't be taken, so none was: {}", .0.len(), first_few(.0))]
    Refused(Vec<BatchRefused>),
}

/// A task that keeps the others of its batch from being taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {index}: {error}")]
pub struct BatchRefused {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// What is wrong with it.
    #[source]
    pub error: SubmitError,
}

/// So many refusals are told in a line; all are in the list.
const MOST_TOLD: usize = 3;

fn first_few(refused: &[BatchRefused]) -> String {
    let told = refused.iter().take(MOST_TOLD);
    let mut words: Vec<_> = told.map(ToString::to_string).collect();
    if refused.len() > MOST_TOLD {
        words.push("...".to_owned());
    }
    words.join("; ")
}

/// A waiting task.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Which.
    pub task: TaskId,
    /// Its place in the queue, from 1. Those that wait out a back-off come after all that could start,
    /// those on hold after all others.
    pub position: usize,
    /// What for.
    pub cause: WaitCause,
}

/// What a task waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum WaitCause {
    /// A worker with room, or its user's limit.
    Room(Explanation),
    /// Somebody to release it.
    OnHold,
    /// The end of the pause after a failure: so long from now.
    BackOff(Duration),
}

/// What a cancel came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It hadn't been started, and won't be.
    Cancelled,
    /// Its worker was asked to stop it.
    Stopping(WorkerId),
    /// Its container has ended by itself; that result stands and is on its way.
    AlreadyEnded,
}

/// Why there is nothing to cancel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// No task that waits or runs has this id. The shell asks the store whether one has ended.
    #[error("task {0} neither waits nor runs")]
    NotLive(TaskId),
}

/// What a change came to. It is kept in each case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// It holds from now on.
    Kept,
    /// By it the task has run for long enough: its worker was asked to stop it.
    EndsNow(WorkerId),
}

/// Why a task was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// No task that waits or runs has this id. The shell asks the store whether one has ended.
    #[error("task {0} neither waits nor runs")]
    NotLive(TaskId),
    /// It is being stopped.
    #[error("task {0} is being stopped ({1}): a change would come too late")]
    BeingStopped(TaskId, String),
    /// It waits no more, so that it's too late for this.
    #[error("task {task} is with worker {worker}: {what} while it waits")]
    WaitsNoMore {
        /// Which task.
        task: TaskId,
        /// Who has it.
        worker: WorkerId,
        /// What can be done while it waits alone.
        what: &'static str,
    },
}

/// Why an agent's choice was not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// The task doesn't wait.
    #[error("task {0} does not wait")]
    NotWaiting(TaskId),
    /// No such worker.
    #[error(transparent)]
    UnknownWorker(#[from] UnknownWorker),
    /// It doesn't fit there.
    #[error("task {0} does not fit on {1}: {2}")]
    DoesNotFit(TaskId, WorkerId, Obstacle),
    /// It is on hold.
    #[error("task {0} is on hold: release it first")]
    OnHold(TaskId),
    /// Its user has as much as they may.
    #[error("task {0} can't be placed: {1}")]
    AtLimit(TaskId, LimitReached),
    /// Nothing new is placed for now.
    #[error("nothing new is placed: {0}")]
    HeldUp(String),
}

/// Why a worker was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddWorkerError {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// Its id is taken.
    #[error(transparent)]
    AlreadyRegistered(#[from] AlreadyRegistered),
}

/// Why a worker was not unregistered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoveWorkerError {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// There is none.
    #[error(transparent)]
    UnknownWorker(#[from] UnknownWorker),
}

/// Why a worker was not drained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// There is none.
    #[error(transparent)]
    UnknownWorker(#[from] UnknownWorker),
}

/// Why a worker's call was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerCallError {
    /// See [`NotReady`].
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// No admin registered it.
    #[error("worker {0} not authorized: run `register {0} <host[:port]>` on the master first")]
    NotAuthorized(WorkerId),
    /// Another program works under its id.
    #[error(
        "worker {0} is here already, with another data directory: give this one another -id, or \
         stop the other and wait until it counts as inactive"
    )]
    Duplicate(WorkerId),
}

/// A worker is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// What its containers are labelled with.
    pub cluster: ClusterId,
    /// How often to send heartbeats.
    pub heartbeat_interval: Duration,
}

/// A heartbeat was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatTaken {
    /// The worker shall say what it offers: this master hasn't heard it since it started, or last
    /// heard it of an earlier start of the worker's program.
    pub introduce: bool,
}

/// How a worker that speaks of an attempt stands to it, and so what its word came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// The attempt is live and on this worker: taken.
    Live,
    /// Its task ended with it on this worker: what is repeated was taken before, and nothing is
    /// changed by it.
    Ended,
    /// Refused for good: the attempt was superseded, is another worker's, or its task is unknown.
    Superseded,
}
