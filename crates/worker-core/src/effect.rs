//! What the core wants done. The shell does it and says what came of it.
//!
//! It may do things in any order, but for two rules. What is written and deleted in the spool for
//! one attempt, and the tombstones, is done in the order in which it was asked for. A container
//! whose stop was asked for is not started any more; if that is under way already, it is stopped
//! right after.
//!
//! `tries` counts how often the same was tried in vain: the shell waits a little longer each time,
//! with jitter.

use std::time::Duration;

use cloudai_model::{AttemptId, AttemptReport, ContainerEnd, Phase};

use crate::{
    answer::Answer,
    input::{Call, Labelled, PulledImage},
    order::Order,
    record::{SpoolRecord, StopCause},
};

/// One thing to do. Outcomes are those of [`crate::Outcome`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write the record and flush it: `Saved` or `SaveFailed`.
    Save {
        /// What to write.
        record: Box<SpoolRecord>,
        /// See the module.
        tries: u32,
    },
    /// Write the list of attempts that were cancelled before they came, flush it, and say so with
    /// [`crate::Input::TombstonesSaved`].
    SaveTombstones {
        /// Rises with each change.
        revision: u64,
        /// The whole list.
        attempts: Vec<AttemptId>,
    },
    /// Answer a caller. Whatever the answer promises is on disk.
    Answer(Call, Answer),
    /// Look for the attempt's container: `Located`.
    Locate {
        /// The assignment.
        order: Order,
    },
    /// Have the image: `PullProgress`, then `Pulled` or `PullFailed`.
    Pull {
        /// The assignment.
        order: Order,
        /// See the module.
        tries: u32,
    },
    /// The pull is no longer wanted.
    AbortPull(AttemptId),
    /// Make the container: `Created`, `ImageGone` or `CreateFailed`.
    Create {
        /// The assignment.
        order: Order,
        /// The image.
        image: PulledImage,
        /// See the module.
        tries: u32,
    },
    /// Write the record (it need not be flushed), start the container, and follow it: `Started`
    /// or `StartFailed`, then `Ended`.
    Start {
        /// Says that it is started.
        record: Box<SpoolRecord>,
        /// It may run already: a try before, or a process before this one, may have asked for it, and
        /// the engine may be about to do it still.
        asked_before: bool,
        /// See the module.
        tries: u32,
    },
    /// Follow a container that was started by an earlier process: `Ended`.
    Follow {
        /// As it stands.
        record: Box<SpoolRecord>,
    },
    /// Stop the container that is being started or followed; `Ended` comes as it would otherwise.
    Stop {
        /// Which.
        attempt: AttemptId,
        /// How long it has between SIGTERM and SIGKILL.
        grace: Duration,
        /// Why.
        cause: StopCause,
    },
    /// Take in the rest of the log, if there was a container, flush and close it: `Sealed`.
    Seal(Order),
    /// Remove the container: `Removed` or `RemoveFailed`.
    Remove {
        /// The assignment.
        order: Order,
        /// See the module.
        tries: u32,
    },
    /// Send the files left in `/output`: `Uploaded`.
    Upload {
        /// The assignment.
        order: Order,
        /// See the module.
        tries: u32,
    },
    /// Send the last word on an attempt: `Reported`.
    Report {
        /// What to send.
        report: Box<Report>,
        /// See the module.
        tries: u32,
    },
    /// Delete the attempt's folder in the spool: `Deleted` or `DeleteFailed`.
    Delete {
        /// Which.
        attempt: AttemptId,
        /// See the module.
        tries: u32,
    },
    /// Tell the master how far an attempt is. If it gets lost, the next heartbeat says the same.
    Progress {
        /// Which.
        attempt: AttemptId,
        /// How far.
        phase: Phase,
        /// For people; may be empty.
        detail: String,
        /// How the container ended, with [`Phase::Uploading`].
        end: Option<Box<ContainerEnd>>,
    },
    /// Say that an attempt's result is dropped: an old master has refused it for too long.
    GivenUp {
        /// Which.
        attempt: AttemptId,
        /// What it says.
        reason: String,
    },
    /// Stop and remove a container of this worker that no record knows, and say so with
    /// [`crate::Input::OrphanDone`], whatever came of it. Until then no attempt is taken that it
    /// could be mistaken for.
    RemoveOrphan(Labelled),
}

/// A worker's last word on an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub report: AttemptReport,
    /// Framed bytes of log that the spool holds; the master has it whole when it has as many.
    pub log_length_bytes: u64,
    /// See [`crate::SentFiles::names`].
    pub file_names: Vec<String>,
}
