//! No machine is promised twice: the sum of what is given to a worker fits into what it offers, in
//! each resource and on each device, and is given to the right worker.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_core::Hello;
use cloudai_model::{
    AttemptId, Capacity, Grant, Phase, WorkerId,
    record::{AssignmentRecord, Record},
    resources::WHOLE_DEVICE,
};

use super::{
    Seen,
    ledger::Ledger,
    violation::{Kind, Violation, ensure},
};
use crate::{
    plan::Plan,
    wire::{FromMaster, ToMaster},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Attempts whose container has ended, as far as the master was told: they need no compute.
    exited: BTreeSet<AttemptId>,
    offers: BTreeMap<usize, Offered>,
}

/// What a worker offers, as far as it has said so.
#[derive(Debug, Default)]
struct Offered {
    /// The last hello that was welcomed: of which start of its program, and what it offered.
    welcomed: Option<Hello>,
    /// Those that have come since and have no answer yet.
    since: Vec<Hello>,
}

impl Promises {
    pub(super) fn see(&mut self, ledger: &Ledger, seen: &Seen<'_>) -> Result<(), Violation> {
        match seen {
            Seen::ArrivedAtMaster { worker, request } => {
                if let ToMaster::Hello(hello) = request {
                    let offered = self.offers.entry(*worker).or_default();
                    offered.since.push(hello.clone());
                }
                self.arrived(ledger, request);
                Ok(())
            }
            Seen::AnsweredByMaster {
                worker,
                request,
                answer,
                ..
            } => self.answered(*worker, request, answer),
            _ => Ok(()),
        }
    }

    fn answered(
        &mut self,
        worker: usize,
        request: &ToMaster,
        answer: &FromMaster,
    ) -> Result<(), Violation> {
        let offered = self.offers.entry(worker).or_default();
        match (request, answer) {
            (ToMaster::Hello(hello), FromMaster::Welcome { .. }) => {
                let this = offered.since.iter().position(|known| known == hello);
                if let Some(this) = this {
                    offered.since.drain(..=this);
                }
                offered.welcomed = Some(hello.clone());
                Ok(())
            }
            (
                ToMaster::Heartbeat(heartbeat),
                FromMaster::HeartbeatTaken {
                    register_again: false,
                },
            ) => {
                let known = offered.welcomed.as_ref();
                let known = known.and_then(|hello| hello.incarnation.as_ref());
                let this = heartbeat.incarnation.as_ref();
                ensure(known == this, Kind::OldOfferKept, || {
                    format!("w{worker} is {this:?}, and was welcomed as {known:?}")
                })
            }
            _ => Ok(()),
        }
    }

    fn arrived(&mut self, ledger: &Ledger, request: &ToMaster) {
        let is_over = |phase: Phase| matches!(phase, Phase::Uploading | Phase::Done);
        match request {
            ToMaster::Progress { attempt, phase, .. } if is_over(*phase) => {
                self.exited.insert(attempt.clone());
            }
            ToMaster::Heartbeat(heartbeat) => {
                let over = heartbeat.held.iter().filter(|held| is_over(held.phase));
                self.exited.extend(over.map(|held| held.attempt.clone()));
            }
            _ => {}
        }
        if self.exited.len() > 1000 {
            self.exited.retain(|attempt| ledger.live(attempt).is_some());
        }
    }

    /// Whether the master was told that an attempt's container has ended.
    pub(super) fn has_exited(&self, attempt: &AttemptId) -> bool {
        self.exited.contains(attempt)
    }

    pub(super) fn check(&self, ledger: &Ledger, record: &Record) -> Result<(), Violation> {
        match record {
            Record::Assignment(assignment) if assignment.ended.is_none() => {
                self.check_assignment(ledger, assignment)
            }
            _ => Ok(()),
        }
    }

    fn check_assignment(
        &self,
        ledger: &Ledger,
        assignment: &AssignmentRecord,
    ) -> Result<(), Violation> {
        let (attempt, worker) = (&assignment.attempt, &assignment.worker);
        let wrong = |why: &str| Violation::new(Kind::WrongWorker, format!("{attempt}: {why}"));
        let Some(known) = ledger.workers.get(worker) else {
            return Err(wrong("its worker is not registered"));
        };
        if known.draining {
            return Err(wrong("its worker drains"));
        }
        let target = ledger
            .tasks
            .get(&attempt.task)
            .map(|task| &task.spec.target);
        if target.is_some_and(|target| target.as_ref().is_some_and(|target| target != worker)) {
            return Err(wrong("its task names another worker"));
        }
        let offered = Plan::worker_index(worker.as_str()).and_then(|index| self.offers.get(&index));
        let Some(offered) = offered else {
            return Err(wrong("its worker was never seen"));
        };
        let mut taken = Sum::default();
        taken.add(&assignment.grant);
        for open in self.open(ledger, worker) {
            taken.add(&open);
        }
        let mut offers = offered.welcomed.iter().chain(&offered.since);
        let fits = offers.any(|hello| taken.has_room_for(&assignment.grant, &hello.capacity));
        ensure(fits, Kind::Oversubscribed, || {
            let offers = offered.welcomed.as_ref().map(|hello| hello.capacity);
            format!("with {attempt} {worker} is to hold {taken:?} and offers {offers:?}")
        })
    }

    fn open<'a>(
        &'a self,
        ledger: &'a Ledger,
        worker: &WorkerId,
    ) -> impl Iterator<Item = Grant> + 'a {
        let open = ledger.open.get(worker).into_iter().flatten();
        open.filter_map(|attempt| {
            let grant = &ledger.assignments.get(attempt)?.grant;
            Some(match self.exited.contains(attempt) {
                true => grant.without_compute(),
                false => grant.clone(),
            })
        })
    }
}

/// A sum of grants.
#[derive(Debug, Default)]
pub(super) struct Sum {
    cpu_milli: u64,
    memory_bytes: u64,
    storage_bytes: u64,
    devices: BTreeMap<u16, u32>,
}

impl Sum {
    pub(super) fn add(&mut self, grant: &Grant) {
        self.cpu_milli += grant.cpu_milli;
        self.memory_bytes += grant.memory_bytes;
        self.storage_bytes += grant.storage_bytes;
        for share in &grant.devices {
            *self.devices.entry(share.device).or_default() += u32::from(share.milli);
        }
    }

    /// Whether this sum, of which `last` is a part, fits into the capacity in all that `last` takes.
    /// A worker that came back smaller may hold more than it offers of what `last` doesn't want.
    pub(super) fn has_room_for(&self, last: &Grant, capacity: &Capacity) -> bool {
        let taken = |device: u16| self.devices.get(&device).copied().unwrap_or(0);
        let fits = |wanted: u64, sum: u64, whole: u64| wanted == 0 || sum <= whole;
        fits(last.cpu_milli, self.cpu_milli, capacity.cpu_milli)
            && fits(last.memory_bytes, self.memory_bytes, capacity.memory_bytes)
            && fits(
                last.storage_bytes,
                self.storage_bytes,
                capacity.storage_bytes,
            )
            && last
                .devices
                .iter()
                .all(|share| share.device < capacity.gpus && taken(share.device) <= WHOLE_DEVICE)
    }
}
