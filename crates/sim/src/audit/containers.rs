//! What containers really do: each attempt's is started once, on the worker that it was given to, not
//! after a cancel; none is stopped that nobody asked to stop; and they fit on their machine.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_model::{AttemptId, Capacity, Exit, Grant, Phase};

use super::{
    Seen,
    promises::Sum,
    violation::{Kind, Violation, ensure},
};
use crate::{
    engine::{EndCause, RawEnd},
    plan::{FaultKind, Plan, What},
    wire::{FromWorker, ToMaster, ToWorker},
};

type Place = (usize, AttemptId);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Containers {
    /// What each worker offers that runs.
    offers: Vec<Capacity>,
    /// What each offered when it wrote down that it takes an attempt. One that comes back smaller keeps
    /// what it has taken.
    taken_under: BTreeMap<Place, Capacity>,
    /// Workers whose disk may refuse to take why a container is stopped, and from when on. One that is
    /// killed then takes the end by a stop's signal for a failure: known, and better than not to stop it.
    forgetful: BTreeMap<usize, u64>,
    /// Attempts that were given to a worker before it lost its disk or its containers: what became of
    /// them it can't know.
    forgotten: BTreeSet<Place>,
    /// Workers whose engine fails now and then, and from when on: what a worker did not hear of, it
    /// stops.
    failing: BTreeMap<usize, u64>,
    /// Tasks, by name, whose containers take more disk than they were given after so long.
    overflowing: BTreeMap<String, u64>,
    /// Attempts of those, and after how long.
    may_overflow: BTreeMap<Place, u64>,
    /// From when on their containers take too much.
    overflows_from: BTreeMap<Place, u64>,
    /// Attempts whose worker has said that their containers run: it has heard of their start.
    heard_running: BTreeSet<Place>,
    grants: BTreeMap<Place, Grant>,
    started: BTreeSet<Place>,
    /// Those that the engine was asked to start, and that have not begun.
    beginning: BTreeSet<Place>,
    running: BTreeSet<Place>,
    ends: BTreeMap<Place, RawEnd>,
    /// What may be stopped, and why it may.
    to_stop: BTreeSet<Place>,
    /// Those that were stopped while the disk refused to take why.
    forgotten_stops: BTreeSet<Place>,
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

/// How a command that ended by itself ended, in the words of the contract.
fn exit_of(end: &RawEnd) -> Exit {
    let signal = i32::try_from(end.exit_code - 128).unwrap_or(0);
    match (end.oom_killed, signal) {
        (true, _) => Exit::OutOfMemory,
        (false, 1..=64) => Exit::Signalled(signal),
        (false, _) => Exit::Exited(i32::try_from(end.exit_code).unwrap_or(i32::MAX)),
    }
}

impl Containers {
    pub(super) fn new(plan: &Plan) -> Self {
        let faults = plan.items.iter().filter_map(|item| match &item.what {
            What::Fault(fault) => Some((item.at_ms, fault)),
            _ => None,
        });
        let begin = |kinds: &[FaultKind]| {
            let mut first = BTreeMap::new();
            for (at_ms, fault) in faults.clone() {
                if let Some(worker) = fault.worker.filter(|_| kinds.contains(&fault.kind)) {
                    let known = first.entry(worker).or_insert(at_ms);
                    *known = at_ms.min(*known);
                }
            }
            first
        };
        let engine_faults = [
            FaultKind::EngineAway,
            FaultKind::EngineStop,
            FaultKind::EngineErrors,
            FaultKind::MachineCrash,
            FaultKind::DiskErrors,
        ];
        let overflowing = plan.tasks().filter_map(|task| {
            let after_ms = task.does.overflows_after_ms?;
            Some((format!("t{}", task.task), after_ms))
        });
        Self {
            offers: plan
                .workers
                .iter()
                .map(crate::plan::Offer::capacity)
                .collect(),
            forgetful: begin(&[FaultKind::DiskErrors]),
            failing: begin(&engine_faults),
            overflowing: overflowing.collect(),
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
        let forgotten = by_stop && self.forgotten_stops.contains(&(*index, attempt.clone()));
        let known = end.cause == EndCause::Itself || forgotten;
        known && exit_of(end) == *exit
    }

    pub(super) fn see(&mut self, now_ms: u64, seen: &Seen<'_>) -> Result<(), Violation> {
        match seen {
            Seen::SentToWorker {
                worker,
                request:
                    ToWorker::Assign {
                        attempt,
                        grant,
                        spec,
                        ..
                    },
            } => {
                let place = (*worker, attempt.clone());
                if let Some(after_ms) = self.overflowing.get(&spec.name) {
                    self.may_overflow.insert(place.clone(), *after_ms);
                }
                self.grants.insert(place, grant.clone());
            }
            Seen::SentToMaster {
                worker,
                request:
                    ToMaster::Progress {
                        attempt,
                        phase: Phase::Running,
                        ..
                    },
            } => {
                self.heard_running.insert((*worker, attempt.clone()));
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
            Seen::WorkerStarts { worker, capacity } => self.offers[*worker] = **capacity,
            Seen::SpoolFlushed { worker, record } => {
                let place = (*worker, record.attempt().clone());
                let offer = self.offers[*worker];
                self.taken_under.entry(place).or_insert(offer);
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
                self.beginning.insert(place);
            }
            Seen::ContainerStarted { worker, attempt } => {
                return self.begins(now_ms, *worker, attempt);
            }
            Seen::ContainerStopAsked { worker, attempt } => {
                let place = (*worker, (*attempt).clone());
                if self
                    .forgetful
                    .get(worker)
                    .is_some_and(|at_ms| *at_ms <= now_ms)
                {
                    self.forgotten_stops.insert(place);
                }
                return self.may_stop(now_ms, *worker, attempt);
            }
            Seen::ContainerEnded {
                worker,
                attempt,
                end,
            } => return self.ended(now_ms, *worker, attempt, end),
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
        let all = self.running.iter().chain(&self.beginning);
        self.orphans.extend(all.filter(|it| there(it)).cloned());
    }

    fn forget_starts(&mut self, worker: usize) {
        let given = self.grants.keys().filter(|(at, _)| *at == worker);
        let given: Vec<_> = given.cloned().collect();
        self.forgotten.extend(given);
    }

    fn begins(&mut self, now_ms: u64, worker: usize, attempt: &AttemptId) -> Result<(), Violation> {
        let place = (worker, attempt.clone());
        self.beginning.remove(&place);
        if let Some(after_ms) = self.may_overflow.get(&place) {
            let from_ms = now_ms + after_ms;
            self.overflows_from.insert(place.clone(), from_ms);
        }
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
        let place = (worker, attempt.clone());
        let offer = &self.offers[worker];
        let grant = self.grants.get(&place).map(storage_apart);
        // Others may have been given to it since it offers more again.
        let mut offers = self.taken_under.get(&place).into_iter().chain([offer]);
        let fits = grant.is_none_or(|grant| offers.any(|it| sum.has_room_for(&grant, it)));
        ensure(fits, Kind::MachineOvercommitted, || {
            format!("with {attempt} w{worker} runs {sum:?} and has {offer:?}")
        })
    }

    /// Why a container may be stopped: somebody asked for it, it takes more disk than it was given, or
    /// its worker never heard of its start.
    fn may_stop(&self, now_ms: u64, worker: usize, attempt: &AttemptId) -> Result<(), Violation> {
        let place = (worker, attempt.clone());
        let begun = |from: Option<&u64>| from.is_some_and(|from_ms| *from_ms <= now_ms);
        let asked = self.to_stop.contains(&place);
        let overflows = begun(self.overflows_from.get(&place));
        let unheard = !self.heard_running.contains(&place) && begun(self.failing.get(&worker));
        ensure(asked || overflows || unheard, Kind::StoppedUnasked, || {
            format!("{attempt} on w{worker}")
        })
    }

    fn ended(
        &mut self,
        now_ms: u64,
        worker: usize,
        attempt: &AttemptId,
        end: &RawEnd,
    ) -> Result<(), Violation> {
        let place = (worker, attempt.clone());
        self.running.remove(&place);
        self.orphans.remove(&place);
        self.ends.insert(place, end.clone());
        match end.cause {
            EndCause::Removal => self.may_stop(now_ms, worker, attempt),
            EndCause::Itself | EndCause::Stop | EndCause::Machine => Ok(()),
        }
    }
}
