//! A pass of the scheduler: waiting tasks meet free capacity.
//!
//! The policy chooses; what it chose is checked and reserved here, and written before it is sent.

use std::{collections::BTreeMap, sync::Arc};

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
    queue::Rank,
    registry::ReserveError,
    task::{Attempt, Place},
};

/// How many assignments one start of a master can number.
const SEQUENCE_BITS: u32 = 40;

impl Core {
    /// Places what can be placed, in the queue's order. Looks at classes, not at tasks.
    pub(crate) fn pass(&mut self, step: &mut Step<'_>) {
        if self.held_up.is_some() {
            return;
        }
        let mut heads: BTreeMap<Rank, Arc<TaskClass>> = self
            .queue
            .heads()
            .filter(|(_, class)| !self.blocked.contains(class))
            .map(|(rank, class)| (rank, class.clone()))
            .collect();
        while let Some((_, class)) = heads.pop_first() {
            let view = View::new(&self.registry, step.now.mono);
            let placed = self.policy.place(&class, view).is_some_and(|placement| {
                let head = self.queue.head(&class).map(|(_, task)| task.clone());
                head.is_some_and(|task| self.assign(step, &task, placement).is_ok())
            });
            if !placed {
                self.blocked.insert(class);
            } else if let Some((rank, _)) = self.queue.head(&class) {
                heads.insert(rank, class);
            }
        }
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
            .reserve(&attempt, &worker, grant.clone(), deadline)?;
        let task = self.tasks.get_mut(id).ok_or_else(unknown)?;

        self.queue.remove(&task.class, task.rank());
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
