//! What is kept on disk of an attempt, so that the worker can be killed at any instant.

use cloudai_model::{AttemptId, ContainerEnd, Exit};

use crate::{input::SealedLog, order::Order};

/// Why an attempt was told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopCause {
    /// A cancel of the master, and its reason.
    Cancel(String),
    /// The worker is being shut down and was told to take its containers with it.
    Shutdown,
    /// It took more than it was given, and what of.
    OverLimit(String),
}

impl StopCause {
    /// How an attempt ends that this cause stopped.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Cancel(_) => Exit::Cancelled,
            Self::Shutdown => Exit::Interrupted("its worker was shut down".to_owned()),
            Self::OverLimit(reason) => Exit::Stopped(reason.clone()),
        }
    }
}

/// Which run of the machine, and of the engine on it, something happened in. Either ends with all the
/// containers that run in it. No clock has a part in this: clocks are stepped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostRun {
    /// The machine's, where the engine is on the worker's own.
    pub boot: Option<String>,
    /// The engine's.
    pub engine: Option<String>,
}

impl HostRun {
    /// Whether it still is the same run; `None` if that can't be known.
    #[must_use]
    pub fn is_still(&self, now: &Self) -> Option<bool> {
        let same =
            |then: &Option<String>, now: &Option<String>| Some(then.as_ref()? == now.as_ref()?);
        match (same(&self.boot, &now.boot), same(&self.engine, &now.engine)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (_, Some(true)) => Some(true),
            // The engine may have been started again on a machine that was not.
            (_, None) => None,
        }
    }
}

/// An attempt as it stands in the spool. Written whole each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolRecord {
    /// Rises with each change, so that an older write never covers a newer one.
    pub revision: u64,
    /// The assignment; never changes.
    pub order: Order,
    /// Written before the container is started: from then on an attempt without a container is
    /// one whose container was taken away, and is not run a second time.
    pub started: bool,
    /// When it was started. Nothing is known of it before, and of what an earlier program started.
    pub host_run: HostRun,
    /// Digest of the image it runs, once known.
    pub image_digest: Option<String>,
    /// It was told to stop; it never starts afterwards.
    pub stop: Option<StopCause>,
    /// It is over; what remains is to upload and report.
    pub end: Option<EndRecord>,
}

impl SpoolRecord {
    /// Which attempt it is.
    #[must_use]
    pub fn attempt(&self) -> &AttemptId {
        &self.order.attempt
    }
}

/// How an attempt ended, with its log and files safe in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndRecord {
    /// How its container ended.
    pub end: ContainerEnd,
    /// Its log.
    pub log: SealedLog,
    /// Whether there was a container, which must be removed and may have left files.
    pub had_container: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_over_when_the_machine_or_the_engine_was_started_again() {
        let run = |boot: &str, engine: &str| {
            let known = |id: &str| (!id.is_empty()).then(|| id.to_owned());
            HostRun {
                boot: known(boot),
                engine: known(engine),
            }
        };
        for (then, now, expected) in [
            (run("1", "a"), run("1", "a"), Some(true)),
            (run("1", "a"), run("1", "b"), Some(false)),
            (run("1", "a"), run("2", "a"), Some(false)),
            (run("1", ""), run("2", ""), Some(false)),
            // An engine elsewhere.
            (run("", "a"), run("", "a"), Some(true)),
            (run("", "a"), run("", "b"), Some(false)),
            // One that doesn't tell, and a record of an earlier program.
            (run("1", ""), run("1", ""), None),
            (run("1", ""), run("1", "a"), None),
            (run("", ""), run("1", "a"), None),
        ] {
            assert_eq!(then.is_still(&now), expected, "{then:?}, {now:?}");
        }
    }
}
