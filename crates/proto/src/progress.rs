//! A phase that an attempt reached: `TaskProgress` and [`Progress`]. Old nodes send none.

use cloudai_model::{AttemptId, ContainerEnd, Phase, Wall, WorkerId};

use crate::{cluster, error::WireError, exit, field};

/// How far an attempt has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Who reports.
    pub worker: WorkerId,
    /// Of which attempt.
    pub attempt: AttemptId,
    /// The phase reached.
    pub phase: Phase,
    /// For people, such as `3 of 7 layers`; may be empty.
    pub detail: String,
    /// When.
    pub at: Wall,
    /// The container's end, once it has ended.
    pub end: Option<ContainerEnd>,
}

impl Progress {
    /// As the wire has it.
    #[must_use]
    pub fn into_wire(self) -> cluster::TaskProgress {
        cluster::TaskProgress {
            worker_id: self.worker.to_string(),
            task_id: self.attempt.task.to_string(),
            attempt: self.attempt.number,
            phase: self.phase.to_string(),
            detail: self.detail,
            at_ms: self.at.0,
            exit: self.end.map(exit::to_wire),
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If the worker, attempt, phase or exit can't be meant.
    pub fn from_wire(wire: cluster::TaskProgress) -> Result<Self, WireError> {
        Ok(Self {
            worker: field::parsed("worker_id", &wire.worker_id)?,
            attempt: field::numbered_attempt(&wire.task_id, wire.attempt)?,
            phase: field::parsed("phase", &wire.phase)?,
            detail: field::shown_text(wire.detail),
            at: Wall(wire.at_ms),
            end: wire.exit.map(exit::from_wire).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use super::*;
    use crate::arbitrary;

    proptest! {
        #[test]
        fn progress_survives_the_wire(
            attempt in arbitrary::attempt(),
            phase in arbitrary::phase(),
            detail: String,
            at in arbitrary::wall(),
            end in option::of(arbitrary::container_end()),
        ) {
            let worker = "worker-1".parse().unwrap();
            let progress = Progress { worker, attempt, phase, detail, at, end };
            prop_assert_eq!(Progress::from_wire(progress.clone().into_wire()), Ok(progress));
        }
    }

    #[test]
    fn an_unknown_phase_or_attempt_is_refused() {
        let wire = cluster::TaskProgress {
            worker_id: "worker-1".to_owned(),
            task_id: "task-7".to_owned(),
            attempt: 1,
            phase: "dreaming".to_owned(),
            ..Default::default()
        };
        assert_eq!(
            Progress::from_wire(wire.clone()).unwrap_err().field,
            "phase"
        );
        let unnumbered = cluster::TaskProgress { attempt: 0, ..wire };
        assert_eq!(
            Progress::from_wire(unnumbered).unwrap_err().field,
            "attempt"
        );
    }
}
