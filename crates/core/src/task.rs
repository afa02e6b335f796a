//! A task that has not ended, as the core holds it: only what decides something.

use std::{sync::Arc, time::Duration};

use cloudai_model::{
    Grant, Mono, Now, Phase, Priority, RetryOn, TaskId, TaskSpec, TaskStatus, TimeOut, Wall,
    WorkerId,
    record::{TaskRecord, TaskState},
};

use crate::{
    lifecycle::{AttemptState, TaskEvent, next_task},
    queue::{Line, Queue, Rank},
    suspicion::Origin,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) order: u64,
    pub(crate) line: Arc<Line>,
    pub(crate) origin: Origin,
    pub(crate) priority: Priority,
    pub(crate) submitted_at: Wall,
    /// As its user set it.
    pub(crate) deadline: Option<Wall>,
    /// As it follows from the estimate, where its user set none.
    pub(crate) estimated_deadline: Option<Wall>,
    pub(crate) limits: Limits,
    pub(crate) max_retries: u32,
    pub(crate) retry_on: RetryOn,
    /// How many attempts failed by themselves and were followed by another.
    pub(crate) failures: u32,
    /// The workers that were lost, or failed, while an attempt was there.
    pub(crate) taken_down: Vec<WorkerId>,
    /// How the last attempt ended, if its worker has told nothing of that.
    pub(crate) untold: Option<String>,
    /// The number of the last attempt; 0 before the first.
    pub(crate) attempt: u32,
    /// When the last attempt's container started.
    pub(crate) started_at: Option<Wall>,
    /// When any attempt's container first did.
    pub(crate) first_started_at: Option<Wall>,
    /// When the last attempt's container was first heard to run, if this process heard it.
    pub(crate) heard_running: Option<Mono>,
    /// How often in a row an assignment could not be sent.
    pub(crate) not_sent: u32,
    pub(crate) cancel_requested: bool,
    /// Whether it waits until somebody releases it. No worker has one that does.
    pub(crate) hold: bool,
    /// For which time-out a master before this one had its attempt stopped.
    pub(crate) stopping_for: Option<TimeOut>,
    pub(crate) status: TaskStatus,
    pub(crate) place: Place,
}

/// How long each part of a task's life may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) run: Option<Duration>,
    pub(crate) pull: Option<Duration>,
    /// The wait before the first start, counted from the submit.
    pub(crate) queue: Option<Duration>,
}

/// Where a task that has not ended is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the queue.
    Ready,
    /// Waiting until somebody releases it.
    OnHold,
    /// Waiting out the pause after a failure, or after an assignment that could not be sent.
    BackingOff(Pause),
    /// With a worker.
    Given(Box<Attempt>),
}

/// Until when a task waits before its next try, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    /// For the timer.
    pub(crate) until: Mono,
    /// For people, and for a master that is started again.
    pub(crate) until_wall: Wall,
}

/// The live attempt of a task.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) worker: WorkerId,
    pub(crate) state: AttemptState,
    pub(crate) sequence: u64,
    pub(crate) grant: Grant,
    pub(crate) assigned_at: Wall,
    /// Since when its image may be being pulled, where that was not heard of: by a master before
    /// this one.
    pub(crate) may_pull_since: Option<Wall>,
    /// When it became known here that its worker has it.
    pub(crate) taken_at: Option<Mono>,
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
    /// It took longer than it may.
    TimedOut(Overdue),
    /// The worker never confirmed that it has it.
    Unconfirmed,
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overdue {
    pub(crate) what: TimeOut,
    /// What it may take.
    pub(crate) limit: Duration,
    /// What it had taken when that was noticed.
    pub(crate) took: Duration,
}

impl Limits {
    /// What `what` may take.
    pub(crate) fn of(&self, what: TimeOut) -> Option<Duration> {
        match what {
            TimeOut::Queue => self.queue,
            TimeOut::Pull => self.pull,
            TimeOut::Run => self.run,
        }
    }
}

