//! What reaches the core: calls of the master, outcomes of what the core wanted done, records
//! found at a start, and time.

use cloudai_model::{AttemptId, ClusterId, ContainerEnd, TaskId, Whole};

use crate::{
    order::Order,
    record::{HostRun, SpoolRecord},
};

/// Names a caller who waits for an answer; chosen by the shell, unique while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(pub u64);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A record found in the spool at the start. All come before [`Input::AdoptionDone`].
    Adopt(Box<SpoolRecord>),
    /// An assignment found in the spool whose state can't be read, and why. It may have been started
    /// and may have ended: only its container knows. Comes before [`Input::AdoptionDone`], too.
    AdoptDamaged {
        /// The assignment.
        order: Box<Order>,
        /// What is wrong with the state, for people.
        problem: String,
    },
    /// An attempt found in the spool of which nothing can be read. It is not held any more, and its
    /// container is nobody's. Comes before [`Input::AdoptionDone`], too.
    AdoptLost(AttemptId),
    /// Attempts that were cancelled before they came, as saved before the start.
    AdoptTombstones(Vec<AttemptId>),
    /// The spool has been read; from now on calls are taken.
    AdoptionDone,
    /// A master has let this worker in.
    Registered {
        /// Its cluster.
        cluster: ClusterId,
    },
    /// The master assigns an attempt.
    Assign {
        /// Answered with [`crate::Answer::Assign`].
        call: Call,
        /// The assignment.
        order: Box<Order>,
    },
    /// The master wants an attempt stopped.
    Cancel {
        /// Answered with [`crate::Answer::Cancel`].
        call: Call,
        /// Which.
        target: StopTarget,
        /// Why, for people.
        reason: String,
    },
    /// Something that the core wanted done for an attempt is done, or can't be.
    Outcome(AttemptId, Outcome),
    /// The tombstones of this revision and before are on disk, or the disk refuses them.
    TombstonesSaved {
        /// As in [`crate::Effect::SaveTombstones`].
        revision: u64,
    },
    /// What the engine has with the labels of this worker.
    Containers(Vec<Labelled>),
    /// One of them that was to be removed is, or can't be just now.
    OrphanDone(Labelled),
    /// The Docker Engine answers and can work.
    EngineWell,
    /// The Docker Engine doesn't answer or can't work, and why.
    EngineUnwell(String),
    /// Which run of the machine and the engine it is now.
    HostRun(HostRun),
    /// A disk that this worker needs has no room, and which.
    DiskFull(String),
    /// Its disks have room.
    DiskHasRoom,
    /// The worker is about to end and takes nothing new.
    Shutdown {
        /// Whether what runs shall be stopped; otherwise it goes on without the worker.
        stop_tasks: bool,
    },
    /// Time has passed. Comes about once a second.
    Tick,
}

/// A container, or a volume, as its labels tell of it. Several clusters may have an attempt of one
/// name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labelled {
    /// The cluster that it is of.
    pub cluster: ClusterId,
    /// The attempt that it is of.
    pub attempt: AttemptId,
}

/// Which attempt shall be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopTarget {
    /// This one.
    Attempt(AttemptId),
    /// Whichever of this task is held: an old master doesn't number attempts.
    Task(TaskId),
}

/// What came of something that the core wanted done for an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its record with this revision is on disk.
    Saved(u64),
    /// The disk refuses the record with this revision.
    SaveFailed(u64, String),
    /// What a start found of its container.
    Located(Found),
    /// How far the pull is, for people.
    PullProgress(String),
    /// The image is there.
    Pulled(PulledImage),
    /// The image can't be had.
    PullFailed(Failure),
    /// The container stands ready.
    Created,
    /// There is no container, since the image that was there is gone.
    ImageGone,
    /// There is no container.
    CreateFailed(Failure),
    /// The command runs.
    Started,
    /// The command can't be run.
    StartFailed(Failure),
    /// The container takes more than it was given, and what of, for its user.
    OverLimit(String),
    /// The container has ended. The exit is [`cloudai_model::Exit::Cancelled`] only if the stop
    /// found it running.
    Ended(ContainerEnd),
    /// Its log is whole and on disk, as far as it goes.
    Sealed(SealedLog),
    /// The container is gone from the engine.
    Removed,
    /// The container can't be removed.
    RemoveFailed(Failure),
    /// What the master said to its files.
    Uploaded(Delivery<SentFiles>),
    /// What the master said to its report.
    Reported(Delivery<()>),
    /// Its folder in the spool is gone.
    Deleted,
    /// Its folder can't be deleted.
    DeleteFailed(String),
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledImage {
    /// The engine's id of it.
    pub id: String,
    /// Digest of its manifest, if it came from a registry.
    pub digest: Option<String>,
}

/// Why something about a container failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For the user whose task it is.
    pub reason: String,
    /// Whose doing it is.
    pub blame: Blame,
}

/// Whose doing a failure is, and so what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The task's: the same again would fail again.
    Task,
    /// It may pass, such as a registry that is away; if it doesn't, the task can't be run.
    Passing,
    /// The machine's: it may pass; if it doesn't, another machine may do better.
    Machine,
}

/// A log that gets no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedLog {
    /// Framed bytes.
    pub length_bytes: u64,
    /// Whether it is all that the container wrote.
    pub whole: Whole,
}

/// The files of an attempt that the master has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentFiles {
    /// Whether they are all; with a reason if they can't be had whole.
    pub whole: Whole,
    /// What they are called, where the master wants that in the result, too: an old one.
    pub names: Vec<String>,
}

impl SentFiles {
    /// None was sent, and why not if there were any.
    #[must_use]
    pub fn none(whole: Whole) -> Self {
        Self {
            whole,
            names: Vec::new(),
        }
    }
}

/// What became of something sent to the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery<T> {
    /// The master has it.
    Acknowledged(T),
    /// The master doesn't want it any more, for good.
    Superseded,
    /// No answer came, or one that asks for patience; it must be sent again.
    Undelivered(String),
    /// An old master said no. It may mean not now or never: it has one word for both. To be sent
    /// again until it has said so often and for long.
    Refused(String),
}

/// What a start found of an attempt's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There is none.
    Nothing,
    /// One that was never started.
    Created,
    /// One that runs, or has ended.
    Started,
}
