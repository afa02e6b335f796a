//! One ending: what a task's end says is what happened, of its last attempt, and for a reason.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_model::{
    AttemptId, AttemptReport, Exit, Failure, TaskId, TaskStatus,
    record::{AssignmentRecord, Record, ResultRecord, TaskState},
};

use super::{
    Seen,
    containers::Containers,
    given_up::GivenUp,
    ledger::Ledger,
    violation::{Kind, Violation, ensure},
};
use crate::{plan::Plan, wire::ToMaster};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Endings {
    cancels_asked: BTreeSet<TaskId>,
    /// What arrived of each attempt, by worker.
    reports: BTreeMap<AttemptId, Vec<(usize, AttemptReport)>>,
    /// The names of tasks that leave files.
    leave_files: BTreeSet<String>,
    /// Attempts whose files are in the store.
    files: BTreeSet<AttemptId>,
}

impl Endings {
    pub(super) fn new(plan: &Plan) -> Self {
        let leave_files = plan.tasks().filter(|task| task.does.leaves_files);
        Self {
            leave_files: leave_files.map(|task| format!("t{}", task.task)).collect(),
            ..Self::default()
        }
    }

    pub(super) fn take_in(&mut self, record: &Record) {
        if let Record::Files(files) = record {
            self.files.insert(files.attempt.clone());
        }
    }

    pub(super) fn see(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::CancelAsked(task) => drop(self.cancels_asked.insert((*task).clone())),
            Seen::ArrivedAtMaster {
                worker,
                request: ToMaster::Report { report, .. },
            } => {
                let of = self.reports.entry(report.attempt.clone()).or_default();
                of.push((*worker, AttemptReport::clone(report)));
            }
            _ => {}
        }
    }

    pub(super) fn check(
        &self,
        ledger: &Ledger,
        containers: &Containers,
        given_up: &GivenUp,
        record: &Record,
    ) -> Result<(), Violation> {
        match record {
            Record::TaskChanged(task, state) => self.check_change(ledger, task, state),
            Record::Assignment(assignment) if assignment.ended.is_none() => {
                check_assignment(ledger, assignment)
            }
            Record::Result(result) => self.check_result(ledger, containers, given_up, result),
            _ => Ok(()),
        }
    }

    fn check_change(
        &self,
        ledger: &Ledger,
        task: &TaskId,
        state: &TaskState,
    ) -> Result<(), Violation> {
        let cancelled = state.cancel_requested || state.status == TaskStatus::Cancelled;
        let asked = self.cancels_asked.contains(task);
        ensure(!cancelled || asked, Kind::CancelledUnasked, || {
            task.to_string()
        })?;
        let Some(known) = ledger.tasks.get(task) else {
            return Ok(());
        };
        if state.failures == known.state.failures {
            return Ok(());
        }
        let attempt = AttemptId::new(task.clone(), known.state.attempt);
        let own = |report: &(usize, AttemptReport)| is_own_failure(&report.1.end.exit);
        let reported = self.reports.get(&attempt).into_iter().flatten().any(own);
        let by_one = state.failures == known.state.failures + 1;
        let owed = reported || known.state.time_out.is_some();
        let left = state.failures <= known.spec.max_retries;
        ensure(by_one && owed && left, Kind::RetryNotOwed, || {
            let (now, most) = (state.failures, known.spec.max_retries);
            format!("{now} of {most} after {attempt}: own failure reported: {owed}")
        })
    }

    fn check_result(
        &self,
        ledger: &Ledger,
        containers: &Containers,
        given_up: &GivenUp,
        result: &ResultRecord,
    ) -> Result<(), Violation> {
        let (attempt, task) = (&result.attempt, &result.attempt.task);
        let Some(known) = ledger.tasks.get(task) else {
            return Ok(());
        };
        let last = known.state.attempt;
        ensure(attempt.number == last, Kind::SupersededCounted, || {
            format!("{attempt} gives the result and {last} is the last attempt")
        })?;
        if let Some(end) = &result.end {
            let of = self.reports.get(attempt).into_iter().flatten();
            let name = result.worker.as_ref().map(ToString::to_string);
            let reported = of.into_iter().any(|(worker, report)| {
                let by = Plan::worker_name(*worker);
                Some(by) == name && report.end == *end
            });
            ensure(reported, Kind::SupersededCounted, || {
                format!("{attempt} ended by {}, which {name:?} never said", end.exit)
            })?;
            check_truth(containers, result, &end.exit)?;
        }
        let exit = result.end.as_ref().map(|end| &end.exit);
        match result.status {
            TaskStatus::Completed => {
                let success = exit.is_some_and(Exit::is_success);
                ensure(success, Kind::WrongResult, || {
                    format!("{attempt} is completed by {exit:?}")
                })?;
                let leaves = self.leave_files.contains(&known.spec.name);
                let said = leaves && result.files.is_complete();
                ensure(
                    !said || self.files.contains(attempt),
                    Kind::FilesLost,
                    || format!("{attempt} is completed with files that are not here"),
                )
            }
            TaskStatus::Failed => check_failure(ledger, given_up, result, exit),
            _ => Ok(()),
        }
    }
}

