//! What reaches the core: calls of users, admins and workers, answers of workers, stored records,
//! and time.

use std::{collections::BTreeMap, sync::Arc};

use cloudai_model::{
    AttemptId, AttemptReport, Capacity, ContainerEnd, HostUsage, Phase, TaskChange, TaskId,
    TaskSpec, UserLimits, UserName, Wall, WorkerAddress, WorkerId,
    record::{FilesRecord, Record},
};

/// Names a caller who waits for an answer; chosen by the shell, unique while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(pub u64);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A stored record, after a start. All come before [`Input::Restored`], in the order of
    /// cluster, workers, tasks by age, assignments, stop orders.
    Restore(Box<Record>),
    /// Everything stored has been read.
    Restored {
        /// The highest number among the ids of all tasks, ended ones too.
        highest_task_number: Option<u64>,
        /// The highest place in the order of submits.
        highest_order: u64,
    },
    /// Time has passed. Comes several times a second.
    Tick,
    /// Why no new task is taken and none is placed from now on; `None`: they are. What runs goes on.
    HoldUp(Option<Arc<str>>),
    /// What a user may have from now on, in place of all earlier limits of their own. Those that are
    /// known at a start come before [`Input::Restored`]. What runs goes on.
    Limits {
        /// Whose.
        user: UserName,
        /// Where it says nothing, [`crate::Settings::user_limits`] hold.
        limits: UserLimits,
    },

    /// A user wants a task to run.
    Submit {
        /// Answered with [`crate::Answer::Submitted`].
        call: Call,
        /// The client's own id. The shell has made sure that no ended task has it.
        task: Option<TaskId>,
        /// What to run.
        spec: Arc<TaskSpec>,
    },
    /// A user wants several tasks to run: all of them are taken, or none.
    SubmitMany {
        /// Answered with [`crate::Answer::SubmittedMany`].
        call: Call,
        /// What to run, in the order in which they get their ids.
        specs: Vec<Arc<TaskSpec>>,
    },
    /// A submit that was accepted before the store had been read: it is kept whatever it asks for.
    Accepted {
        /// Answered with [`crate::Answer::Submitted`].
        call: Call,
        /// The id that it was accepted under. The shell has made sure that no task has it.
        task: TaskId,
        /// What to run.
        spec: Arc<TaskSpec>,
        /// When it was accepted.
        submitted_at: Wall,
    },
    /// A user wants a task to stop.
    Cancel {
        /// Answered with [`crate::Answer::Cancelled`].
        call: Call,
        /// Which.
        task: TaskId,
    },
    /// A user wants something of a task to be different from now on.
    Change {
        /// Answered with [`crate::Answer::Changed`].
        call: Call,
        /// Which task.
        task: TaskId,
        /// What of it.
        change: TaskChange,
    },
    /// An agent has chosen a worker for a waiting task.
    Place {
        /// Answered with [`crate::Answer::Placed`].
        call: Call,
        /// Which task.
        task: TaskId,
        /// Where.
        worker: WorkerId,
    },
    /// Somebody asks why tasks wait.
    WhyWaiting {
        /// Answered with [`crate::Answer::Waiting`].
        call: Call,
        /// Which tasks.
        which: Which,
    },
    /// An admin registers a worker.
    AddWorker {
        /// Answered with [`crate::Answer::WorkerAdded`].
        call: Call,
        /// Its id.
        worker: WorkerId,
        /// Where it is dialled.
        address: WorkerAddress,
        /// A random number that tells this registration from others.
        registration: u64,
    },
    /// An admin unregisters a worker.
    RemoveWorker {
        /// Answered with [`crate::Answer::WorkerRemoved`].
        call: Call,
        /// Its id.
        worker: WorkerId,
    },

    /// An admin wants a worker to be given nothing new, or tasks again, also one that was set
    /// aside. What runs there goes on.
    Drain {
        /// Answered with [`crate::Answer::Drained`].
        call: Call,
        /// Which worker.
        worker: WorkerId,
        /// Whether it drains from now on.
        draining: bool,
    },
    /// Somebody wants to see what is promised and what workers said, side by side.
    Inspect {
        /// Answered with [`crate::Answer::Inspected`].
        call: Call,
    },
    /// An admin wants whatever is amiss between the two views put right at once.
    Mend {
        /// Answered with [`crate::Answer::Mended`].
        call: Call,
    },

    /// Retention is about to remove what ended tasks left, or to forget them.
    Retire {
        /// Answered with [`crate::Answer::Retired`].
        call: Call,
        /// What is written of each before it is done.
        tasks: Vec<Retired>,
    },

    /// A worker says what it is and offers.
    Hello {
        /// Answered with [`crate::Answer::Welcomed`].
        call: Call,
        /// What it says.
        hello: Hello,
    },
    /// A worker's sign of life.
    Heartbeat {
        /// Answered with [`crate::Answer::HeartbeatTaken`].
        call: Call,
        /// What it says.
        heartbeat: Heartbeat,
    },
    /// What came of sending an assignment.
    AssignAnswered {
        /// Which attempt.
        attempt: AttemptId,
        /// What came of it.
        answer: AssignAnswer,
    },
    /// What came of asking a worker to stop an attempt.
    StopAnswered {
        /// Which attempt.
        attempt: AttemptId,
        /// Which worker.
        worker: WorkerId,
        /// What came of it.
        answer: StopAnswer,
    },
    /// An attempt has reached a phase.
    Progress {
        /// Answered with [`crate::Answer::Reported`].
        call: Call,
        /// Who says so.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
        /// Which phase.
        phase: Phase,
        /// For people: how far within the phase.
        detail: String,
        /// The container's end, with [`Phase::Uploading`].
        end: Option<Box<ContainerEnd>>,
    },
    /// Which attempt an old node means by a task id, and on which worker it is. Counts as a sign
    /// that the worker still has it.
    WhichAttempt {
        /// Answered with [`crate::Answer::Attempt`].
        call: Call,
        /// Who says it; `None` where old nodes don't say who they are.
        worker: Option<WorkerId>,
        /// The id as it was told, with number 0.
        told: AttemptId,
    },
    /// Whether log and files of an attempt are still wanted.
    Vet {
        /// Answered with [`crate::Answer::Reported`].
        call: Call,
        /// Who asks.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// An attempt's output files are on the master's disk.
    FilesStored {
        /// Answered with [`crate::Answer::Reported`].
        call: Call,
        /// Who sent them.
        worker: WorkerId,
        /// What is stored.
        files: Box<FilesRecord>,
    },
    /// A worker's last word on an attempt; its log is on the master's disk.
    Finished {
        /// Answered with [`crate::Answer::Reported`].
        call: Call,
        /// Who says so.
        worker: WorkerId,
        /// What it says.
        report: Box<AttemptReport>,
        /// The last part of its log, as text.
        log_tail: String,
    },
}

