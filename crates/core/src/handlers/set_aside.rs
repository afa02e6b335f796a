//! Workers that are set aside because tasks fail there, and that are taken back.

use cloudai_model::{Exit, TaskId, WorkerId};

use crate::{
    core::{Core, Step},
    effect::{Event, WorkerChange},
    registry::SetAside,
    settings::doubled,
    verdict::{Ended, Ending},
};

impl Core {
    /// What an attempt's end says of the worker that it was on.
    pub(crate) fn weigh(
        &mut self,
        step: &mut Step<'_>,
        task: &TaskId,
        attempt: &Ended,
        ending: &Ending,
    ) {
        let Ending::Reported { report, .. } = ending else {
            return;
        };
        let Some(origin) = self.tasks.get(task).map(|task| task.origin) else {
            return;
        };
        match &report.end.exit {
            Exit::Exited(0) => self.suspicion.succeeded(&attempt.worker, origin),
            // What was stopped says nothing.
            _ if attempt.stop.is_some() => {}
            Exit::Exited(_) | Exit::Signalled(_) | Exit::NotStarted(_) => {
                let against = self.suspicion.failed(&attempt.worker, task, origin);
                self.set_aside_if_suspect(step, &attempt.worker, against, &attempt.died_of);
            }
            // Of its own limits a task dies anywhere; and what a machine can't do, its worker
            // says itself.
            Exit::OutOfMemory | Exit::Stopped(_) | Exit::Cancelled | Exit::Interrupted(_) => {}
        }
    }

    fn set_aside_if_suspect(
        &mut self,
        step: &mut Step<'_>,
        worker: &WorkerId,
        against: usize,
        last: &str,
    ) {
        let enough = self.settings.set_aside_after as usize;
        if enough == 0 || against < enough || !self.may_set_aside(worker) {
            return;
        }
        let times = self.suspicion.set_aside(worker);
        let span = doubled(
            self.settings.first_aside,
            times,
            self.settings.longest_aside,
        );
        let until = step.now.mono.after(span);
        let reason = format!("{against} different tasks in a row failed there, the last: {last}");
        let aside = SetAside {
            until,
            span,
            reason,
        };
        let updated = self
            .registry
            .update(worker, |worker| worker.set_aside = Some(aside.clone()));
        debug_assert!(updated.is_ok(), "attempts are on registered workers");
        self.aside_timers.set(worker.clone(), until, ());
        step.publish(Event::WorkerUpdated {
            worker: worker.clone(),
            change: WorkerChange::SetAside(Some(aside)),
        });
    }

    /// Whether one more may go. At most half of the active workers are set aside at a time: if
    /// more are suspect, it is hardly the machines.
    fn may_set_aside(&self, worker: &WorkerId) -> bool {
        let is_aside = |id: &WorkerId| {
            let worker = self.registry.get(id);
            worker.is_some_and(|worker| worker.set_aside.is_some())
        };
        let active = self.registry.iter().filter(|worker| worker.active);
        let active: Vec<_> = active.map(|worker| &worker.id).collect();
        let aside = active.iter().filter(|id| is_aside(id)).count();
        !is_aside(worker) && aside < active.len() / 2
    }

    /// Gives workers tasks again whose time aside is over.
    pub(crate) fn take_back_due(&mut self, step: &mut Step<'_>) {
        while let Some((worker, ())) = self.aside_timers.pop_due(step.now.mono) {
            self.take_back(step, &worker);
        }
    }

    /// Gives a worker tasks again and holds nothing against it.
    pub(crate) fn absolve(&mut self, step: &mut Step<'_>, worker: &WorkerId) {
        self.suspicion.absolve(worker);
        if self.aside_timers.clear(worker) {
            self.take_back(step, worker);
        }
    }

    fn take_back(&mut self, step: &mut Step<'_>, worker: &WorkerId) {
        let taken_back = self
            .registry
            .update(worker, |worker| worker.set_aside.take().is_some());
        if taken_back == Ok(true) {
            self.blocked.clear();
            step.publish(Event::WorkerUpdated {
                worker: worker.clone(),
                change: WorkerChange::SetAside(None),
            });
        }
    }
}
