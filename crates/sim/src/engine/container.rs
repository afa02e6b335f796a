//! A container of a simulated engine: what it does follows from its task's plan.

use cloudai_model::{AttemptId, Exit, Wall};

use crate::{
    plan::{Behaviour, End},
    time::Watch,
};

/// What the engine takes 255 for: what it finds dead.
const FOUND_DEAD: i64 = 255;
const SIGKILL: i64 = 9;
const SIGTERM: i64 = 15;

/// Tells a container from others of the same attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerId {
    /// The attempt that its labels name.
    pub attempt: AttemptId,
    /// Which container of this engine it is.
    pub serial: u64,
}

/// How a container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It was never started.
    Created,
    /// Its command runs.
    Running {
        /// By the machine's wall clock.
        since: Wall,
    },
    /// Its command has ended.
    Ended(RawEnd),
}

/// The end of a container in the engine's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEnd {
    /// Exit code; 128 and the signal if a signal ended it.
    pub exit_code: i64,
    /// Whether the kernel killed it at its memory limit.
    pub oom_killed: bool,
    /// Why it ended: the truth, which the worker has to find out.
    pub cause: EndCause,
    /// When it began.
    pub started_at: Wall,
    /// When it ended.
    pub finished_at: Wall,
}

/// Why a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// By itself.
    Itself,
    /// The engine was asked to stop it.
    Stop,
    /// The engine was asked to remove it.
    Removal,
    /// The engine or the machine went down under it.
    Machine,
}

/// See the module.
pub struct Container {
    /// Its name.
    pub id: ContainerId,
    /// How it stands.
    pub state: Watch<State>,
    /// What it does.
    pub does: Behaviour,
}

impl Container {
    /// How its command ends by itself: exit code, and whether for want of memory.
    #[must_use]
    pub fn own_end(&self) -> (i64, bool) {
        if self.id.attempt.number > self.does.failing_attempts {
            return (0, false);
        }
        match self.does.failure {
            End::Code(code) => (i64::from(code), false),
            End::Signal(signal) => (128 + i64::from(signal), false),
            End::OutOfMemory => (128 + SIGKILL, true),
        }
    }

    /// The exit code of one that was stopped.
    #[must_use]
    pub fn stopped_code(&self) -> i64 {
        128 + if self.does.ignores_stop {
            SIGKILL
        } else {
            SIGTERM
        }
    }
}

impl RawEnd {
    /// What the worker makes of it, where it didn't stop it: the rules of
    /// `cloudai_engine::end_of`. That the engine or the machine went down under it, the real worker
    /// knows from the run of either that it was started in, and that is there now.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let signal = self.exit_code - 128;
        let unseen = self.cause == EndCause::Machine;
        if self.oom_killed && signal == SIGKILL {
            Exit::OutOfMemory
        } else if unseen && ([SIGTERM, SIGKILL].contains(&signal) || self.exit_code == FOUND_DEAD) {
            Exit::Interrupted("its engine or its machine was stopped while it ran".to_owned())
        } else if (1..=64).contains(&signal) {
            Exit::Signalled(i32::try_from(signal).unwrap_or(0))
        } else {
            Exit::Exited(i32::try_from(self.exit_code).unwrap_or(i32::MAX))
        }
    }

    /// Whether it ended by the signals of a stop.
    #[must_use]
    pub fn is_by_stop_signal(&self) -> bool {
        [SIGTERM, SIGKILL].contains(&(self.exit_code - 128)) && !self.oom_killed
    }
}
