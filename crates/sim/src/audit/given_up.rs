//! An attempt is given up for a reason that came over the wire, or for its worker's silence: a
//! running container survives whatever becomes of master and network, and a machine that is only
//! slow to answer is not taken for a dead one.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_core::Heartbeat;
use cloudai_model::{
    AttemptId, Exit, TaskId, WorkerId,
    record::{AssignmentRecord, Record, TaskState},
};

use super::{
    Seen,
    ledger::Ledger,
    violation::{Kind, Violation, ensure},
};
use crate::{
    network::CallError,
    plan::Plan,
    wire::{FromMaster, FromWorker, ToMaster, ToWorker},
};

/// The contract's silence after which tasks count as lost.
const LOST_AFTER_MS: u64 = 30_000;
/// A master that stood still for so long has heard nobody meanwhile, and holds it against nobody.
const FORGIVEN_AFTER_MS: u64 = 3_000;
/// The same of a store that kept everybody waiting: the first second of it is none.
const FORGIVEN_AFTER_COMMIT_MS: u64 = 4_500;
/// After so many failures of machines under it a task is given up.
const MACHINE_FAILURE_LIMIT: usize = 5;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    /// Attempts of which something has come that ends them, with where it came from.
    may_end: BTreeSet<(usize, AttemptId)>,
    /// Attempts that were sent, each to its worker.
    sent: BTreeSet<(usize, AttemptId)>,
    /// Those of them whose worker has lost its disk since.
    forgotten: BTreeSet<(usize, AttemptId)>,
    /// When each worker was last heard and let in.
    heard: BTreeMap<usize, u64>,
    /// No silence counts before.
    since_ms: u64,
    stands_still_since: Option<u64>,
    commits_since: Option<u64>,
    /// Taken out of the cluster, and not in the store yet.
    removed: BTreeSet<WorkerId>,
    /// The last report of each attempt, and of which worker: whether a machine failed under it.
    interrupted: BTreeMap<(usize, AttemptId), Interruption>,
    /// Attempts that have ended, and whether a machine failed under them.
    failures: BTreeMap<AttemptId, Interruption>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interruption {
    None,
    Perhaps,
    Surely,
}

impl GivenUp {
    pub(super) fn see(
        &mut self,
        ledger: &Ledger,
        now_ms: u64,
        seen: &Seen<'_>,
    ) -> Result<(), Violation> {
        match seen {
            Seen::Decided(record) => return self.decided(ledger, now_ms, record),
            Seen::ArrivedAtMaster { worker, request } => self.arrived(ledger, *worker, request),
            Seen::AnsweredByMaster {
                worker,
                answer: FromMaster::Welcome { .. } | FromMaster::HeartbeatTaken { .. },
                arrived_ms,
                ..
            } => {
                let heard = self.heard.entry(*worker).or_default();
                *heard = (*heard).max(*arrived_ms);
            }
            Seen::HeardFromWorker {
                worker,
                request,
                answer,
            } => self.heard_from(*worker, request, answer),
            Seen::SentToWorker {
                worker,
                request: ToWorker::Assign { attempt, .. },
            } => {
                self.sent.insert((*worker, attempt.clone()));
            }
            Seen::DiskLost { worker } => {
                let there = self.sent.iter().filter(|(at, _)| at == worker);
                self.forgotten.extend(there.cloned());
            }
            Seen::MasterGone => self.forget(ledger),
            Seen::MasterReady => self.since_ms = now_ms,
            Seen::MasterStandsStill => self.stands_still_since = Some(now_ms),
            Seen::MasterGoesOn => {
                let since = self.stands_still_since.take();
                self.forgive(now_ms, since, FORGIVEN_AFTER_MS);
            }
            Seen::CommitBegins => self.commits_since = Some(now_ms),
            Seen::CommitIsOver => {
                let since = self.commits_since.take();
                self.forgive(now_ms, since, FORGIVEN_AFTER_COMMIT_MS);
            }
            _ => {}
        }
        Ok(())
    }

    fn forgive(&mut self, now_ms: u64, since: Option<u64>, after_ms: u64) {
        if since.is_some_and(|since| now_ms - since > after_ms) {
            self.since_ms = now_ms;
        }
    }

    /// What a master knew is gone with it, but for what it wrote down.
    fn forget(&mut self, ledger: &Ledger) {
        self.may_end.clear();
        self.stands_still_since = None;
        self.commits_since = None;
        self.removed.clear();
        self.failures
            .retain(|attempt, _| ledger.live(attempt).is_none());
    }

    fn arrived(&mut self, ledger: &Ledger, worker: usize, request: &ToMaster) {
        match request {
            ToMaster::Report { report, .. } => {
                let place = (worker, report.attempt.clone());
                let interruption = match (&report.end.exit, report.end.started_at) {
                    (Exit::Interrupted(_), _) if report.in_order => Interruption::None,
                    (Exit::Interrupted(_), Some(_)) => Interruption::Surely,
                    (Exit::Interrupted(_), None) => Interruption::Perhaps,
                    _ => Interruption::None,
                };
                self.interrupted.insert(place.clone(), interruption);
                self.may_end.insert(place);
            }
            ToMaster::Heartbeat(heartbeat) => self.compare(ledger, worker, heartbeat),
            ToMaster::Hello(_) | ToMaster::Progress { .. } | ToMaster::Upload { .. } => {}
        }
    }