/// An ended task of which something is to be removed.
#[derive(Debug, Clone, PartialEq)]
pub struct Retired {
    /// Which.
    pub task: TaskId,
    /// What is to be written: what was removed, what is left of its files, or that it is forgotten.
    pub records: Vec<Record>,
}

/// Which of the waiting tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// So many from the head of the queue.
    First(usize),
    /// This one.
    One(TaskId),
}

/// What a worker is and offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// Its id.
    pub worker: WorkerId,
    /// The address it shows, for people.
    pub shown_ip: String,
    /// What it offers.
    pub capacity: Capacity,
    /// Its program's version; `None` for an old node.
    pub version: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Which data directory it works from; `None` from a node that doesn't say.
    pub home: Option<String>,
    /// Which start of its program it is; `None` from a node that doesn't say.
    pub incarnation: Option<String>,
}

/// A worker's sign of life.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// Who.
    pub worker: WorkerId,
    /// Which start of its program; `None` for an old node.
    pub incarnation: Option<String>,
    /// Which data directory it works from; `None` from a node that doesn't say.
    pub home: Option<String>,
    /// What its machine uses.
    pub usage: HostUsage,
    /// The attempts it holds or owes a report of.
    pub held: Vec<Held>,
    /// The highest assignment number it has taken in; `None` for an old node.
    pub last_sequence: Option<u64>,
    /// Why it takes nothing new.
    pub unwell: Option<String>,
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which; number 0 from a node that doesn't say.
    pub attempt: AttemptId,
    /// How far it is.
    pub phase: Phase,
}

/// What came of sending an assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssignAnswer {
    /// The worker has it.
    Accepted,
    /// The worker doesn't take it, and why.
    Refused(String),
    /// It was not sent, and why; nothing to do with the worker.
    NotSent(String),
    /// No answer came, and why. The worker may have it all the same.
    Undelivered(String),
}

/// What came of asking a worker to stop an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopAnswer {
    /// It will be stopped, and reported.
    Stopping,
    /// The worker doesn't hold it and will not start it.
    NotHeld,
    /// No answer came, and why.
    Undelivered(String),
}
