//! Limits hold: what may take only so long, in the queue, over its pull or running, is ended then. It
//! is not ended sooner, and what has no limit is not ended at all.
//!
//! How long something took is reckoned here from what a core said and heard, by the simulated time:
//! no core's own reckoning counts.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_model::{
    AttemptId, Phase, TaskId, TaskSpec, TaskStatus, TimeOut,
    record::{Record, TaskState},
};

use super::{
    Seen,
    ledger::Ledger,
    violation::{Kind, Violation, ensure},
};
use crate::{
    plan::{FaultKind, Plan, What},
    wire::ToMaster,
};

/// A tick, and what is rounded.
const NOTICED_WITHIN_MS: u64 = 2_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct TimeOuts {
    /// From when on a wall clock may be off: what a start finds written down may be wrong by that.
    clocks_off_from: Option<u64>,
    /// When the master was ready last.
    ready_ms: u64,
    /// From when on the master could notice.
    noticing_since: u64,
    tasks: BTreeMap<TaskId, Timed>,
    /// Attempts of which it was heard that they are beyond this phase.
    pulled: BTreeSet<AttemptId>,
    exited: BTreeSet<AttemptId>,
    /// When their containers began to run.
    containers: BTreeMap<AttemptId, u64>,
}

/// A task, as the master that runs has it.
#[derive(Debug)]
struct Timed {
    spec: TaskSpec,
    /// When its limits last changed.
    changed_ms: u64,
    state: TaskState,
    submitted_ms: u64,
    /// When it came into the queue last.
    queued_ms: u64,
    /// When its last attempt was given to a worker.
    given_ms: u64,
    /// When it was first heard that this is being pulled.
    pulling: Option<(AttemptId, u64)>,
    /// When it was heard that the last attempt runs, by the master that runs.
    running_ms: u64,
    /// Whether any container of it may have run, as far as the master was told.
    ran: bool,
    /// Whether the master has said that one ran.
    began: bool,
}

impl Timed {
    fn last(&self, task: &TaskId) -> AttemptId {
        AttemptId::new(task.clone(), self.state.attempt)
    }
}

impl TimeOuts {
    pub(super) fn new(plan: &Plan) -> Self {
        let clocks = plan.items.iter().filter(
            |item| matches!(&item.what, What::Fault(fault) if fault.kind == FaultKind::Clock),
        );
        Self {
            clocks_off_from: clocks.map(|item| item.at_ms).min(),
            ..Self::default()
        }
    }