    /// What a heartbeat lacks that its worker was told of, or lost with its disk.
    fn compare(&mut self, ledger: &Ledger, worker: usize, heartbeat: &Heartbeat) {
        let open = ledger.open.get(&heartbeat.worker).into_iter().flatten();
        let held = |attempt: &AttemptId| heartbeat.held.iter().any(|held| held.attempt == *attempt);
        for attempt in open.filter(|attempt| !held(attempt)) {
            let Some(known) = ledger.assignments.get(attempt) else {
                continue;
            };
            let place = (worker, attempt.clone());
            let told = heartbeat.last_sequence.unwrap_or(0) >= known.sequence;
            if told || self.forgotten.contains(&place) {
                self.may_end.insert(place);
            }
        }
    }

    fn heard_from(
        &mut self,
        worker: usize,
        request: &ToWorker,
        answer: &Result<FromWorker, CallError>,
    ) {
        let ends = match (request, answer) {
            (ToWorker::Assign { .. }, Ok(FromWorker::Refused(_))) => true,
            // Nothing was sent.
            (ToWorker::Assign { .. }, Err(CallError::NotConnected(_))) => true,
            (ToWorker::Cancel { .. }, Ok(FromWorker::NotHeld)) => true,
            _ => false,
        };
        if let Some(attempt) = request.attempt().filter(|_| ends) {
            self.may_end.insert((worker, attempt.clone()));
        }
    }

    fn decided(&mut self, ledger: &Ledger, now_ms: u64, record: &Record) -> Result<(), Violation> {
        match record {
            Record::WorkerRemoved(worker) => {
                self.removed.insert(worker.clone());
            }
            Record::Worker(worker) => {
                self.removed.remove(&worker.worker);
            }
            Record::Assignment(assignment) if assignment.ended.is_some() => {
                return self.ends(ledger, now_ms, assignment);
            }
            Record::TaskChanged(task, state) => return self.check_limit(task, state),
            _ => {}
        }
        Ok(())
    }

    fn ends(
        &mut self,
        ledger: &Ledger,
        now_ms: u64,
        assignment: &AssignmentRecord,
    ) -> Result<(), Violation> {
        let (attempt, worker) = (&assignment.attempt, &assignment.worker);
        let Some(index) = Plan::worker_index(worker.as_str()) else {
            return Ok(());
        };
        let place = (index, attempt.clone());
        let since_ms = self
            .since_ms
            .max(self.heard.get(&index).copied().unwrap_or(0));
        let silent_ms = now_ms - since_ms;
        let told = self.may_end.contains(&place);
        let gone = self.removed.contains(worker) || !ledger.workers.contains_key(worker);
        let lost = silent_ms >= LOST_AFTER_MS;
        ensure(told || gone || lost, Kind::GivenUpUnduly, || {
            let how = assignment.ended.as_ref().map_or("", |(_, how)| how);
            format!("{attempt} on {worker}, which is silent for {silent_ms} ms: {how}")
        })?;
        let task = ledger.tasks.get(&attempt.task);
        let timed_out = task.is_some_and(|task| task.state.time_out.is_some());
        let failure = match self.interrupted.get(&place) {
            // It is retried for its time-out.
            Some(Interruption::Surely) if timed_out => Interruption::Perhaps,
            Some(failure) => *failure,
            None => Interruption::Perhaps,
        };
        self.failures.insert(attempt.clone(), failure);
        Ok(())
    }

    fn failures(&self, task: &TaskId, counts: impl Fn(Interruption) -> bool) -> usize {
        let of_task = AttemptId::new(task.clone(), 0)..=AttemptId::new(task.clone(), u32::MAX);
        let of_task = self.failures.range(of_task);
        of_task.filter(|(_, failure)| counts(**failure)).count()
    }

    /// A task under which too many machines failed is not tried on another.
    fn check_limit(&self, task: &TaskId, state: &TaskState) -> Result<(), Violation> {
        let sure = self.failures(task, |failure| failure == Interruption::Surely);
        let goes_on = !state.status.is_final() && !state.cancel_requested;
        let most = MACHINE_FAILURE_LIMIT;
        ensure(!goes_on || sure < most, Kind::MachineLimitPassed, || {
            format!(
                "{task} is {} after {sure} machines failed under it",
                state.status
            )
        })
    }

    /// Whether so many machines may have failed under a task that it is given up.
    pub(super) fn may_give_up(&self, task: &TaskId) -> bool {
        self.failures(task, |failure| failure != Interruption::None) >= MACHINE_FAILURE_LIMIT
    }
}
