//! A start: what the spool holds is taken up again, each attempt where it was.

use cloudai_model::{AttemptId, Now};

use crate::{
    attempt::Attempt,
    core::{Step, WorkerCore},
    effect::Effect,
    lifecycle::AttemptState,
    order::Order,
    record::SpoolRecord,
};

impl WorkerCore {
    pub(crate) fn adopt(&mut self, record: SpoolRecord) {
        debug_assert!(!self.ready, "the spool is read once");
        self.last_sequence = self.last_sequence.max(record.order.sequence);
        self.attempts
            .insert(record.attempt().clone(), Attempt::adopted(record));
    }

    pub(crate) fn adopt_damaged(&mut self, order: Order, problem: String) {
        debug_assert!(!self.ready, "the spool is read once");
        self.last_sequence = self.last_sequence.max(order.sequence);
        let attempt = order.attempt.clone();
        self.attempts
            .insert(attempt, Attempt::adopted_damaged(order, problem));
    }

    pub(crate) fn adopt_tombstones(&mut self, now: Now, attempts: Vec<AttemptId>) {
        for attempt in attempts {
            self.memory.bury(now.mono, attempt);
        }
    }

    pub(crate) fn adoption_done(&mut self, step: &mut Step<'_>) {
        if std::mem::replace(&mut self.ready, true) {
            return;
        }
        for attempt in self.attempts.values() {
            match attempt.state {
                AttemptState::Clearing => step.out.push(Effect::Remove {
                    order: attempt.record.order.clone(),
                    tries: 0,
                }),
                AttemptState::Reporting => {
                    let report = attempt.report().map(|report| Effect::Report {
                        report: Box::new(report),
                        tries: 0,
                    });
                    step.out.extend(report);
                }
                _ => step.out.push(Effect::Locate {
                    order: attempt.record.order.clone(),
                }),
            }
        }
    }
}
