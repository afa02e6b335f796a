//! How a container stands, and what its end means.

use cloudai_model::{Exit, Wall};

/// The largest signal number of Linux.
const LARGEST_SIGNAL: i64 = 64;
pub(crate) const SIGKILL: i64 = 9;
pub(crate) const SIGTERM: i64 = 15;
/// What an engine gives to a container that ran when it was last there and doesn't any more.
const FOUND_DEAD: i64 = 255;

/// How a container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    /// Whether its command runs just now (a paused one counts).
    pub running: bool,
    /// When its command began; `None` if it never did.
    pub started_at: Option<Wall>,
    /// How its command ended; `None` while it runs or before it began.
    pub end: Option<RawEnd>,
}

/// The end of a container in the engine's words; [`end_of`] says what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEnd {
    /// Exit code; 128 and the signal if a signal ended it.
    pub exit_code: i64,
    /// Whether the kernel killed any process of the container at its memory limit.
    pub oom_killed: bool,
    /// What the engine says went wrong; mostly empty.
    pub error: String,
    /// When its command began.
    pub started_at: Option<Wall>,
    /// When it ended; the engine's word, `None` if it gave none.
    pub finished_at: Option<Wall>,
    /// The signal that asks it to end, by number: what a stop sends first, the engine's own as well.
    pub stop_signal: i64,
    /// Whether somebody is about to remove it.
    pub removing: bool,
}

impl RawEnd {
    /// Whether it was ended in order to be removed: that begins with SIGKILL.
    pub(crate) fn is_by_removal(&self) -> bool {
        self.removing && self.exit_code - 128 == SIGKILL && !self.oom_killed
    }

    /// Whether it ended as an engine ends its containers when it is stopped, killed or started
    /// again, or as a machine does that goes down: by the container's stop signal, SIGTERM or SIGKILL, or
    /// with the code that an engine gives to what it finds dead.
    ///
    /// A command may end so by itself. What else an engine that went down leaves behind, such as the
    /// code of a command that took the signal and exited in order, can't be told from such an end.
    #[must_use]
    pub fn is_like_an_engines(&self) -> bool {
        let signal = self.exit_code - 128;
        if self.oom_killed && signal == SIGKILL {
            return false;
        }
        [self.stop_signal, SIGTERM, SIGKILL].contains(&signal) || self.exit_code == FOUND_DEAD
    }

    /// Whether the signal of a stop ended it, and not the memory killer.
    #[must_use]
    pub fn is_by_stop_signal(&self) -> bool {
        let signal = self.exit_code - 128;
        [self.stop_signal, SIGKILL].contains(&signal) && !self.oom_killed
    }
}

/// What ended a container but its command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopCause {
    /// A cancel asked for it.
    Cancel,
    /// The worker's own reason, such as a time limit; shown to the user.
    Limit(String),
    /// The worker or its machine couldn't go on, and why; no doing of the task's.
    Machine(String),
}

/// What the end of a container means.
///
/// The engine gives a code and whether the kernel's memory killer struck in the container. So:
///
/// 1. What was stopped, was stopped, whatever the command made of the signal. Give `stop` only if
///    [`crate::Engine::stop`] or [`crate::Engine::kill`] found it running, or if its engine went down
///    with it: see [`RawEnd::is_like_an_engines`].
/// 2. Code 137 (128 and SIGKILL) with a memory kill is out of memory. A memory kill with another
///    code is not: it struck a child, and the command went on and ended by itself.
/// 3. 129 to 192 is a signal. A command that chooses such a code can't be told from one that a
///    signal ended; shells choose it to say just that of their own child.
/// 4. Anything else is the command's own code.
#[must_use]
pub fn end_of(end: &RawEnd, stop: Option<&StopCause>) -> Exit {
    match stop {
        Some(StopCause::Cancel) => return Exit::Cancelled,
        Some(StopCause::Limit(reason)) => return Exit::Stopped(reason.clone()),
        Some(StopCause::Machine(reason)) => return Exit::Interrupted(reason.clone()),
        None => {}
    }
    // The engine's word: any number.
    let signal = end.exit_code.saturating_sub(128);
    if end.oom_killed && signal == SIGKILL {
        Exit::OutOfMemory
    } else if (1..=LARGEST_SIGNAL).contains(&signal) {
        Exit::Signalled(signal as i32)
    } else {
        // Codes are a byte on Linux; what the engine makes up beyond that is kept as far as it fits.
        Exit::Exited(i32::try_from(end.exit_code).unwrap_or(i32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit_code: i64, oom_killed: bool) -> RawEnd {
        RawEnd {
            exit_code,
            oom_killed,
            error: String::new(),
            started_at: Some(Wall(1)),
            finished_at: Some(Wall(2)),
            stop_signal: 2,
            removing: false,
        }
    }

    #[test]
    fn code_signal_and_memory_are_told_apart() {
        for (code, oom_killed, expected) in [
            (0, false, Exit::Exited(0)),
            (3, false, Exit::Exited(3)),
            (127, false, Exit::Exited(127)),
            (128, false, Exit::Exited(128)),
            (137, false, Exit::Signalled(9)),
            (139, false, Exit::Signalled(11)),
            (143, false, Exit::Signalled(15)),
            (255, false, Exit::Exited(255)),
            (137, true, Exit::OutOfMemory),
            // Nothing that an engine says.
            (i64::MIN, false, Exit::Exited(i32::MAX)),
            (i64::MAX, true, Exit::Exited(i32::MAX)),
        ] {
            let exit = end_of(&ended(code, oom_killed), None);
            assert_eq!(exit, expected, "code {code}, memory kill {oom_killed}");
        }
    }

    #[test]
    fn an_end_as_an_engine_brings_it_is_known_by_its_code() {
        for code in [130, 137, 143, 255] {
            assert!(ended(code, false).is_like_an_engines(), "{code}");
        }
        for code in [0, 1, 3, 129, 139] {
            assert!(!ended(code, false).is_like_an_engines(), "{code}");
        }
        assert!(
            !ended(137, true).is_like_an_engines(),
            "the memory killer's"
        );
    }

    #[test]
    fn an_end_for_a_removal_is_told_from_one_that_was_before_it() {
        for (code, oom_killed, expected) in
            [(137, false, true), (137, true, false), (0, false, false)]
        {
            let end = ended(code, oom_killed);
            assert!(!end.is_by_removal());
            let removing = RawEnd {
                removing: true,
                ..end
            };
            assert_eq!(removing.is_by_removal(), expected, "{code}");
        }
    }

    #[test]
    fn a_memory_kill_that_the_command_outlived_is_not_its_end() {
        assert_eq!(end_of(&ended(0, true), None), Exit::Exited(0));
        assert_eq!(end_of(&ended(1, true), None), Exit::Exited(1));
    }

    #[test]
    fn what_the_worker_stopped_is_stopped_whatever_its_code() {
        for code in [0, 1, 137, 143] {
            let end = ended(code, code == 137);
            assert_eq!(end_of(&end, Some(&StopCause::Cancel)), Exit::Cancelled);
            let limit = StopCause::Limit("over its time limit of 5 s".to_owned());
            assert_eq!(
                end_of(&end, Some(&limit)),
                Exit::Stopped("over its time limit of 5 s".to_owned())
            );
        }
    }
}
