//! A task that has not ended, as the core holds it: only what decides something.

use std::{sync::Arc, time::Duration};

use cloudai_model::{
    Grant, Mono, Phase, Priority, TaskStatus, Wall, WorkerId,
    record::{TaskRecord, TaskState},
};

use crate::{
    class::TaskClass,
    lifecycle::{AttemptState, TaskEvent, next_task},
    queue::Rank,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) order: u64,
    pub(crate) class: Arc<TaskClass>,
    pub(crate) priority: Priority,
    pub(crate) submitted_at: Wall,
    pub(crate) deadline: Option<Wall>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_retries: u32,
    /// How many attempts failed by themselves.
    pub(crate) failures: u32,
    /// The number of the last attempt; 0 before the first.
    pub(crate) attempt: u32,
    /// When the last attempt's container started.
    pub(crate) started_at: Option<Wall>,
    pub(crate) cancel_requested: bool,
    pub(crate) status: TaskStatus,
    pub(crate) place: Place,
}

/// Where a task that has not ended is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the queue.
    Ready,
    /// Waiting out a back-off until then.
    BackingOff(Mono),
    /// With a worker.
    Given(Box<Attempt>),
}

/// The live attempt of a task.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) worker: WorkerId,
    pub(crate) state: AttemptState,
    pub(crate) sequence: u64,
    pub(crate) grant: Grant,
    pub(crate) assigned_at: Wall,
    /// Whether the shell has an assignment call of it under way.
    pub(crate) in_flight: bool,
    /// Why it was asked to stop.
    pub(crate) stop: Option<StopCause>,
    /// Heartbeats of an old node that lacked it, in a row.
    pub(crate) missed_heartbeats: u8,
}

/// Why an attempt was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// A user cancelled the task.
    User,
    /// It ran longer than its time-out.
    TimedOut(Duration),
    /// The worker never confirmed that it has it.
    Unconfirmed,
}

impl Task {
    pub(crate) fn from_record(record: &TaskRecord, class: Arc<TaskClass>) -> Self {
        let (spec, state) = (&record.spec, &record.state);
        Self {
            order: record.order,
            class,
            priority: spec.priority,
            submitted_at: record.submitted_at,
            deadline: spec.effective_deadline(record.submitted_at),
            timeout: spec.timeout,
            max_retries: spec.max_retries,
            failures: state.failures,
            attempt: state.attempt,
            started_at: state.started_at,
            cancel_requested: state.cancel_requested,
            status: state.status,
            place: Place::Ready,
        }
    }

    pub(crate) fn rank(&self) -> Rank {
        Rank::new(self.priority, self.order)
    }

    pub(crate) fn given(&self) -> Option<&Attempt> {
        match &self.place {
            Place::Given(attempt) => Some(attempt),
            Place::Ready | Place::BackingOff(_) => None,
        }
    }

    pub(crate) fn given_mut(&mut self) -> Option<&mut Attempt> {
        match &mut self.place {
            Place::Given(attempt) => Some(attempt),
            Place::Ready | Place::BackingOff(_) => None,
        }
    }

    /// Changes the status as the table says; whether it has such a transition.
    pub(crate) fn apply(&mut self, event: TaskEvent) -> bool {
        let next = next_task(self.status, event);
        if let Ok(status) = next {
            self.status = status;
        }
        next.is_ok()
    }

    /// The changing part of its record.
    pub(crate) fn state(&self, reason: impl Into<String>) -> TaskState {
        let attempt = self.given();
        let phase = match (self.status.is_final(), attempt) {
            (true, _) => Phase::Done,
            (false, Some(attempt)) => attempt.state.phase(),
            (false, None) => Phase::Queued,
        };
        TaskState {
            status: self.status,
            phase,
            attempt: self.attempt,
            worker: attempt.map(|attempt| attempt.worker.clone()),
            reason: reason.into(),
            exit_code: None,
            started_at: self.started_at,
            completed_at: None,
            cancel_requested: self.cancel_requested,
            failures: self.failures,
        }
    }
}