impl Task {
    /// A task that nobody has tried to run yet.
    pub(crate) fn new(spec: &TaskSpec, order: u64, submitted_at: Wall, line: Arc<Line>) -> Self {
        Self {
            order,
            line,
            origin: Origin::of(spec),
            priority: spec.priority,
            submitted_at,
            deadline: spec.deadline,
            estimated_deadline: spec.estimated_deadline(submitted_at),
            limits: Limits {
                run: spec.timeout,
                pull: spec.pull_timeout,
                queue: spec.queue_timeout,
            },
            max_retries: spec.max_retries,
            retry_on: spec.retry_on.clone(),
            failures: 0,
            taken_down: Vec::new(),
            untold: None,
            attempt: 0,
            started_at: None,
            first_started_at: None,
            heard_running: None,
            not_sent: 0,
            cancel_requested: false,
            hold: spec.hold,
            stopping_for: None,
            status: TaskStatus::Queued,
            place: Place::Ready,
        }
    }

    /// A task as it was stored.
    pub(crate) fn from_record(record: &TaskRecord, line: Arc<Line>) -> Self {
        let state = &record.state;
        Self {
            failures: state.failures,
            taken_down: state.taken_down.clone(),
            // Of the last attempt or of one before: it is not written down which.
            untold: state
                .taken_down
                .last()
                .map(|worker| format!("worker {worker} was lost")),
            attempt: state.attempt,
            started_at: state.started_at,
            first_started_at: state.first_started_at,
            cancel_requested: state.cancel_requested,
            stopping_for: state.time_out,
            status: state.status,
            ..Self::new(&record.spec, record.order, record.submitted_at, line)
        }
    }

    /// When it should be done.
    pub(crate) fn effective_deadline(&self) -> Option<Wall> {
        self.deadline.or(self.estimated_deadline)
    }

    pub(crate) fn rank(&self) -> Rank {
        Rank::new(self.priority, self.order)
    }

    /// Lets it wait in the queue under this id: for room, or on hold.
    pub(crate) fn stand_in(&mut self, queue: &mut Queue, id: &TaskId) {
        if self.hold {
            self.place = Place::OnHold;
            queue.hold(&self.line, self.rank(), id.clone());
        } else {
            self.place = Place::Ready;
            queue.insert(&self.line, self.rank(), id.clone());
        }
    }

    /// Takes it out of the queue, whatever it waits for there.
    pub(crate) fn leave(&self, queue: &mut Queue, id: &TaskId) {
        match &self.place {
            Place::Ready => {
                queue.remove(&self.line, self.rank());
            }
            Place::OnHold => {
                queue.remove_on_hold(self.rank());
            }
            Place::BackingOff(pause) => {
                queue.remove_backing_off(pause.until, id);
            }
            Place::Given(_) => {}
        }
    }

    pub(crate) fn given(&self) -> Option<&Attempt> {
        match &self.place {
            Place::Given(attempt) => Some(attempt),
            Place::Ready | Place::OnHold | Place::BackingOff(_) => None,
        }
    }

    pub(crate) fn given_mut(&mut self) -> Option<&mut Attempt> {
        match &mut self.place {
            Place::Given(attempt) => Some(attempt),
            Place::Ready | Place::OnHold | Place::BackingOff(_) => None,
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

    /// For how long the last attempt's container has run. The wall clock is asked only for what a
    /// process before this one heard.
    pub(crate) fn ran_for(&self, now: Now) -> Option<Duration> {
        match self.heard_running {
            Some(since) => Some(now.mono.since(since)),
            None => self.started_at.map(|since| now.wall.since(since)),
        }
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
            retry_at: match &self.place {
                Place::BackingOff(pause) if !self.status.is_final() => Some(pause.until_wall),
                _ => None,
            },
            taken_down: self.taken_down.clone(),
            first_started_at: self.first_started_at,
            time_out: match attempt.and_then(|attempt| attempt.stop) {
                Some(StopCause::TimedOut(overdue)) => Some(overdue.what),
                Some(StopCause::User | StopCause::Unconfirmed) | None => None,
            },
        }
    }
}
