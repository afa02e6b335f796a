//! What the store says, as the auditor keeps account of it; and that it is in step with itself:
//! statuses change as the table has it, attempts come one after the other, an end has its result.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_model::{
    AttemptId, TaskChange, TaskId, TaskStatus, WorkerId,
    record::{AssignmentRecord, Record, ResultRecord, TaskRecord, TaskState, WorkerRecord},
};

use super::violation::{Kind, Violation, ensure};

/// How a task's status may change: the auditor's own copy of the contract.
const STATUS_CHANGES: &[(TaskStatus, TaskStatus)] = {
    use TaskStatus as T;
    &[
        (T::Queued, T::Pending),
        (T::Queued, T::Failed),
        (T::Queued, T::Cancelled),
        (T::Pending, T::Running),
        (T::Pending, T::Queued),
        (T::Pending, T::Completed),
        (T::Pending, T::Failed),
        (T::Pending, T::Cancelled),
        (T::Running, T::Queued),
        (T::Running, T::Completed),
        (T::Running, T::Failed),
        (T::Running, T::Cancelled),
    ]
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) tasks: BTreeMap<TaskId, TaskRecord>,
    pub(super) assignments: BTreeMap<AttemptId, AssignmentRecord>,
    pub(super) workers: BTreeMap<WorkerId, WorkerRecord>,
    /// The attempts of each worker that have not ended.
    pub(super) open: BTreeMap<WorkerId, BTreeSet<AttemptId>>,
    pub(super) results: BTreeMap<TaskId, ResultRecord>,
    /// What was ever said of a worker: registered, or not, and whether it drains.
    pub(super) said_of_workers: BTreeSet<(WorkerId, Option<bool>)>,
    /// What was ever changed of tasks' specs.
    pub(super) spec_changes: Vec<(TaskId, TaskChange)>,
    pub(super) status_changes: BTreeSet<(TaskStatus, TaskStatus)>,
    epoch: u64,
    last_sequence: u64,
}

impl Ledger {
    /// The attempt, if it has not ended.
    pub(super) fn live(&self, attempt: &AttemptId) -> Option<&AssignmentRecord> {
        let known = self.assignments.get(attempt)?;
        known.ended.is_none().then_some(known)
    }

    pub(super) fn check(&self, record: &Record) -> Result<(), Violation> {
        match record {
            Record::Cluster(cluster) => ensure(
                cluster.epoch == self.epoch + 1,
                Kind::NumberOutOfStep,
                || format!("start {} of a master follows {}", cluster.epoch, self.epoch),
            ),
            Record::TaskAdded(task) => {
                let begins = matches!(task.state.status, TaskStatus::Queued | TaskStatus::Pending);
                ensure(begins, Kind::StatusLeap, || {
                    format!("{} begins {}", task.task, task.state.status)
                })?;
                let known = self.tasks.contains_key(&task.task);
                ensure(!known, Kind::IdGivenTwice, || task.task.to_string())
            }
            Record::TaskChanged(task, state) => self.check_change(task, state),
            Record::Assignment(assignment) => self.check_assignment(assignment),
            Record::Result(result) => {
                let task = &result.attempt.task;
                let first = !self.results.contains_key(task);
                ensure(first, Kind::SecondResult, || task.to_string())?;
                let status = self.tasks.get(task).map(|task| task.state.status);
                ensure(
                    status == Some(result.status),
                    Kind::EndWithoutResult,
                    || format!("{task} is {status:?} and has the result {}", result.status),
                )
            }
            _ => Ok(()),
        }
    }

    fn check_change(&self, task: &TaskId, state: &TaskState) -> Result<(), Violation> {
        let Some(known) = self.tasks.get(task) else {
            return Err(Violation::new(Kind::SubmitLost, task.to_string()));
        };
        let (from, to) = (known.state.status, state.status);
        ensure(!from.is_final(), Kind::ChangedAfterFinal, || {
            format!("{task} was {from} and becomes {to}")
        })?;
        let legal = from == to || STATUS_CHANGES.contains(&(from, to));
        ensure(legal, Kind::StatusLeap, || {
            format!("{task} was {from} and becomes {to}")
        })?;
        let rises = state.attempt >= known.state.attempt;
        ensure(rises, Kind::NumberOutOfStep, || {
            format!("{task} goes back to attempt {}", state.attempt)
        })
    }

