//! An assignment: is it known, does it fit, is it kept.

use crate::{
    answer::{Answer, AssignAnswer, Refusal},
    attempt::Attempt,
    core::{Step, WorkerCore},
    input::Call,
    order::Order,
    record::StopCause,
    room::Room,
};

impl WorkerCore {
    pub(crate) fn assign(&mut self, step: &mut Step<'_>, call: Call, order: Order) {
        if !self.ready {
            return step.answer_assign(call, AssignAnswer::NotReady);
        }
        // Another cluster's attempts and numbers are no business of ours.
        if let Some(refusal) = self.other_cluster(&order) {
            return step.answer_assign(call, AssignAnswer::Refused(refusal));
        }
        self.last_sequence = self.last_sequence.max(order.sequence);
        let id = order.attempt.clone();
        let numbered = !order.is_of_old_master();
        let forgetful = self.sabotage.no_deduplication;
        if numbered
            && !forgetful
            && let Some(answer) = self.memory.answer(&id)
        {
            return step.answer_assign(call, answer.clone());
        }
        let held = self.attempts.get_mut(&id);
        if let Some(held) = held.filter(|_| !forgetful) {
            if !numbered && !held.state.is_owed() {
                return step.answer_assign(call, AssignAnswer::Refused(Refusal::JustEnded));
            }
            if !held.record.order.is_as_in(&order) {
                let refusal = Refusal::OtherJob(id);
                return step.answer_assign(call, AssignAnswer::Refused(refusal));
            }
            let answer = AssignAnswer::Accepted;
            let answer = held.answer_when_saved(call, Answer::Assign(answer));
            return step.out.extend(answer);
        }
        // It would take what is on its way out for its own container.
        if self.removing.contains(&order.labelled()) {
            return step.answer_assign(call, AssignAnswer::NotReady);
        }
        let judged = self.judge(&order);
        self.stop_older_attempts(step, &order);
        if let Err(refusal) = judged {
            let answer = AssignAnswer::Refused(refusal);
            if numbered {
                self.memory.remember(step.now.mono, id, answer.clone());
            }
            return step.answer_assign(call, answer);
        }
        let mut attempt = Attempt::accepted(order);
        let answer = attempt.answer_when_saved(call, Answer::Assign(AssignAnswer::Accepted));
        step.out.extend(answer);
        step.out.push(attempt.write());
        self.attempts.insert(id, attempt);
    }

    fn judge(&self, order: &Order) -> Result<(), Refusal> {
        if self.shutting_down {
            return Err(Refusal::ShuttingDown);
        }
        if let Some(held) = self.held_of(&order.attempt.task)
            && held.number > order.attempt.number
        {
            return Err(Refusal::Outdated {
                attempt: order.attempt.clone(),
                newer: held.number,
            });
        }
        if !order.is_of_old_master() && order.sequence <= self.told_sequence {
            return Err(Refusal::Overtaken(order.attempt.clone()));
        }
        if let Some(reason) = self.unwell() {
            return Err(Refusal::Unwell(reason));
        }
        self.room().check(&order.grant).map_err(Refusal::Shortage)
    }

    fn other_cluster(&self, order: &Order) -> Option<Refusal> {
        let mine = self.cluster.as_ref()?;
        (*mine != order.cluster).then(|| Refusal::OtherCluster {
            mine: mine.clone(),
            other: order.cluster.clone(),
        })
    }

    /// What is free.
    pub(crate) fn room(&self) -> Room {
        let mut room = Room::of(&self.settings.capacity);
        for attempt in self.attempts.values() {
            room.take(&attempt.usage());
        }
        room
    }

    /// The master has given up the older attempts of a task when it assigns a newer one.
    fn stop_older_attempts(&mut self, step: &mut Step<'_>, order: &Order) {
        let of_task = self.attempts_of(&order.attempt.task);
        let older: Vec<_> = of_task
            .filter(|held| held.number < order.attempt.number)
            .cloned()
            .collect();
        for attempt in older {
            let reason = format!("attempt {} took its place", order.attempt);
            self.stop(step, &attempt, StopCause::Cancel(reason));
        }
    }
}
