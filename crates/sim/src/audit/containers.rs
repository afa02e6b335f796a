//! What containers really do: each attempt's is started once, on the worker that it was given to, not
//! after a cancel; none is stopped that nobody asked to stop; and they fit on their machine.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_model::{AttemptId, Capacity, Exit, Grant};

use super::{
    Seen,
    promises::Sum,
    violation::{Kind, Violation, ensure},
};
use crate::{
    engine::{EndCause, RawEnd},
    plan::{FaultKind, Plan, What},
    wire::{FromWorker, ToWorker},
};

type Place = (usize, AttemptId);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Containers {
    offers: Vec<Capacity>,
    /// Workers whose disk may refuse to take why a container is stopped. One that is killed then takes
    /// the end by a stop's signal for a failure: known, and better than not to stop it.
    forgetful: BTreeSet<usize>,
    /// Attempts that were given to a worker before it lost its disk or its containers: what became of
    /// them it can't know.
    forgotten: BTreeSet<Place>,
    /// Workers whose engine fails now and then: what a worker did not hear of, it stops.
    failing: BTreeSet<usize>,
    /// Tasks whose containers take more disk than they were given, somewhere.
    overflowing: bool,
    grants: BTreeMap<Place, Grant>,
    started: BTreeSet<Place>,
    running: BTreeSet<Place>,
    ends: BTreeMap<Place, RawEnd>,
    /// What may be stopped, and why it may.
    to_stop: BTreeSet<Place>,
    /// Its worker has answered that it won't run.
    cancelled: BTreeSet<Place>,
    /// Containers that outlived the disk that knew them.
    orphans: BTreeSet<Place>,
}

/// What a container takes for as long as it runs: its disk is taken for longer.
fn storage_apart(grant: &Grant) -> Grant {
    Grant {
        storage_bytes: 0,
        ..grant.clone()
    }
}

impl Containers {
    pub(super) fn new(plan: &Plan) -> Self {
        let faults = plan.items.iter().filter_map(|item| match &item.what {
            What::Fault(fault) => Some(fault),
            _ => None,
        });
        let disk_errors = faults
            .clone()
            .filter(|fault| fault.kind == FaultKind::DiskErrors);
        let engine_faults = [
            FaultKind::EngineAway,
            FaultKind::EngineStop,
            FaultKind::EngineErrors,
            FaultKind::MachineCrash,
            FaultKind::DiskErrors,
        ];
        let failing = faults.filter(|fault| engine_faults.contains(&fault.kind));
        let mut tasks = plan.tasks();
        Self {
            offers: plan
                .workers
                .iter()
                .map(crate::plan::Offer::capacity)
                .collect(),
            forgetful: disk_errors.filter_map(|fault| fault.worker).collect(),
            failing: failing.filter_map(|fault| fault.worker).collect(),
            overflowing: tasks.any(|task| task.does.overflows_after_ms.is_some()),
            ..Self::default()
        }
    }

    /// Whether an attempt's container ended so on this worker, as far as that can know.
    pub(super) fn ended_so(&self, worker: &str, attempt: &AttemptId, exit: &Exit) -> bool {
        let mut ends = self.ends.iter();
        let found =
            ends.find(|((index, of), _)| of == attempt && Plan::worker_name(*index) == worker);
        let Some(((index, _), end)) = found else {
            return false;
        };
        let by_stop = end.cause == EndCause::Stop && end.is_by_stop_signal();
        let known = end.cause == EndCause::Itself || (by_stop && self.forgetful.contains(index));
        known && end.exit() == *exit
    }