    fn check_assignment(&self, assignment: &AssignmentRecord) -> Result<(), Violation> {
        let attempt = &assignment.attempt;
        if assignment.ended.is_some() {
            let was_open = self.live(attempt).is_some();
            return ensure(was_open, Kind::StatusOutOfStep, || {
                format!("{attempt} ends and was not open")
            });
        }
        let Some(task) = self.tasks.get(&attempt.task) else {
            return Err(Violation::new(Kind::SubmitLost, attempt.to_string()));
        };
        let others = AttemptId::new(attempt.task.clone(), 0)
            ..=AttemptId::new(attempt.task.clone(), u32::MAX);
        let mut others = self.assignments.range(others);
        let open = others.find(|(_, other)| other.ended.is_none());
        ensure(open.is_none(), Kind::TwoLiveAttempts, || {
            format!(
                "{attempt} begins while {:?} is open",
                open.map(|(id, _)| id)
            )
        })?;
        // A task that was placed at once is added with its first attempt.
        let before = task.state.attempt.min(attempt.number.saturating_sub(1));
        let known = self.assignments.contains_key(attempt);
        let next = before + 1 == attempt.number && !known;
        ensure(next, Kind::NumberOutOfStep, || {
            format!("{attempt} follows attempt {before}")
        })?;
        let rises = assignment.sequence > self.last_sequence;
        ensure(rises, Kind::NumberOutOfStep, || {
            let (number, last) = (assignment.sequence, self.last_sequence);
            format!("assignment {number} of {attempt} follows {last}")
        })
    }

    pub(super) fn take_in(&mut self, record: &Record) {
        match record {
            Record::Cluster(cluster) => self.epoch = cluster.epoch,
            Record::Worker(worker) => {
                let said = (worker.worker.clone(), Some(worker.draining));
                self.said_of_workers.insert(said);
                self.workers.insert(worker.worker.clone(), worker.clone());
            }
            Record::WorkerRemoved(worker) => {
                self.said_of_workers.insert((worker.clone(), None));
                self.workers.remove(worker);
            }
            Record::TaskAdded(task) => {
                if task.state.status == TaskStatus::Pending {
                    // Placed at once.
                    let change = (TaskStatus::Queued, TaskStatus::Pending);
                    self.status_changes.insert(change);
                }
                self.tasks
                    .insert(task.task.clone(), TaskRecord::clone(task));
            }
            Record::TaskChanged(task, state) => {
                if let Some(known) = self.tasks.get_mut(task) {
                    let change = (known.state.status, state.status);
                    if change.0 != change.1 {
                        self.status_changes.insert(change);
                    }
                    known.state = state.clone();
                }
            }
            Record::SpecChanged(task, change) => {
                self.spec_changes.push((task.clone(), change.clone()));
                if let Some(known) = self.tasks.get_mut(task) {
                    change.apply(&mut known.spec);
                }
            }
            Record::Assignment(assignment) => {
                self.last_sequence = self.last_sequence.max(assignment.sequence);
                let attempt = assignment.attempt.clone();
                let open = self.open.entry(assignment.worker.clone()).or_default();
                match assignment.ended {
                    None => drop(open.insert(attempt.clone())),
                    Some(_) => drop(open.remove(&attempt)),
                }
                self.assignments.insert(attempt, assignment.clone());
            }
            Record::Result(result) => {
                let task = result.attempt.task.clone();
                self.results.insert(task, ResultRecord::clone(result));
            }
            _ => {}
        }
    }

    /// What must hold of each task between two batches.
    pub(super) fn check_batch(&self, batch: &[Record]) -> Result<(), Violation> {
        for record in batch {
            let task = match record {
                Record::TaskChanged(task, _) => task,
                Record::TaskAdded(task) => &task.task,
                Record::Assignment(assignment) => &assignment.attempt.task,
                _ => continue,
            };
            let Some(known) = self.tasks.get(task) else {
                continue;
            };
            let status = known.state.status;
            let has_result = self.results.contains_key(task);
            ensure(
                status.is_final() == has_result,
                Kind::EndWithoutResult,
                || format!("{task} is {status}, with a result: {has_result}"),
            )?;
            let given = matches!(status, TaskStatus::Pending | TaskStatus::Running);
            let last = AttemptId::new(task.clone(), known.state.attempt);
            let open = self.live(&last).is_some();
            ensure(given == open, Kind::StatusOutOfStep, || {
                format!("{task} is {status}, with {last} open: {open}")
            })?;
        }
        Ok(())
    }
}
