//! A pass of the scheduler: waiting tasks meet free capacity.
//!
//! The policy chooses; what it chose is checked and reserved here, and written before it is sent.

use cloudai_model::{
    AttemptId, TaskId,
    record::{AssignmentRecord, Record},
};

use crate::{
    class::TaskClass,
    core::{Core, Step},
    effect::{Assignment, Effect, Event, TaskNews},
    lifecycle::{AttemptState, TaskEvent},
    policy::{Placement, View},
    registry::ReserveError,
    task::{Attempt, Place},
};

/// How many assignments one start of a master can number.
const SEQUENCE_BITS: u32 = 40;

impl Core {
    /// Places what can be placed, in the queue's order. Looks at classes, not at tasks, and at users
    /// who are at their limits once; what is beyond the bound on looks waits for the next tick.
    pub(crate) fn pass(&mut self, step: &mut Step<'_>) {
        if self.held_up.is_some() || !self.blocked.may_look() {
            return;
        }
        for user in self.registry.users_mut().take_eased() {
            let lines = self.queue.stand_again(&user);
            self.blocked.in_vain(lines);
        }
        while self.blocked.may_look()
            && let Some(class) = self.blocked.next(&mut self.queue)
        {
            if self.place_head(step, &class) {
                self.blocked.look_at(&self.queue, class);
            } else {
                self.blocked.insert(class);
            }
        }
    }

    /// Places the first task of a class, or lets its line stand aside; whether either was done.
    fn place_head(&mut self, step: &mut Step<'_>, class: &TaskClass) -> bool {
        let Some((_, line, task)) = self.queue.head(class) else {
            return false;
        };
        let (line, task) = (line.clone(), task.clone());
        let users = self.registry.users();
        if users.admit(&line.user, &class.resources).is_err() && !self.sabotage.no_user_limits {
            self.queue.stand_aside(&line);
            self.blocked.in_vain(1);
            return true;
        }
        let now = step.now.mono;
        if !self.blocked.may_fit(&self.registry, class, now) {
            return false;
        }
        let view = View::new(&self.registry, now);
        let placement = self.policy.place(class, view);
        let placed = placement.is_some_and(|placement| self.assign(step, &task, placement).is_ok());
        if !placed {
            self.blocked.asked_in_vain(&self.registry, class);
        }
        placed
    }

    /// Gives a ready task to a worker.
    ///
    /// # Errors
    /// If the placement promises what isn't free; then nothing has changed.
    pub(crate) fn assign(
        &mut self,
        step: &mut Step<'_>,
        id: &TaskId,
        placement: Placement,
    ) -> Result<AttemptId, ReserveError> {
        let unknown = || {
            debug_assert!(false, "the queue holds live tasks only");
            ReserveError::AlreadyReserved(AttemptId::new(id.clone(), 0))
        };
        let task = self.tasks.get(id).ok_or_else(unknown)?;
        let Placement { worker, grant } = placement;
        let attempt = AttemptId::new(id.clone(), task.attempt + 1);
        let attempt = self.told_apart(attempt, &worker);
        let deadline = step.now.mono.after(self.settings.accept_within);
        self.registry
            .reserve(&attempt, &task.line.user, &worker, grant.clone(), deadline)?;
        self.blocked.placed();
        let task = self.tasks.get_mut(id).ok_or_else(unknown)?;

        self.queue.remove(&task.line, task.rank());
        self.assignments_sent += 1;
        let sequence = (self.epoch << SEQUENCE_BITS) | self.assignments_sent;
        task.attempt = attempt.number;
        task.started_at = None;
        task.heard_running = None;
        let legal = task.apply(TaskEvent::Assign);
        debug_assert!(legal, "only queued tasks are in the queue");
        task.place = Place::Given(Box::new(Attempt {
            worker: worker.clone(),
            state: AttemptState::Sent,
            sequence,
            grant: grant.clone(),
            assigned_at: step.now.wall,
            may_pull_since: None,
            taken_at: None,
            in_flight: true,
            stop: None,
            missed_heartbeats: 0,
        }));
        step.out
            .push(Effect::Write(Record::Assignment(AssignmentRecord {
                attempt: attempt.clone(),
                worker: worker.clone(),
                sequence,
                grant: grant.clone(),
                assigned_at: step.now.wall,
                ended: None,
            })));
        step.out.push(Effect::Write(Record::TaskChanged(
            id.clone(),
            task.state(""),
        )));
        let submitted_at = task.submitted_at;
        let assignment = Assignment {
            attempt: attempt.clone(),
            worker,
            sequence,
            grant,
            submitted_at,
        };
        step.out.push(Effect::Assign(assignment));
        self.publish_task(step, id, "");
        Ok(attempt)
    }

    /// Tells listeners where a live task stands.
    pub(crate) fn publish_task(&self, step: &mut Step<'_>, id: &TaskId, detail: &str) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        let state = task.state(detail);
        step.publish(Event::Task(TaskNews {
            task: id.clone(),
            attempt: state.attempt,
            worker: state.worker,
            status: state.status,
            phase: state.phase,
            detail: state.reason,
            at: step.now.wall,
        }));
    }
}
