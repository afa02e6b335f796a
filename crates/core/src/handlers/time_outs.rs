//! What may take only so long: the wait in the queue, the pull of an image, the run.

use std::time::Duration;

use cloudai_model::{AttemptId, Now, TaskId, TaskStatus, TimeOut};

use crate::{
    core::{Core, Step},
    explain::ON_HOLD,
    lifecycle::TaskEvent,
    task::{Overdue, Place, StopCause},
    verdict::TaskEnd,
};

/// Ticks are further apart.
const NEXT_TICK: Duration = Duration::from_millis(1);

impl Core {
    /// Sets the timer of a task that may wait only so long before it first starts.
    pub(crate) fn arm_queue_time_out(&mut self, now: Now, id: &TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        if let (Some(limit), None) = (task.limits.queue, task.first_started_at) {
            let left = limit.saturating_sub(now.wall.since(task.submitted_at));
            let left = self.sabotage.time_left(left);
            self.queue_timers.set(id.clone(), now.mono.after(left), ());
        }
    }

    /// Sets the timer of a pull that may take only so long.
    pub(crate) fn arm_pull_time_out(&mut self, now: Now, attempt: &AttemptId) {
        let Some(task) = self.tasks.get_mut(&attempt.task) else {
            return;
        };
        let limit = task.limits.pull;
        let since = task.given_mut().and_then(|live| live.may_pull_since.take());
        if let Some(limit) = limit {
            let took = since.map_or_else(Default::default, |since| now.wall.since(since));
            let left = self.sabotage.time_left(limit.saturating_sub(took));
            let due = now.mono.after(left);
            self.attempt_timers.set(attempt.clone(), due, TimeOut::Pull);
        }
    }

    /// The pull is over.
    pub(crate) fn disarm_pull_time_out(&mut self, attempt: &AttemptId) {
        if self.attempt_timers.what(attempt) == Some(&TimeOut::Pull) {
            self.attempt_timers.clear(attempt);
        }
    }

    /// Sets the timer of a running task that may run only so long.
    pub(crate) fn arm_run_time_out(&mut self, now: Now, id: &TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        if let (Some(limit), Some(ran)) = (task.limits.run, task.ran_for(now)) {
            let left = self.sabotage.time_left(limit.saturating_sub(ran));
            let attempt = AttemptId::new(id.clone(), task.attempt);
            self.attempt_timers
                .set(attempt, now.mono.after(left), TimeOut::Run);
        }
    }

    /// Ends what has taken longer than it may.
    pub(crate) fn end_overdue(&mut self, step: &mut Step<'_>) {
        self.stop_overdue(step);
        let now = step.now.mono;
        while let Some((id, ())) = self.queue_timers.pop_due(now) {
            let Some(task) = self.tasks.get(&id) else {
                continue;
            };
            if task.status == TaskStatus::Queued {
                self.end_waiting(step, &id);
            } else {
                // It is with a worker: that is left to it, unless it comes back unstarted.
                let again = now.after(NEXT_TICK);
                self.queue_timers.set(id, again, ());
            }
        }
    }

    fn end_waiting(&mut self, step: &mut Step<'_>, id: &TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        let limit = task.limits.queue.unwrap_or_default();
        let line = task.line.clone();
        let why = match task.place {
            Place::Ready => self.explanation_of(step, &line).summary,
            Place::OnHold => ON_HOLD.to_owned(),
            Place::BackingOff(_) | Place::Given(_) => "it failed before it started".to_owned(),
        };
        let overdue = Overdue {
            what: TimeOut::Queue,
            limit,
            took: limit,
        };
        let end = TaskEnd {
            time_out: Some(TimeOut::Queue),
            ..TaskEnd::new(TaskEvent::Fail, format!("{}: {why}", overdue.reason()))
        };
        self.leave_queue(id);
        self.finalise(step, id, end, None);
    }

    /// Asks workers to stop what has pulled or run for too long.
    pub(crate) fn stop_overdue(&mut self, step: &mut Step<'_>) {
        while let Some((attempt, what)) = self.attempt_timers.pop_due(step.now.mono) {
            let Some(task) = self.tasks.get(&attempt.task) else {
                continue;
            };
            let Some(limit) = task.limits.of(what) else {
                continue;
            };
            let ran = task.ran_for(step.now).filter(|_| what == TimeOut::Run);
            let took = ran.map_or(limit, |ran| ran.max(limit));
            let live = self.live_attempt(&attempt);
            if live.is_some_and(|live| live.stop.is_none()) {
                let overdue = Overdue { what, limit, took };
                self.ask_stop(step, &attempt.task, StopCause::TimedOut(overdue));
            }
        }
    }
}
