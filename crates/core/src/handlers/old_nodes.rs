//! What old nodes say of attempts: they know each by one id and say no number, and their reports
//! know two words.

use cloudai_model::{AttemptId, AttemptReport, Exit, WorkerId, old_node};

use crate::{
    answer::Answer,
    core::{Core, Step},
    input::Call,
};

impl Core {
    pub(crate) fn which_attempt(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        worker: Option<WorkerId>,
        told: &AttemptId,
    ) {
        let meant = match worker {
            Some(worker) => {
                let meant = self.meant_by(&worker, told);
                meant.map(|attempt| (worker, attempt))
            }
            None => self.meant_by_anyone(told),
        };
        if let Some((worker, attempt)) = &meant
            && let Some(entry) = self.attempt_mut(attempt)
            && entry.worker == *worker
        {
            // An old node takes an attempt off its list when the container ends, and sends files
            // and result only then.
            entry.missed_heartbeats = 0;
        }
        step.answer(call, Answer::Attempt(Ok(meant)));
    }

    /// Which attempt this worker means by an id: one that it shall have, one that it shall stop,
    /// or one with which a task ended there lately.
    pub(crate) fn meant_by(&self, worker: &WorkerId, told: &AttemptId) -> Option<AttemptId> {
        let readings = old_node::readings(told);
        let registered = self.registry.get(worker);
        let expected = |attempt: &&AttemptId| {
            registered.is_some_and(|worker| worker.attempts.contains(*attempt))
        };
        let to_stop = |attempt: &&AttemptId| self.stop_orders.has(worker, attempt);
        let ended = |attempt: &&AttemptId| self.ended.worker_of(attempt) == Some(worker);
        readings
            .iter()
            .find(expected)
            .or_else(|| readings.iter().find(to_stop))
            .or_else(|| readings.iter().find(ended))
            .cloned()
    }

    /// The same where the node doesn't say who it is: then only what an old node was given counts.
    fn meant_by_anyone(&self, told: &AttemptId) -> Option<(WorkerId, AttemptId)> {
        let readings = old_node::readings(told);
        let live = readings.iter().find_map(|attempt| {
            let task = self.tasks.get(&attempt.task)?;
            let given = task
                .given()
                .filter(|given| task.attempt == attempt.number && self.is_old(&given.worker))?;
            Some((given.worker.clone(), attempt.clone()))
        });
        live.or_else(|| {
            readings.iter().find_map(|attempt| {
                let worker = self.ended.worker_of(attempt)?;
                let old = self.is_old(worker);
                old.then(|| (worker.clone(), attempt.clone()))
            })
        })
    }

    /// This attempt, or one with the next number whose name, if it goes to an old worker, is that of
    /// nothing else.
    ///
    /// A client may have called one task `a` and another `a-2`: then the second attempt of the one
    /// and the first of the other have the same name among old nodes. Whichever comes later has its
    /// number raised. It doesn't matter which worker has the other, since uploads don't say whose
    /// they are; and what is to be stopped or has ended lately may still be heard of.
    pub(crate) fn told_apart(&self, mut attempt: AttemptId, worker: &WorkerId) -> AttemptId {
        while self.is_old(worker) && self.shares_its_name(&attempt) {
            attempt.number += 1;
        }
        attempt
    }

    fn shares_its_name(&self, attempt: &AttemptId) -> bool {
        let name = old_node::task_id(attempt).parse();
        // One that is too long for an id comes back unread, and so as nobody's.
        let readings = name.map(|name| old_node::readings(&AttemptId::new(name, 0)));
        let mut others = readings.into_iter().flatten();
        others.any(|other| {
            let lives = |live: &crate::task::Attempt| self.is_old(&live.worker);
            let ended = |worker| self.is_old(worker);
            other != *attempt
                && (self.live_attempt(&other).is_some_and(lives)
                    || self.stop_orders.is_to_stop(&other)
                    || self.ended.worker_of(&other).is_some_and(ended))
        })
    }

    /// Whether files of an attempt may come after its result: an old node may send them so.
    pub(crate) fn may_come_late(&self, worker: &WorkerId, attempt: &AttemptId) -> bool {
        self.is_old(worker) && self.ended.worker_of(attempt) == Some(worker)
    }

    /// An old node has no other word than failure for what it was told to stop.
    pub(crate) fn as_meant_by(
        &mut self,
        worker: &WorkerId,
        mut report: AttemptReport,
    ) -> AttemptReport {
        let stopping = self
            .attempt_mut(&report.attempt)
            .is_some_and(|entry| entry.stop.is_some());
        if stopping && self.is_old(worker) && matches!(report.end.exit, Exit::Stopped(_)) {
            report.end.exit = Exit::Cancelled;
        }
        report
    }

    fn is_old(&self, worker: &WorkerId) -> bool {
        let worker = self.registry.get(worker);
        worker.is_some_and(crate::registry::Worker::is_old_node)
    }
}
