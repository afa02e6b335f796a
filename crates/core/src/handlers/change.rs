//! What of a task is changed after its submit: all of a change, or nothing.

use cloudai_model::{AttemptId, Priority, Setting, TaskChange, TaskId, record::Record};

use crate::{
    answer::{Answer, ChangeError, ChangeOutcome},
    core::{Core, Step},
    effect::Effect,
    explain::ON_HOLD,
    input::Call,
    lifecycle::AttemptState,
    task::{Place, StopCause, Task},
};

impl Core {
    pub(crate) fn change(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        id: &TaskId,
        change: &TaskChange,
    ) {
        let outcome = self.change_outcome(step, id, change);
        step.answer(call, Answer::Changed(outcome));
    }

    fn change_outcome(
        &mut self,
        step: &mut Step<'_>,
        id: &TaskId,
        change: &TaskChange,
    ) -> Result<ChangeOutcome, ChangeError> {
        let task = self
            .tasks
            .get_mut(id)
            .ok_or_else(|| ChangeError::NotLive(id.clone()))?;
        check(id, task, change)?;
        if *change == TaskChange::default() {
            return Ok(ChangeOutcome::Kept);
        }
        // The shell keeps name and labels: nothing here depends on them.
        step.out.push(Effect::Write(Record::SpecChanged(
            id.clone(),
            change.clone(),
        )));
        match change.timeout {
            Setting::Keep => {}
            Setting::Clear => task.limits.run = None,
            Setting::To(limit) => task.limits.run = Some(limit),
        }
        match change.deadline {
            Setting::Keep => {}
            Setting::Clear => task.deadline = None,
            Setting::To(deadline) => task.deadline = Some(deadline),
        }
        let held = task.hold;
        let wanted = (wanted_priority(change), wanted_hold(change));
        let moved = (
            wanted.0.unwrap_or(task.priority),
            wanted.1.unwrap_or(task.hold),
        );
        if moved != (task.priority, task.hold) {
            let backing_off = matches!(task.place, Place::BackingOff(_));
            if !backing_off {
                task.leave(&mut self.queue, id);
            }
            (task.priority, task.hold) = moved;
            if !backing_off {
                task.stand_in(&mut self.queue, id);
            }
        }
        match (held, moved.1) {
            (false, true) => self.now_on_hold(step, id),
            (true, false) => self.released(step, id),
            _ => {}
        }
        Ok(self.run_time_out_changed(step, id, change))
    }

    fn now_on_hold(&self, step: &mut Step<'_>, id: &TaskId) {
        // In a pause after a failure the reason for that is kept: it is told again after a release.
        let task = self.tasks.get(id);
        if let Some(task) = task.filter(|task| matches!(task.place, Place::OnHold)) {
            let state = task.state(ON_HOLD);
            step.out
                .push(Effect::Write(Record::TaskChanged(id.clone(), state)));
        }
        self.publish_task(step, id, ON_HOLD);
    }

    /// Lets a task go that was on hold, to a worker at once if one has room.
    fn released(&mut self, step: &mut Step<'_>, id: &TaskId) {
        let ready = |task: &&Task| matches!(task.place, Place::Ready);
        if self.tasks.get(id).filter(ready).is_none() {
            return self.publish_task(step, id, "released");
        }
        self.pass(step);
        let Some(task) = self.tasks.get(id).filter(ready) else {
            return;
        };
        let line = task.line.clone();
        let why = self.explanation_of(step, &line).summary;
        if let Some(task) = self.tasks.get(id) {
            let state = task.state(why.as_str());
            step.out
                .push(Effect::Write(Record::TaskChanged(id.clone(), state)));
        }
        self.publish_task(step, id, &why);
    }

    /// Lets a new time-out of a run hold at once, and tells whether the task has run for long enough by
    /// it.
    fn run_time_out_changed(
        &mut self,
        step: &mut Step<'_>,
        id: &TaskId,
        change: &TaskChange,
    ) -> ChangeOutcome {
        let Some(task) = self.tasks.get(id).filter(|_| !change.timeout.is_kept()) else {
            return ChangeOutcome::Kept;
        };
        let attempt = AttemptId::new(id.clone(), task.attempt);
        let running = |task: &Task| Some(task.given()?.state == AttemptState::Running);
        if running(task) == Some(true) {
            self.attempt_timers.clear(&attempt);
            self.arm_run_time_out(step.now, id);
            self.stop_overdue(step);
        }
        let live = self.live_attempt(&attempt);
        let stopping = live.filter(|live| matches!(live.stop, Some(StopCause::TimedOut(_))));
        stopping.map_or(ChangeOutcome::Kept, |live| {
            ChangeOutcome::EndsNow(live.worker.clone())
        })
    }
}

/// Whether a change makes sense where the task stands.
fn check(id: &TaskId, task: &Task, change: &TaskChange) -> Result<(), ChangeError> {
    let Some(live) = task.given().filter(|_| changes(task, change)) else {
        return Ok(());
    };
    let why = match live.stop {
        Some(StopCause::User) => Some("it was cancelled".to_owned()),
        Some(StopCause::TimedOut(overdue)) => Some(overdue.reason()),
        Some(StopCause::Unconfirmed) | None => None,
    };
    if let Some(why) = why {
        return Err(ChangeError::BeingStopped(id.clone(), why));
    }
    let too_late = |what| ChangeError::WaitsNoMore {
        task: id.clone(),
        worker: live.worker.clone(),
        what,
    };
    if wanted_priority(change).is_some_and(|priority| priority != task.priority) {
        return Err(too_late("its priority counts only"));
    }
    if wanted_hold(change).is_some_and(|hold| hold != task.hold) {
        return Err(too_late("it can be put on hold only"));
    }
    Ok(())
}

/// Whether it changes anything, as far as is known here: what a task has already is no change.
fn changes(task: &Task, change: &TaskChange) -> bool {
    let mut rest = change.clone();
    if wanted_priority(change).is_some_and(|priority| priority == task.priority) {
        rest.priority = Setting::Keep;
    }
    if wanted_hold(change).is_some_and(|hold| hold == task.hold) {
        rest.hold = Setting::Keep;
    }
    rest != TaskChange::default()
}

fn wanted_priority(change: &TaskChange) -> Option<Priority> {
    match change.priority {
        Setting::Keep => None,
        Setting::Clear => Some(Priority::DEFAULT),
        Setting::To(priority) => Some(priority),
    }
}

fn wanted_hold(change: &TaskChange) -> Option<bool> {
    match change.hold {
        Setting::Keep => None,
        Setting::Clear => Some(false),
        Setting::To(hold) => Some(hold),
    }
}
