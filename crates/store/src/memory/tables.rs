//! What is kept, as ordered maps, and how a batch is written to them: all of it, or nothing.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_model::{
    AttemptId, TaskChange, TaskId, UserName, WorkerId,
    record::{
        AssignmentRecord, ClusterRecord, FilesRecord, Record, Removed, RemovedRecord, ResultRecord,
        StopOrder, TaskRecord, TaskState, WorkerRecord,
    },
};

use super::accounts::AccountTables;
use crate::{CommitError, HIGHEST_ORDER, Highest, batch::that_count, same_submit};

/// As in a database, what belongs to a task hangs on its order.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) cluster: Option<ClusterRecord>,
    pub(super) workers: BTreeMap<WorkerId, WorkerRecord>,
    pub(super) tasks: BTreeMap<u64, TaskRecord>,
    pub(super) orders: BTreeMap<TaskId, u64>,
    pub(super) assignments: BTreeMap<(u64, u32), AssignmentRecord>,
    pub(super) results: BTreeMap<u64, ResultRecord>,
    pub(super) files: BTreeMap<u64, FilesRecord>,
    pub(super) removed: BTreeMap<u64, Removed>,
    /// The highest numbers of tasks that are here no more.
    pub(super) forgotten: Highest,
    pub(super) stop_orders: BTreeMap<AttemptId, StopOrder>,
    /// Orders of the tasks that were submitted under a key, by user and key.
    pub(super) submits: BTreeMap<(UserName, String), BTreeSet<u64>>,
    pub(super) accounts: AccountTables,
}

/// Takes one write back.
pub(super) type Undo = Box<dyn FnOnce(&mut Tables)>;

/// Writes `$value` under `$key` of the map `$map`, and gives the way back.
macro_rules! put {
    ($tables:ident $(. $map:ident)+, $key:expr, $value:expr) => {{
        let key = $key;
        let before = $tables$(.$map)+.insert(key.clone(), $value);
        Box::new(move |tables: &mut Tables| {
            match before {
                Some(before) => tables$(.$map)+.insert(key, before),
                None => tables$(.$map)+.remove(&key),
            };
        }) as Undo
    }};
}

/// Removes `$key` from the map `$map`, and gives the way back.
macro_rules! remove {
    ($tables:ident $(. $map:ident)+, $key:expr) => {{
        let key = $key;
        let before = $tables$(.$map)+.remove(&key);
        Box::new(move |tables: &mut Tables| {
            if let Some(before) = before {
                tables$(.$map)+.insert(key, before);
            }
        }) as Undo
    }};
}
pub(super) use {put, remove};

