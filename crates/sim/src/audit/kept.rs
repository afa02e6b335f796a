//! Accepted means kept, and nothing is said or sent before it is in the store.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_core::{CancelOutcome, Reported};
use cloudai_model::{AttemptId, Phase, TaskId, TaskStatus, WorkerId, record::Record};

use super::{
    Seen, Told,
    ledger::Ledger,
    promises::Promises,
    violation::{Kind, Violation, ensure},
};
use crate::{
    plan::Plan,
    wire::{FromMaster, ToMaster, ToWorker},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kept {
    answered: BTreeSet<TaskId>,
    /// When workers were taken out of the cluster.
    removed_ms: BTreeMap<WorkerId, u64>,
    /// Whether the master's core knows that its disk is full.
    disk_is_full: bool,
}

impl Kept {
    pub(super) fn see(
        &mut self,
        ledger: &Ledger,
        promises: &Promises,
        seen: &Seen<'_>,
    ) -> Result<(), Violation> {
        match seen {
            Seen::SentToWorker { worker, request } => sent(ledger, *worker, request),
            Seen::AnsweredByMaster {
                worker,
                request,
                answer,
                arrived_ms,
            } => {
                self.check_let_in(ledger, *worker, *arrived_ms, answer)?;
                answered(ledger, *worker, request, answer)
            }
            Seen::DiskIsFull(is_full) => {
                self.disk_is_full = *is_full;
                Ok(())
            }
            Seen::MasterGone => {
                self.disk_is_full = false;
                Ok(())
            }
            Seen::Decided(record) => self.decided(record),
            Seen::UserTold(told) => self.told(ledger, promises, told),
            _ => Ok(()),
        }
    }

    pub(super) fn take_in(&mut self, now_ms: u64, record: &Record) {
        if let Record::WorkerRemoved(worker) = record {
            self.removed_ms.insert(worker.clone(), now_ms);
        }
    }

    /// Who is welcomed is registered, or was when its call came.
    fn check_let_in(
        &self,
        ledger: &Ledger,
        worker: usize,
        arrived_ms: u64,
        answer: &FromMaster,
    ) -> Result<(), Violation> {
        let let_in = matches!(
            answer,
            FromMaster::Welcome { .. } | FromMaster::HeartbeatTaken { .. }
        );
        let name = Plan::worker_name(worker);
        let registered = ledger.workers.keys().any(|id| id.as_str() == name);
        let mut removed = self.removed_ms.iter();
        let removed = removed.find(|(id, _)| id.as_str() == name);
        let was = removed.is_some_and(|(_, at_ms)| *at_ms >= arrived_ms);
        ensure(!let_in || registered || was, Kind::StrangerLetIn, || {
            format!("{name}, which is not registered: {answer:?}")
        })
    }

    /// With a full disk no new task is taken, and none is placed.
    fn decided(&self, record: &Record) -> Result<(), Violation> {
        let new = match record {
            Record::TaskAdded(task) => Some(task.task.to_string()),
            Record::Assignment(given) if given.ended.is_none() => Some(given.attempt.to_string()),
            _ => None,
        };
        match new.filter(|_| self.disk_is_full) {
            Some(what) => Err(Violation::new(Kind::TakenWhileFull, what)),
            None => Ok(()),
        }
    }

    fn told(&mut self, ledger: &Ledger, promises: &Promises, told: &Told) -> Result<(), Violation> {
        let untrue = || format!("{told:?}");
        match told {
            Told::Submitted(task) => {
                let kept = ledger.tasks.contains_key(task);
                ensure(kept, Kind::SubmitLost, || task.to_string())?;
                let new = self.answered.insert(task.clone());
                ensure(new, Kind::IdGivenTwice, || task.to_string())
            }
            Told::Cancelled(task, outcome) => {
                let Some(known) = ledger.tasks.get(task) else {
                    return Err(Violation::new(Kind::SubmitLost, task.to_string()));
                };
                let state = &known.state;
                let holds = match outcome {
                    CancelOutcome::Cancelled => state.status == TaskStatus::Cancelled,
                    CancelOutcome::Stopping(_) => state.cancel_requested || state.status.is_final(),
                    // Its container has ended by itself: its worker has said so.
                    CancelOutcome::AlreadyEnded => {
                        let last = AttemptId::new(task.clone(), state.attempt);
                        state.status.is_final() || promises.has_exited(&last)
                    }
                };
                ensure(holds, Kind::AnswerNotTrue, untrue)
            }
            Told::IsFinal(task) => {
                let known = ledger.tasks.get(task);
                let is_final = known.is_some_and(|task| task.state.status.is_final());
                ensure(is_final, Kind::AnswerNotTrue, untrue)
            }
            Told::Changed(task, change) => {
                let said = (task.clone(), change.clone());
                ensure(
                    ledger.spec_changes.contains(&said),
                    Kind::AnswerNotTrue,
                    untrue,
                )
            }
            // It may have been changed again before the answer was heard, as may a task.
            Told::Registered(worker) => {
                let said = |draining| ledger.said_of_workers.contains(&(worker.clone(), draining));
                let holds = said(Some(false)) || said(Some(true));
                ensure(holds, Kind::AnswerNotTrue, untrue)
            }
            Told::Unregistered(worker) => {
                let said = ledger.said_of_workers.contains(&(worker.clone(), None));
                ensure(said, Kind::AnswerNotTrue, untrue)
            }
            // What it means for what is placed is watched where that is.
            Told::Limited(..) => Ok(()),
            Told::Drained(worker, draining) => {
                let said = (worker.clone(), Some(*draining));
                let holds = ledger.said_of_workers.contains(&said);
                ensure(holds, Kind::AnswerNotTrue, untrue)
            }
        }
    }
}

fn sent(ledger: &Ledger, worker: usize, request: &ToWorker) -> Result<(), Violation> {
    let name = Plan::worker_name(worker);
    match request {
        ToWorker::Invite => Ok(()),
        ToWorker::Assign {
            attempt,
            sequence,
            grant,
            ..
        } => {
            let known = ledger.assignments.get(attempt);
            let stored = known.is_some_and(|known| {
                known.worker.as_str() == name
                    && known.sequence == *sequence
                    && known.grant == *grant
            });
            ensure(stored, Kind::SentBeforePersisted, || {
                format!("{attempt} to {name}; stored: {known:?}")
            })
        }
        ToWorker::Cancel { attempt, .. } => {
            let live = ledger.live(attempt);
            if live.is_none_or(|live| live.worker.as_str() != name) {
                return Ok(());
            }
            let task = ledger.tasks.get(&attempt.task);
            let said = task.is_some_and(|task| {
                let state = &task.state;
                let stopping = state.phase == Phase::Cancelling;
                stopping || state.cancel_requested || state.time_out.is_some()
            });
            ensure(said, Kind::StopBeforePersisted, || {
                format!(
                    "{attempt} on {name}; in the store: {:?}",
                    task.map(|it| &it.state)
                )
            })
        }
    }
}

fn answered(
    ledger: &Ledger,
    worker: usize,
    request: &ToMaster,
    answer: &FromMaster,
) -> Result<(), Violation> {
    let name = Plan::worker_name(worker);
    let (Some(attempt), FromMaster::Heard(reported)) = (request.attempt(), answer) else {
        return Ok(());
    };
    let live = ledger.live(attempt);
    let is_live = live.is_some_and(|live| live.worker.as_str() == name);
    let is_report = matches!(request, ToMaster::Report { .. });
    match reported {
        Reported::Live | Reported::Ended if is_report => {
            ensure(!is_live, Kind::TakenBeforePersisted, || {
                format!("{attempt} of {name}")
            })
        }
        Reported::Live | Reported::Ended => Ok(()),
        Reported::Superseded => ensure(!is_live, Kind::LiveRefused, || {
            format!("{} of {attempt} on {name}", request.kind())
        }),
    }
}
