//! What the store holds, and what a batch does to it.

use std::collections::BTreeMap;

use cloudai_model::{
    AttemptId, TaskId, WorkerId,
    record::{
        AssignmentRecord, ClusterRecord, Record, ResultRecord, StopOrder, TaskRecord, WorkerRecord,
    },
};

/// A batch contradicts what is there. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Another record with this key is there already.
    #[error("{what} {key} is stored with other content")]
    Conflict {
        /// Of which kind.
        what: &'static str,
        /// Which.
        key: String,
    },
    /// A record speaks of a task that was never added.
    #[error("a record is about task {0}, which is not stored")]
    UnknownTask(TaskId),
}

/// The highest numbers given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Highest {
    /// Of all task ids of the master's making.
    pub task_number: Option<u64>,
    /// Of the order of submits.
    pub order: u64,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    cluster: Option<ClusterRecord>,
    /// The registered workers.
    pub workers: BTreeMap<WorkerId, WorkerRecord>,
    /// All tasks.
    pub tasks: BTreeMap<TaskId, TaskRecord>,
    /// All attempts.
    pub assignments: BTreeMap<AttemptId, AssignmentRecord>,
    results: BTreeMap<TaskId, ResultRecord>,
    /// What former and lost workers are to stop.
    pub stop_orders: BTreeMap<AttemptId, StopOrder>,
}

impl Tables {
    /// A task.
    #[must_use]
    pub fn task(&self, task: &TaskId) -> Option<&TaskRecord> {
        self.tasks.get(task)
    }

    /// Applies a batch, all of it or nothing. One that was applied before is found to be there.
    ///
    /// # Errors
    /// If it contradicts what is there.
    pub fn apply(&mut self, batch: &[Record]) -> Result<(), TableError> {
        self.check(batch)?;
        for record in batch {
            self.write(record);
        }
        Ok(())
    }

    fn check(&self, batch: &[Record]) -> Result<(), TableError> {
        let mut added = BTreeMap::new();
        let mut results = BTreeMap::new();
        for record in batch {
            match record {
                Record::TaskAdded(task) => {
                    let known = self
                        .tasks
                        .get(&task.task)
                        .or(added.get(&task.task).copied());
                    if known.is_some_and(|known| !is_same_submit(task, known)) {
                        return Err(conflict("task", &task.task));
                    }
                    added.insert(task.task.clone(), task.as_ref());
                }
                Record::Result(result) => {
                    let task = &result.attempt.task;
                    let known = self.results.get(task).or(results.get(task).copied());
                    if known.is_some_and(|known| known != result.as_ref()) {
                        return Err(conflict("result", task));
                    }
                    results.insert(task.clone(), result.as_ref());
                }
                _ => {}
            }
            if let Some(task) = about(record)
                && !self.tasks.contains_key(task)
                && !added.contains_key(task)
            {
                return Err(TableError::UnknownTask(task.clone()));
            }
        }
        Ok(())
    }

    fn write(&mut self, record: &Record) {
        match record {
            Record::Cluster(cluster) => self.cluster = Some(cluster.clone()),
            Record::Worker(worker) => {
                self.workers.insert(worker.worker.clone(), worker.clone());
            }
            Record::WorkerRemoved(worker) => drop(self.workers.remove(worker)),
            Record::TaskAdded(task) => {
                let known = self.tasks.entry(task.task.clone());
                known.or_insert_with(|| TaskRecord::clone(task));
            }
            Record::TaskChanged(task, state) => {
                if let Some(known) = self.tasks.get_mut(task) {
                    known.state = state.clone();
                }
            }
            Record::SpecChanged(task, change) => {
                if let Some(known) = self.tasks.get_mut(task) {
                    change.apply(&mut known.spec);
                }
            }
            Record::Assignment(assignment) => {
                let key = assignment.attempt.clone();
                self.assignments.insert(key, assignment.clone());
            }
            Record::Result(result) => {
                let key = result.attempt.task.clone();
                self.results.insert(key, ResultRecord::clone(result));
            }
            Record::StopOrder(order) => {
                self.stop_orders
                    .insert(order.attempt.clone(), order.clone());
            }
            Record::StopOrderDone(attempt) => drop(self.stop_orders.remove(attempt)),
            // Accounts, retention and the contents of files are no part of the simulation.
            Record::Account(_)
            | Record::Files(_)
            | Record::Removed(_)
            | Record::TaskForgotten(_)
            | Record::Forgotten(_) => {}
        }
    }

    /// What a start reads, in the order of `cloudai_store::Store::load`.
    #[must_use]
    pub fn load(&self) -> (Vec<Record>, Highest) {
        let is_live = |task: &TaskId| {
            let task = self.tasks.get(task);
            task.is_some_and(|task| !task.state.status.is_final())
        };
        let mut tasks: Vec<_> = self.tasks.values().filter(|it| is_live(&it.task)).collect();
        tasks.sort_by_key(|task| task.order);
        let open = self.assignments.values();
        let open = open.filter(|it| it.ended.is_none() && is_live(&it.attempt.task));
        let records = self.cluster.iter().cloned().map(Record::Cluster);
        let records = records
            .chain(self.workers.values().cloned().map(Record::Worker))
            .chain(
                tasks
                    .into_iter()
                    .map(|task| Record::TaskAdded(Box::new(task.clone()))),
            )
            .chain(open.cloned().map(Record::Assignment))
            .chain(self.stop_orders.values().cloned().map(Record::StopOrder));
        let highest = Highest {
            task_number: self.tasks.keys().filter_map(TaskId::number).max(),
            order: self
                .tasks
                .values()
                .map(|task| task.order)
                .max()
                .unwrap_or(0),
        };
        (records.collect(), highest)
    }
}

fn conflict(what: &'static str, task: &TaskId) -> TableError {
    let key = task.to_string();
    TableError::Conflict { what, key }
}

fn is_same_submit(one: &TaskRecord, other: &TaskRecord) -> bool {
    one.order == other.order
        && one.submitted_at == other.submitted_at
        && one.spec.is_same_but_for_changes(&other.spec)
}

/// The task that must be there for a record to be written.
fn about(record: &Record) -> Option<&TaskId> {
    match record {
        Record::TaskChanged(task, _) | Record::SpecChanged(task, _) => Some(task),
        Record::Assignment(assignment) => Some(&assignment.attempt.task),
        Record::Result(result) => Some(&result.attempt.task),
        _ => None,
    }
}