    pub(super) fn see(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        match seen {
            Seen::SentToWorker {
                worker,
                request: ToWorker::Assign { attempt, grant, .. },
            } => {
                self.grants
                    .insert((*worker, attempt.clone()), grant.clone());
            }
            Seen::ArrivedAtWorker { worker, request } => self.arrived(*worker, request),
            Seen::AnsweredByWorker {
                worker,
                request: ToWorker::Cancel { attempt, .. },
                answer: FromWorker::Stopping | FromWorker::NotHeld,
            } => {
                self.cancelled.insert((*worker, attempt.clone()));
            }
            Seen::ShutDown { worker } => {
                let running = self.grants.keys().filter(|(at, _)| at == worker);
                let running: Vec<_> = running.cloned().collect();
                self.to_stop.extend(running);
            }
            Seen::DiskLost { worker } => self.disk_lost(*worker),
            // That one was started is flushed nowhere but in the engine.
            Seen::ContainersLost { worker } => self.forget_starts(*worker),
            Seen::OrphanFound { worker, attempt } => {
                self.to_stop.insert((*worker, (*attempt).clone()));
            }
            Seen::ContainerCreated { worker, attempt } => {
                let place = (*worker, (*attempt).clone());
                ensure(self.grants.contains_key(&place), Kind::NotAssigned, || {
                    format!("{attempt} on w{worker}")
                })?;
            }
            Seen::ContainerStartAsked { worker, attempt } => {
                let place = (*worker, (*attempt).clone());
                let cancelled = self.cancelled.contains(&place);
                ensure(!cancelled, Kind::StartedAfterCancel, || {
                    format!("{attempt} on w{worker}")
                })?;
            }
            Seen::ContainerStarted { worker, attempt } => return self.begins(*worker, attempt),
            Seen::ContainerStopAsked { worker, attempt } => {
                return self.may_stop(*worker, attempt);
            }
            Seen::ContainerEnded {
                worker,
                attempt,
                end,
            } => return self.ended(*worker, attempt, end),
            _ => {}
        }
        Ok(())
    }

    fn arrived(&mut self, worker: usize, request: &ToWorker) {
        match request {
            ToWorker::Invite => {}
            ToWorker::Cancel { attempt, .. } => {
                self.to_stop.insert((worker, attempt.clone()));
            }
            // The older attempts of the task have been given up.
            ToWorker::Assign { attempt, .. } => {
                let older = (1..attempt.number).map(|number| {
                    let older = AttemptId::new(attempt.task.clone(), number);
                    (worker, older)
                });
                self.to_stop.extend(older);
            }
        }
    }

    fn disk_lost(&mut self, worker: usize) {
        let there = |place: &Place| place.0 == worker;
        self.cancelled.retain(|place| !there(place));
        self.forget_starts(worker);
        let running: Vec<_> = self
            .running
            .iter()
            .filter(|it| there(it))
            .cloned()
            .collect();
        self.orphans.extend(running);
    }

    fn forget_starts(&mut self, worker: usize) {
        let given = self.grants.keys().filter(|(at, _)| *at == worker);
        let given: Vec<_> = given.cloned().collect();
        self.forgotten.extend(given);
    }

    fn begins(&mut self, worker: usize, attempt: &AttemptId) -> Result<(), Violation> {
        let place = (worker, attempt.clone());
        let first = self.started.insert(place.clone());
        let forgotten = self.forgotten.contains(&place);
        ensure(first || forgotten, Kind::StartedTwice, || {
            format!("{attempt} on w{worker}")
        })?;
        self.running.insert(place);
        let mut sum = Sum::default();
        let here = self.running.iter().filter(|(at, _)| *at == worker);
        for place in here.filter(|place| !self.orphans.contains(*place)) {
            if let Some(grant) = self.grants.get(place) {
                sum.add(&grant.clone());
            }
        }
        let offer = &self.offers[worker];
        let grant = self.grants.get(&(worker, attempt.clone()));
        let fits = grant.is_none_or(|grant| sum.has_room_for(&storage_apart(grant), offer));
        ensure(fits, Kind::MachineOvercommitted, || {
            format!("with {attempt} w{worker} runs {sum:?} and has {offer:?}")
        })
    }

    fn may_stop(&self, worker: usize, attempt: &AttemptId) -> Result<(), Violation> {
        let asked = self.to_stop.contains(&(worker, attempt.clone()))
            || self.failing.contains(&worker)
            || self.overflowing;
        ensure(asked, Kind::StoppedUnasked, || {
            format!("{attempt} on w{worker}")
        })
    }

    fn ended(&mut self, worker: usize, attempt: &AttemptId, end: &RawEnd) -> Result<(), Violation> {
        let place = (worker, attempt.clone());
        self.running.remove(&place);
        self.orphans.remove(&place);
        self.ends.insert(place, end.clone());
        match end.cause {
            EndCause::Removal => self.may_stop(worker, attempt),
            EndCause::Itself | EndCause::Stop | EndCause::Machine => Ok(()),
        }
    }
}