    pub(super) fn see(
        &mut self,
        ledger: &Ledger,
        now_ms: u64,
        seen: &Seen<'_>,
    ) -> Result<(), Violation> {
        match seen {
            Seen::Decided(record) => return self.decided(now_ms, record),
            Seen::ArrivedAtMaster { request, .. } => self.arrived(now_ms, request),
            Seen::ContainerStarted { attempt, .. } => {
                let began = self.containers.entry((*attempt).clone());
                began.or_insert(now_ms);
            }
            Seen::MasterReady => self.begin_anew(ledger, now_ms),
            Seen::Second {
                master_troubled: true,
            } => self.noticing_since = now_ms,
            Seen::Second {
                master_troubled: false,
            } => {
                for (task, timed) in &self.tasks {
                    self.check_missed(now_ms, task, timed)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A master that starts knows what was written down.
    fn begin_anew(&mut self, ledger: &Ledger, now_ms: u64) {
        self.ready_ms = now_ms;
        self.noticing_since = now_ms;
        let mut before = std::mem::take(&mut self.tasks);
        for (id, task) in &ledger.tasks {
            if task.state.status.is_final() {
                continue;
            }
            let known = before.remove(id);
            let submitted_ms = known.as_ref().map_or(now_ms, |known| known.submitted_ms);
            let given_ms = known.as_ref().map_or(now_ms, |known| known.given_ms);
            let timed = Timed {
                spec: task.spec.clone(),
                changed_ms: now_ms,
                state: task.state.clone(),
                submitted_ms,
                queued_ms: now_ms,
                given_ms,
                pulling: None,
                running_ms: now_ms,
                ran: known.is_some_and(|known| known.ran),
                // What a master before it had heard, and never wrote down, this one doesn't know.
                began: task.state.first_started_at.is_some(),
            };
            if timed.state.status == TaskStatus::Running {
                self.pulled.insert(timed.last(id));
            }
            self.tasks.insert(id.clone(), timed);
        }
    }

    fn arrived(&mut self, now_ms: u64, request: &ToMaster) {
        match request {
            ToMaster::Progress { attempt, phase, .. } => self.heard(now_ms, attempt, *phase),
            ToMaster::Heartbeat(heartbeat) => {
                for held in &heartbeat.held {
                    self.heard(now_ms, &held.attempt, held.phase);
                }
            }
            ToMaster::Report { report, .. } => self.heard(now_ms, &report.attempt, Phase::Done),
            ToMaster::Hello(_) | ToMaster::Upload { .. } => {}
        }
    }

    fn heard(&mut self, now_ms: u64, attempt: &AttemptId, phase: Phase) {
        let over = matches!(phase, Phase::Uploading | Phase::Done);
        if over {
            self.exited.insert(attempt.clone());
        }
        if over || matches!(phase, Phase::Creating | Phase::Running) {
            self.pulled.insert(attempt.clone());
        }
        let Some(timed) = self.tasks.get_mut(&attempt.task) else {
            return;
        };
        timed.ran |= over || phase == Phase::Running;
        let known = timed.pulling.as_ref().map(|(of, _)| of);
        if phase == Phase::Pulling
            && known != Some(attempt)
            && timed.last(&attempt.task) == *attempt
        {
            timed.pulling = Some((attempt.clone(), now_ms));
        }
    }

    fn decided(&mut self, now_ms: u64, record: &Record) -> Result<(), Violation> {
        match record {
            Record::TaskAdded(task) => {
                let timed = Timed {
                    spec: task.spec.clone(),
                    changed_ms: now_ms,
                    state: task.state.clone(),
                    submitted_ms: now_ms,
                    queued_ms: now_ms,
                    given_ms: now_ms,
                    pulling: None,
                    running_ms: now_ms,
                    ran: false,
                    began: false,
                };
                self.tasks.insert(task.task.clone(), timed);
            }
            Record::SpecChanged(task, change) => {
                if let Some(timed) = self.tasks.get_mut(task) {
                    change.apply(&mut timed.spec);
                    timed.changed_ms = now_ms;
                }
            }
            Record::Assignment(assignment) if assignment.ended.is_none() => {
                if let Some(timed) = self.tasks.get_mut(&assignment.attempt.task) {
                    timed.given_ms = now_ms;
                }
            }
            Record::TaskChanged(task, state) => {
                self.check_change(now_ms, task, state)?;
                let Some(timed) = self.tasks.get_mut(task) else {
                    return Ok(());
                };
                let (from, to) = (timed.state.status, state.status);
                let same = timed.state.attempt == state.attempt;
                if to == TaskStatus::Running && (from != to || !same) {
                    timed.running_ms = now_ms;
                    timed.ran = true;
                    timed.began = true;
                }
                if to == TaskStatus::Queued && from != to {
                    timed.queued_ms = now_ms;
                }
                timed.state = state.clone();
            }
            _ => {}
        }
        Ok(())
    }

    /// A task is said to have timed out: whether it has.
    fn check_change(&self, now_ms: u64, task: &TaskId, state: &TaskState) -> Result<(), Violation> {
        let (Some(what), Some(timed)) = (state.time_out, self.tasks.get(task)) else {
            return Ok(());
        };
        let known = (timed.state.time_out, timed.state.attempt);
        if known == (Some(what), state.attempt) {
            return Ok(());
        }
        let (limit, took_ms) = match what {
            TimeOut::Run => (timed.spec.timeout, self.ran_ms(now_ms, task, timed)),
            TimeOut::Pull => (timed.spec.pull_timeout, self.pulled_ms(now_ms, timed)),
            TimeOut::Queue => {
                let waited_ms = now_ms - timed.submitted_ms;
                let never = !timed.began && timed.state.status == TaskStatus::Queued;
                let waited = self.reckoned(now_ms, timed.submitted_ms, waited_ms);
                (timed.spec.queue_timeout.filter(|_| never), waited)
            }
        };
        let limit_ms = limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let due = limit_ms.is_some_and(|limit_ms| took_ms.is_none_or(|took| took >= limit_ms));
        ensure(due, Kind::TimedOutUnduly, || {
            format!("{task}: {what:?} took {took_ms:?} ms and may take {limit_ms:?} ms")
        })
    }

    /// A span since `from_ms`; `None` if a start of the master may have reckoned another by a clock
    /// that was off.
    fn reckoned(&self, now_ms: u64, from_ms: u64, span_ms: u64) -> Option<u64> {
        let by_clock = from_ms < self.ready_ms;
        let off = self.clocks_off_from.is_some_and(|at_ms| at_ms <= now_ms);
        (!(by_clock && off)).then_some(span_ms)
    }

    fn ran_ms(&self, now_ms: u64, task: &TaskId, timed: &Timed) -> Option<u64> {
        let began_ms = self.containers.get(&timed.last(task));
        let heard_here = timed.running_ms > self.ready_ms;
        match (heard_here, began_ms) {
            (true, _) => Some(now_ms - timed.running_ms),
            (false, Some(began_ms)) => self.reckoned(now_ms, *began_ms, now_ms - began_ms),
            (false, None) => Some(0),
        }
    }

    fn pulled_ms(&self, now_ms: u64, timed: &Timed) -> Option<u64> {
        match &timed.pulling {
            Some((_, since_ms)) if timed.given_ms >= self.ready_ms => Some(now_ms - since_ms),
            Some(_) => self.reckoned(now_ms, timed.given_ms, now_ms - timed.given_ms),
            None => Some(0),
        }
    }

    /// A task whose time is over is stopped or ended, if its master can.
    fn check_missed(&self, now_ms: u64, task: &TaskId, timed: &Timed) -> Result<(), Violation> {
        let state = &timed.state;
        let ending = state.cancel_requested || state.time_out.is_some();
        if ending || state.phase == Phase::Cancelling {
            return Ok(());
        }
        let last = timed.last(task);
        let over = self.exited.contains(&last);
        let (what, limit, since_ms) = match state.status {
            TaskStatus::Queued if !timed.ran => {
                (TimeOut::Queue, timed.spec.queue_timeout, timed.submitted_ms)
            }
            TaskStatus::Running if !over => {
                let since_ms = timed.running_ms.max(timed.changed_ms);
                (TimeOut::Run, timed.spec.timeout, since_ms)
            }
            TaskStatus::Pending if !self.pulled.contains(&last) => match &timed.pulling {
                Some((of, since_ms)) if *of == last => {
                    (TimeOut::Pull, timed.spec.pull_timeout, *since_ms)
                }
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        let Some(limit) = limit else { return Ok(()) };
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let due_ms = since_ms.max(self.noticing_since).saturating_add(limit_ms);
        let due_ms = match state.status {
            TaskStatus::Queued => due_ms.max(timed.queued_ms),
            _ => due_ms,
        };
        let missed = now_ms > due_ms.saturating_add(NOTICED_WITHIN_MS);
        ensure(!missed, Kind::TimeOutMissed, || {
            let late_ms = now_ms - due_ms;
            format!("{task}: {what:?} may take {limit_ms} ms, which was over {late_ms} ms ago")
        })
    }
}
