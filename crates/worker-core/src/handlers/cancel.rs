//! A cancel, of what is held and of what may yet come; and the end of the worker itself.

use cloudai_model::{AttemptId, Exit};

use crate::{
    answer::{Answer, AssignAnswer, CancelAnswer},
    core::{Step, WorkerCore},
    effect::Effect,
    input::{Call, StopTarget},
    lifecycle::{AttemptEvent, AttemptState},
    record::StopCause,
};

impl WorkerCore {
    pub(crate) fn cancel(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        target: StopTarget,
        reason: String,
    ) {
        if !self.ready {
            return step.answer_cancel(call, CancelAnswer::NotReady);
        }
        let id = match target {
            StopTarget::Attempt(id) => id,
            StopTarget::Task(task) => match self.held_of(&task) {
                Some(id) => id.clone(),
                None => return step.answer_cancel(call, CancelAnswer::NotHeld),
            },
        };
        self.stop(step, &id, StopCause::Cancel(reason));
        let held = self.attempts.get_mut(&id);
        let Some(held) = held.filter(|held| held.state.is_owed()) else {
            return self.cancel_unheld(step, call, id);
        };
        if held.record.stop.is_some() {
            let (attempt, grace) = (id, held.record.order.stop_grace);
            let answer = CancelAnswer::Stopping { attempt, grace };
            let answer = held.answer_when_saved(call, Answer::Cancel(answer));
            step.out.extend(answer);
        } else {
            let answer = Answer::Cancel(CancelAnswer::Ended(id));
            step.out.extend(held.answer_when_over(call, answer));
        }
    }

    /// It isn't here, and when it comes it won't be taken.
    fn cancel_unheld(&mut self, step: &mut Step<'_>, call: Call, id: AttemptId) {
        if self.memory.answer(&id) == Some(&AssignAnswer::Accepted) {
            return step.answer_cancel(call, CancelAnswer::NotHeld);
        }
        self.memory.bury(step.now.mono, id);
        self.tombstones_revision += 1;
        self.waiting_for_tombstones
            .push_back((self.tombstones_revision, call));
        step.out.push(Effect::SaveTombstones {
            revision: self.tombstones_revision,
            attempts: self.memory.tombstones(),
        });
    }

    pub(crate) fn tombstones_saved(&mut self, step: &mut Step<'_>, revision: u64) {
        while let Some((at, call)) = self.waiting_for_tombstones.front().copied()
            && at <= revision
        {
            self.waiting_for_tombstones.pop_front();
            step.answer_cancel(call, CancelAnswer::NotHeld);
        }
    }

    /// Stops an attempt, whatever its phase. What has ended by itself, or is being stopped, is
    /// left alone.
    pub(crate) fn stop(&mut self, step: &mut Step<'_>, id: &AttemptId, cause: StopCause) {
        let Some(held) = self.attempts.get_mut(id) else {
            return;
        };
        let before = held.state;
        if !held.advance(AttemptEvent::Cancel) {
            return;
        }
        held.record.stop = Some(cause);
        // A process that dies over the stop must find the reason again.
        held.stop_waits = true;
        step.out.push(held.save());
        match before {
            AttemptState::Accepting | AttemptState::Pulling => {
                if before == AttemptState::Pulling {
                    step.out.push(Effect::AbortPull(id.clone()));
                }
                held.end_without_container(step.now, Exit::Cancelled);
                self.ended(step, id);
            }
            // Its record is written first, or the step under way comes to rest.
            _ => {}
        }
    }

    pub(crate) fn shutdown(&mut self, step: &mut Step<'_>, stop_tasks: bool) {
        self.shutting_down = true;
        if stop_tasks {
            let all: Vec<_> = self.attempts.keys().cloned().collect();
            for id in all {
                self.stop(step, &id, StopCause::Shutdown);
            }
        }
    }
}