/// Whether a task itself is to blame.
fn is_own_failure(exit: &Exit) -> bool {
    match exit {
        Exit::Exited(code) => *code != 0,
        Exit::Signalled(_) | Exit::OutOfMemory | Exit::NotStarted(_) | Exit::Stopped(_) => true,
        Exit::Cancelled | Exit::Interrupted(_) => false,
    }
}

fn check_assignment(ledger: &Ledger, assignment: &AssignmentRecord) -> Result<(), Violation> {
    let task = &assignment.attempt.task;
    let cancelled = ledger.tasks.get(task);
    let cancelled = cancelled.is_some_and(|task| task.state.cancel_requested);
    ensure(!cancelled, Kind::AssignedAfterCancel, || {
        assignment.attempt.to_string()
    })
}

/// What a container that ended by itself did is what the result says.
fn check_truth(
    containers: &Containers,
    result: &ResultRecord,
    exit: &Exit,
) -> Result<(), Violation> {
    if !matches!(
        exit,
        Exit::Exited(_) | Exit::Signalled(_) | Exit::OutOfMemory
    ) {
        return Ok(());
    }
    let attempt = &result.attempt;
    let worker = result.worker.as_ref().map(ToString::to_string);
    let told = worker.is_some_and(|worker| containers.ended_so(&worker, attempt, exit));
    ensure(told, Kind::WrongResult, || {
        format!("{attempt} is said to have ended: {exit}, and did not")
    })
}

fn check_failure(
    ledger: &Ledger,
    given_up: &GivenUp,
    result: &ResultRecord,
    exit: Option<&Exit>,
) -> Result<(), Violation> {
    let Some(known) = ledger.tasks.get(&result.attempt.task) else {
        return Ok(());
    };
    let state = &known.state;
    let own = exit.filter(|exit| is_own_failure(exit));
    // That it was time for a time-out, `time_outs.rs` has checked.
    let given_up = given_up.may_give_up(&result.attempt.task);
    let cause = own.is_some() || state.time_out.is_some() || given_up;
    ensure(cause, Kind::FailedWithoutCause, || {
        format!("{}: {}", result.attempt, result.reason)
    })?;
    let Some(exit) = own.filter(|_| state.time_out.is_none()) else {
        return Ok(());
    };
    let stopped = matches!(exit, Exit::Signalled(9 | 15)) && state.cancel_requested;
    ensure(!stopped, Kind::StopTakenForFailure, || {
        format!("{}: {exit}", result.attempt)
    })?;
    let left = state.failures < known.spec.max_retries && !state.cancel_requested;
    let retried = left && known.spec.retry_on.counts(Failure::Ended(exit));
    ensure(!retried, Kind::RetryNotTaken, || {
        let (taken, most) = (state.failures, known.spec.max_retries);
        format!(
            "{}: {exit}, {taken} of {most} retries taken",
            result.attempt
        )
    })
}
