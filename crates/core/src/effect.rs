//! What the core wants done. Every effect leaves the shell only after the records that were
//! written before it are flushed.

use cloudai_model::{
    AttemptId, Capacity, Grant, Phase, TaskId, TaskStatus, Wall, WorkerAddress, WorkerId,
    record::Record,
};

use crate::{answer::Answer, input::Call, registry::SetAside};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Store this.
    Write(Record),
    /// Answer this caller.
    Answer(Call, Answer),
    /// Send an attempt to its worker; the shell adds the task's spec.
    Assign(Assignment),
    /// Ask a worker to stop an attempt.
    Stop(StopRequest),
    /// Call a worker that is registered and not heard of, so that it registers here.
    Invite {
        /// Which worker.
        worker: WorkerId,
        /// Where it is dialled.
        address: WorkerAddress,
        /// Its registration, which its token follows from.
        registration: u64,
    },
    /// Follow the log of an attempt on its worker.
    FollowLog {
        /// Which worker.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Nothing more of this attempt's log is wanted.
    LeaveLog(AttemptId),
    /// Tell whoever listens.
    Publish(Event),
}

/// An attempt on its way to a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Where.
    pub worker: WorkerId,
    /// Rises with each assignment.
    pub sequence: u64,
    /// What it may use.
    pub grant: Grant,
    /// When its task was submitted.
    pub submitted_at: Wall,
}

/// An attempt that its worker shall stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopRequest {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Which worker.
    pub worker: WorkerId,
    /// Where it is dialled; the worker need not be registered any more.
    pub address: WorkerAddress,
    /// Its registration, which its token follows from.
    pub registration: u64,
    /// Why.
    pub reason: String,
}

/// Something that happened, for whoever listens. Losing one loses nothing but news.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An admin registered a worker.
    WorkerAdded(WorkerId),
    /// A worker's state changed.
    WorkerUpdated {
        /// Which.
        worker: WorkerId,
        /// What changed.
        change: WorkerChange,
    },
    /// An admin unregistered a worker.
    WorkerRemoved(WorkerId),
    /// A worker that wanted to register was not let in. It tries again, and so does this come again.
    WorkerRefused {
        /// The id that it gave.
        worker: WorkerId,
        /// Why, and what to do.
        reason: String,
    },
    /// A task's state changed.
    Task(TaskNews),
}

/// What changed about a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerChange {
    /// It said what it offers.
    Introduced {
        /// The address it shows.
        shown_ip: String,
        /// What it offers.
        capacity: Capacity,
    },
    /// It gave a sign of life; its figures are new.
    Heartbeat,
    /// It was inactive and is active again.
    Active,
    /// It was silent for too long.
    Inactive,
    /// It was silent for so long that its tasks count as lost.
    Lost,
    /// An admin wants it to be given nothing new; or tasks again.
    Draining(bool),
    /// It takes nothing new, and why; or it does again.
    Health(Option<String>),
    /// It is given nothing new for a while, since tasks fail there, and why; or it is again.
    SetAside(Option<SetAside>),
}

/// Where a task stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskNews {
    /// Which task.
    pub task: TaskId,
    /// Its last attempt.
    pub attempt: u32,
    /// That attempt's worker.
    pub worker: Option<WorkerId>,
    /// Status.
    pub status: TaskStatus,
    /// Phase.
    pub phase: Phase,
    /// How far within the phase, why it waits, or what it died of.
    pub detail: String,
    /// When.
    pub at: Wall,
}
