//! What the master is told.

use std::time::Duration;

use cloudai_model::{AttemptId, ClusterId};

use crate::room::Shortage;

/// An answer to a [`crate::Call`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To an assignment.
    Assign(AssignAnswer),
    /// To a cancel.
    Cancel(CancelAnswer),
}

/// An answer to an assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssignAnswer {
    /// It is kept, and will be reported.
    Accepted,
    /// It is not taken, and never will be under this number. An old master, which has no numbers,
    /// may ask again.
    Refused(Refusal),
    /// The spool is still being read, or what an earlier process left of the same attempt is just
    /// being removed; the same may be asked again in a moment.
    NotReady,
}

/// Why an assignment is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It doesn't fit.
    #[error("not enough free here: {0}")]
    Shortage(Shortage),
    /// This worker can't run anything just now.
    #[error("this worker takes nothing new: {0}")]
    Unwell(String),
    /// This worker is about to end.
    #[error("this worker is being shut down")]
    ShuttingDown,
    /// A cancel came first.
    #[error("attempt {0} was cancelled before it arrived")]
    CancelledBefore(AttemptId),
    /// A later attempt of the task came first.
    #[error(
        "attempt {attempt} is older than attempt {newer} of the same task, which was here first"
    )]
    Outdated {
        /// The one refused.
        attempt: AttemptId,
        /// The one held.
        newer: u32,
    },
    /// A later assignment came first, and a heartbeat has told that this one is not held.
    #[error("attempt {0} was overtaken by a later assignment and counted as not held here")]
    Overtaken(AttemptId),
    /// It ran here before, and what is left of that is still being removed.
    #[error("what is left of an earlier run of it is being removed here; try again in a moment")]
    JustEnded,
    /// The attempt is held, and was to run something else.
    #[error("attempt {0} is held here with another job: expected the same as before")]
    OtherJob(AttemptId),
    /// It comes from another cluster's master.
    #[error("this worker belongs to cluster {mine}, and the assignment comes from {other}")]
    OtherCluster {
        /// Where this worker is registered.
        mine: ClusterId,
        /// Where the assignment comes from.
        other: ClusterId,
    },
    /// The disk doesn't take its record.
    #[error("this worker can't write the assignment down: {0}")]
    NotSaved(String),
}

/// An answer to a cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelAnswer {
    /// It will be stopped within this grace, and reported.
    Stopping {
        /// Which.
        attempt: AttemptId,
        /// How long it has between SIGTERM and SIGKILL.
        grace: Duration,
    },
    /// It ended before; its own result stands and is on its way.
    Ended(AttemptId),
    /// It isn't held here and will not be started.
    NotHeld,
    /// The spool is still being read; the same may be asked again in a moment.
    NotReady,
}