impl Tables {
    pub(super) fn commit(&mut self, batch: &[Record]) -> Result<(), CommitError> {
        let mut undo = Vec::with_capacity(batch.len());
        for record in that_count(batch) {
            if let Err(error) = self.apply(&record, &mut undo) {
                for step in undo.into_iter().rev() {
                    step(self);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record, undo: &mut Vec<Undo>) -> Result<(), CommitError> {
        match record {
            Record::Cluster(cluster) => {
                let before = self.cluster.replace(cluster.clone());
                undo.push(Box::new(move |tables| tables.cluster = before));
            }
            Record::Worker(worker) => {
                undo.push(put!(self.workers, worker.worker.clone(), worker.clone()));
            }
            Record::WorkerRemoved(worker) => undo.push(remove!(self.workers, worker.clone())),
            Record::TaskAdded(task) => self.add_task(task, undo)?,
            Record::TaskChanged(task, state) => self.change_task(task, state, undo)?,
            Record::SpecChanged(task, change) => self.change_spec(task, change, undo)?,
            Record::Assignment(assignment) => {
                let order = self.order("assignment", &assignment.attempt.task)?;
                let key = (order, assignment.attempt.number);
                undo.push(put!(self.assignments, key, assignment.clone()));
            }
            Record::Result(result) => self.add_result(result, undo)?,
            Record::Files(files) => {
                let order = self.order("files", &files.attempt.task)?;
                undo.push(put!(self.files, order, (**files).clone()));
            }
            Record::StopOrder(stop) => {
                undo.push(put!(self.stop_orders, stop.attempt.clone(), stop.clone()));
            }
            Record::StopOrderDone(attempt) => {
                undo.push(remove!(self.stop_orders, attempt.clone()));
            }
            Record::Removed(record) => {
                let order = self.order("removal", &record.task)?;
                undo.push(put!(self.removed, order, record.removed.clone()));
            }
            Record::TaskForgotten(task) => self.forget(task, undo),
            Record::Forgotten(numbers) => self.raise_forgotten((*numbers).into(), undo),
            Record::Account(change) => self.change_account(change, undo)?,
        }
        Ok(())
    }

    fn order(&self, record: &'static str, task: &TaskId) -> Result<u64, CommitError> {
        self.orders
            .get(task)
            .copied()
            .ok_or_else(|| CommitError::UnknownTask {
                record,
                task: task.clone(),
            })
    }

    fn add_task(&mut self, task: &TaskRecord, undo: &mut Vec<Undo>) -> Result<(), CommitError> {
        if task.order > HIGHEST_ORDER {
            return Err(CommitError::OrderTooHigh {
                task: task.task.clone(),
                order: task.order,
            });
        }
        if let Some(known) = self.task(&task.task) {
            return if same_submit(task, known) {
                Ok(())
            } else {
                Err(CommitError::Conflict {
                    what: "task",
                    key: task.task.to_string(),
                })
            };
        }
        if self.tasks.contains_key(&task.order) {
            return Err(CommitError::Conflict {
                what: "order",
                key: task.order.to_string(),
            });
        }
        if let Some(submit) = &task.spec.submit_key {
            let key = (task.spec.user.clone(), submit.key.clone());
            let mut orders = self.submits.get(&key).cloned().unwrap_or_default();
            orders.insert(task.order);
            undo.push(put!(self.submits, key, orders));
        }
        undo.push(put!(self.orders, task.task.clone(), task.order));
        undo.push(put!(self.tasks, task.order, task.clone()));
        Ok(())
    }

    fn change_task(
        &mut self,
        task: &TaskId,
        state: &TaskState,
        undo: &mut Vec<Undo>,
    ) -> Result<(), CommitError> {
        let order = self.order("task change", task)?;
        if let Some(stored) = self.tasks.get_mut(&order) {
            let before = std::mem::replace(&mut stored.state, state.clone());
            undo.push(Box::new(move |tables| {
                if let Some(stored) = tables.tasks.get_mut(&order) {
                    stored.state = before;
                }
            }));
        }
        Ok(())
    }

    fn change_spec(
        &mut self,
        task: &TaskId,
        change: &TaskChange,
        undo: &mut Vec<Undo>,
    ) -> Result<(), CommitError> {
        let order = self.order("spec change", task)?;
        if let Some(stored) = self.tasks.get_mut(&order) {
            let before = stored.spec.clone();
            change.apply(&mut stored.spec);
            undo.push(Box::new(move |tables| {
                if let Some(stored) = tables.tasks.get_mut(&order) {
                    stored.spec = before;
                }
            }));
        }
        Ok(())
    }

    fn add_result(
        &mut self,
        result: &ResultRecord,
        undo: &mut Vec<Undo>,
    ) -> Result<(), CommitError> {
        let order = self.order("result", &result.attempt.task)?;
        match self.results.get(&order) {
            None => undo.push(put!(self.results, order, result.clone())),
            Some(known) if known == result => {}
            Some(_) => {
                return Err(CommitError::Conflict {
                    what: "result",
                    key: result.attempt.task.to_string(),
                });
            }
        }
        Ok(())
    }

    fn forget(&mut self, task: &TaskId, undo: &mut Vec<Undo>) {
        let Some(order) = self.orders.get(task).copied() else {
            return;
        };
        let attempts: Vec<_> = self
            .assignments
            .range((order, 0)..=(order, u32::MAX))
            .map(|(key, _)| *key)
            .collect();
        for key in attempts {
            undo.push(remove!(self.assignments, key));
        }
        let spec = self.tasks.get(&order).map(|task| &task.spec);
        if let Some((spec, submit)) = spec.and_then(|spec| Some((spec, spec.submit_key.as_ref()?)))
        {
            let key = (spec.user.clone(), submit.key.clone());
            let mut orders = self.submits.get(&key).cloned().unwrap_or_default();
            orders.remove(&order);
            undo.push(match orders.is_empty() {
                true => remove!(self.submits, key),
                false => put!(self.submits, key, orders),
            });
        }
        undo.push(remove!(self.results, order));
        undo.push(remove!(self.files, order));
        undo.push(remove!(self.removed, order));
        undo.push(remove!(self.tasks, order));
        undo.push(remove!(self.orders, task.clone()));
        let numbers = Highest {
            task_number: task.number(),
            order,
        };
        self.raise_forgotten(numbers, undo);
    }

    fn raise_forgotten(&mut self, numbers: Highest, undo: &mut Vec<Undo>) {
        let before = self.forgotten;
        self.forgotten = before.and(numbers);
        undo.push(Box::new(move |tables| tables.forgotten = before));
    }

    pub(super) fn task(&self, task: &TaskId) -> Option<&TaskRecord> {
        self.tasks.get(self.orders.get(task)?)
    }

    pub(super) fn load(&self) -> (Vec<Record>, Highest) {
        let live = |order: &u64| {
            self.tasks
                .get(order)
                .is_some_and(|task| !task.state.status.is_final())
        };
        let cluster = self.cluster.iter().cloned().map(Record::Cluster);
        let workers = self.workers.values().cloned().map(Record::Worker);
        let tasks = self
            .tasks
            .values()
            .filter(|task| !task.state.status.is_final())
            .map(|task| Record::TaskAdded(Box::new(task.clone())));
        let assignments = self
            .assignments
            .iter()
            .filter(|((order, _), assignment)| assignment.ended.is_none() && live(order))
            .map(|(_, assignment)| Record::Assignment(assignment.clone()));
        let stop_orders = self.stop_orders.values().cloned().map(Record::StopOrder);
        let stored = Highest {
            task_number: self.orders.keys().filter_map(TaskId::number).max(),
            order: self.tasks.keys().next_back().copied().unwrap_or(0),
        };
        let highest = stored.and(self.forgotten);
        let records = cluster
            .chain(workers)
            .chain(tasks)
            .chain(assignments)
            .chain(stop_orders)
            .collect();
        (records, highest)
    }
}

impl Tables {
    /// Everything, in the order of an export.
    pub(super) fn all(&self) -> Vec<Record> {
        let cluster = self.cluster.iter().cloned().map(Record::Cluster);
        let workers = self.workers.values().cloned().map(Record::Worker);
        let tasks = self.tasks.values().cloned().map(Box::new);
        let removed = self.removed.iter().filter_map(|(order, removed)| {
            Some(RemovedRecord {
                task: self.tasks.get(order)?.task.clone(),
                removed: removed.clone(),
            })
        });
        let results = self.results.values().cloned().map(Box::new);
        let files = self.files.values().cloned().map(Box::new);
        // As texts, which is how databases sort their ids.
        let mut stop_orders: Vec<_> = self.stop_orders.values().cloned().collect();
        stop_orders.sort_by_key(|order| (order.attempt.task.to_string(), order.attempt.number));
        cluster
            .chain(workers)
            .chain(self.people())
            .chain(tasks.map(Record::TaskAdded))
            .chain(removed.map(Record::Removed))
            .chain(self.assignments.values().cloned().map(Record::Assignment))
            .chain(results.map(Record::Result))
            .chain(files.map(Record::Files))
            .chain(stop_orders.into_iter().map(Record::StopOrder))
            .chain(self.whole_audit())
            .chain(self.forgotten.as_forgotten().map(Record::Forgotten))
            .collect()
    }
}
