//! One try at running a task on one worker, and how it ended.

use std::{fmt, time::Duration};

use crate::{ids::TaskId, resources::size_words, status::words, time::Wall};

/// Names an attempt: the task and which assignment of it this is, from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The task.
    pub task: TaskId,
    /// 1 for the first assignment.
    pub number: u32,
}

impl AttemptId {
    /// The attempt of `task` with this number.
    #[must_use]
    pub fn new(task: TaskId, number: u32) -> Self {
        Self { task, number }
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.task, self.number)
    }
}

words!(
    /// The kinds of [`Exit`], as words for wire and store.
    ExitKind, "exit kind" {
        /// The command ended with a code.
        Exited = "exited",
        /// A signal ended it.
        Signalled = "signalled",
        /// The kernel ended it at its memory limit.
        OutOfMemory = "out-of-memory",
        /// It was stopped because a cancel asked for it, or never started because of one.
        Cancelled = "cancelled",
        /// No container was started: image unknown, pull timed out, refused by the engine.
        NotStarted = "not-started",
        /// It was stopped for a reason of the worker's: over its time or its disk.
        Stopped = "stopped",
        /// Its worker or machine could not go on with it; the task has no part in that.
        Interrupted = "interrupted",
    }
);

/// How an attempt's container ended, or why there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// The command ended with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// The kernel ended it at its memory limit.
    OutOfMemory,
    /// It was stopped because a cancel asked for it, or never started because of one.
    Cancelled,
    /// No container was started, and why.
    NotStarted(String),
    /// The worker stopped it, and why.
    Stopped(String),
    /// Its worker or machine could not go on with it, and why; the task has no part in that.
    Interrupted(String),
}

impl Exit {
    /// Whether this is success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Exited(0)
    }

    /// The kind alone.
    #[must_use]
    pub fn kind(&self) -> ExitKind {
        match self {
            Self::Exited(_) => ExitKind::Exited,
            Self::Signalled(_) => ExitKind::Signalled,
            Self::OutOfMemory => ExitKind::OutOfMemory,
            Self::Cancelled => ExitKind::Cancelled,
            Self::NotStarted(_) => ExitKind::NotStarted,
            Self::Stopped(_) => ExitKind::Stopped,
            Self::Interrupted(_) => ExitKind::Interrupted,
        }
    }

    /// The code that a shell would show: the command's own, or 128 and the signal.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(*code),
            Self::Signalled(signal) => Some(128_i32.saturating_add(*signal)),
            Self::OutOfMemory => Some(137),
            Self::Cancelled | Self::NotStarted(_) | Self::Stopped(_) | Self::Interrupted(_) => None,
        }
    }
}

impl fmt::Display for Exit {
    /// As the reason of a task that ended so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signalled(signal) => write!(f, "ended by signal {signal}"),
            Self::OutOfMemory => f.write_str("out of memory: ended at its memory limit"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::NotStarted(reason) | Self::Stopped(reason) | Self::Interrupted(reason) => {
                f.write_str(reason)
            }
        }
    }
}

/// What a container used, sampled while it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeakUsage {
    /// The most memory it held, in bytes; 0 if it never was seen.
    pub memory_bytes: u64,
    /// CPU time over all cores.
    pub cpu_time: Duration,
}

/// The end of a container, known before its log and files are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEnd {
    /// How it ended.
    pub exit: Exit,
    /// When its command began, if it did.
    pub started_at: Option<Wall>,
    /// When it ended.
    pub finished_at: Wall,
    /// What it used.
    pub usage: PeakUsage,
    /// Digest of the image it ran, if known: of its manifest in the registry, or the image's id
    /// where it was built or loaded on the worker's machine.
    pub image_digest: Option<String>,
}

impl ContainerEnd {
    /// How it ended, as the reason of its task: an end for want of memory with the most that it
    /// held, if that is known, and with the limit.
    #[must_use]
    pub fn reason(&self, memory_limit_bytes: u64) -> String {
        if self.exit != Exit::OutOfMemory {
            return self.exit.to_string();
        }
        let limit = size_words(memory_limit_bytes);
        match self.usage.memory_bytes {
            0 => format!("out of memory: ended at its limit of {limit}"),
            peak => format!("out of memory: peak {} of {limit}", size_words(peak)),
        }
    }
}

/// Whether something is all there, or why it isn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whole {
    /// All of it.
    Complete,
    /// Not all of it, and why.
    Incomplete(String),
}

impl Whole {
    /// Whether all of it is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self == Self::Complete
    }

    /// Why it is not.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Complete => None,
            Self::Incomplete(reason) => Some(reason),
        }
    }
}

/// A worker's last word on an attempt: it holds nothing of it any more but this report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Its end.
    pub end: ContainerEnd,
    /// Whether the log reached the master whole.
    pub log: Whole,
    /// Whether what was left in `/output` reached the master whole.
    pub files: Whole,
    /// The worker was told to end and to take its tasks with it: an [`Exit::Interrupted`] is that, and no
    /// failure of the machine.
    pub in_order: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exit_code_zero_is_success() {
        assert!(Exit::Exited(0).is_success());
        for exit in [
            Exit::Exited(1),
            Exit::Signalled(9),
            Exit::OutOfMemory,
            Exit::Cancelled,
        ] {
            assert!(!exit.is_success(), "{exit}");
        }
    }

    #[test]
    fn a_signal_and_a_memory_kill_are_told_apart_although_the_code_is_one() {
        assert_eq!(Exit::Signalled(9).code(), Exit::OutOfMemory.code());
        assert_ne!(
            Exit::Signalled(9).to_string(),
            Exit::OutOfMemory.to_string()
        );
    }

    #[test]
    fn an_end_for_want_of_memory_is_told_with_peak_and_limit() {
        let mut end = ContainerEnd {
            exit: Exit::OutOfMemory,
            started_at: None,
            finished_at: Wall(1),
            usage: PeakUsage::default(),
            image_digest: None,
        };
        let limit = 512 << 20;
        assert_eq!(
            end.reason(limit),
            "out of memory: ended at its limit of 512 MB"
        );
        end.usage.memory_bytes = limit;
        assert_eq!(end.reason(limit), "out of memory: peak 512 MB of 512 MB");
        end.exit = Exit::Exited(1);
        assert_eq!(end.reason(limit), "exit code 1");
    }
}
