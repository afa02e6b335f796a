//! What users and agents ask of a task that is there: cancel, place.

use cloudai_model::{AttemptId, TaskId, WorkerId, record::Record};

use crate::{
    answer::{Answer, CancelError, CancelOutcome, PlaceError},
    core::{Core, Step},
    effect::Effect,
    input::Call,
    lifecycle::{AttemptState, TaskEvent},
    policy::Placement,
    registry::{ReserveError, UnknownWorker},
    task::{Place, StopCause},
    verdict::TaskEnd,
};

impl Core {
    pub(crate) fn cancel(&mut self, step: &mut Step<'_>, call: Call, id: &TaskId) {
        let outcome = self.cancel_outcome(step, id);
        step.answer(call, Answer::Cancelled(outcome));
    }

    fn cancel_outcome(
        &mut self,
        step: &mut Step<'_>,
        id: &TaskId,
    ) -> Result<CancelOutcome, CancelError> {
        let task = self
            .tasks
            .get_mut(id)
            .ok_or_else(|| CancelError::NotLive(id.clone()))?;
        if let Some(attempt) = task.given_mut() {
            if attempt.state == AttemptState::Uploading {
                // If it has not ended by itself after all, or failed, it is not run again.
                attempt.stop = Some(StopCause::User);
                task.cancel_requested = true;
                let state = task.state("");
                let record = Record::TaskChanged(id.clone(), state);
                step.out.push(Effect::Write(record));
                return Ok(CancelOutcome::AlreadyEnded);
            }
            let worker = attempt.worker.clone();
            task.cancel_requested = true;
            self.ask_stop(step, id, StopCause::User);
            return Ok(CancelOutcome::Stopping(worker));
        }
        task.cancel_requested = true;
        self.leave_queue(id);
        let end = TaskEnd::new(TaskEvent::Cancel, "cancelled before it was started");
        self.finalise(step, id, end, None);
        Ok(CancelOutcome::Cancelled)
    }

    /// Takes a task that waits out of the queue, ready or not.
    pub(crate) fn leave_queue(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        task.leave(&mut self.queue, id);
    }

    pub(crate) fn place(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        task: &TaskId,
        worker: &WorkerId,
    ) {
        let placed = self.place_now(step, task, worker);
        step.answer(call, Answer::Placed(placed));
    }

    fn place_now(
        &mut self,
        step: &mut Step<'_>,
        id: &TaskId,
        worker: &WorkerId,
    ) -> Result<AttemptId, PlaceError> {
        if let Some(why) = &self.held_up {
            return Err(PlaceError::HeldUp(why.to_string()));
        }
        let not_waiting = || PlaceError::NotWaiting(id.clone());
        let task = self.tasks.get(id).ok_or_else(not_waiting)?;
        match task.place {
            Place::Ready => {}
            Place::OnHold => return Err(PlaceError::OnHold(id.clone())),
            Place::BackingOff(_) | Place::Given(_) => return Err(not_waiting()),
        }
        let entry = self
            .registry
            .get(worker)
            .ok_or_else(|| UnknownWorker(worker.clone()))?;
        let does_not_fit = |obstacle| PlaceError::DoesNotFit(id.clone(), worker.clone(), obstacle);
        let class = &task.line.class;
        let grant = class.fit(entry, step.now.mono).map_err(does_not_fit)?;
        let users = self.registry.users();
        users
            .admit(&task.line.user, &class.resources)
            .map_err(|limit| PlaceError::AtLimit(id.clone(), limit))?;
        let placement = Placement {
            worker: worker.clone(),
            grant,
        };
        self.assign(step, id, placement)
            .map_err(|error| match error {
                ReserveError::UnknownWorker(error) => error.into(),
                ReserveError::Short(_, obstacle) => does_not_fit(obstacle),
                // `fit` just named free devices for an attempt that is new.
                ReserveError::AlreadyReserved(_) | ReserveError::Devices(..) => {
                    PlaceError::NotWaiting(id.clone())
                }
            })
    }
}
