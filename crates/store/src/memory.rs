//! A store that forgets: ordered maps behind a lock. For tests and trials; nothing reaches a disk.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use cloudai_model::{
    AttemptId, TaskChange, TaskId, TaskStatus, UserName, WorkerId,
    record::{
        AssignmentRecord, ClusterRecord, FilesRecord, Record, Removed, RemovedRecord, ResultRecord,
        StopOrder, TaskRecord, TaskState, WorkerRecord,
    },
};
use tokio::sync::mpsc;

use crate::{
    CommitError, EndedAt, EndedQuery, EndedTask, Export, HIGHEST_ORDER, Highest, Holdings,
    LOAD_CHUNK, Piece, ReadError, Store, TaskQuery, batch::that_count, export::Chunk, same_submit,
};

/// Keeps records for as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// `None` once closed.
    tables: Mutex<Open>,
}

#[derive(Debug)]
struct Open(Option<Tables>);

impl Default for Open {
    fn default() -> Self {
        Self(Some(Tables::default()))
    }
}

/// As in a database, what belongs to a task hangs on its order.
#[derive(Debug, Default)]
struct Tables {
    cluster: Option<ClusterRecord>,
    workers: BTreeMap<WorkerId, WorkerRecord>,
    tasks: BTreeMap<u64, TaskRecord>,
    orders: BTreeMap<TaskId, u64>,
    assignments: BTreeMap<(u64, u32), AssignmentRecord>,
    results: BTreeMap<u64, ResultRecord>,
    files: BTreeMap<u64, FilesRecord>,
    removed: BTreeMap<u64, Removed>,
    /// The highest numbers of tasks that are here no more.
    forgotten: Highest,
    stop_orders: BTreeMap<AttemptId, StopOrder>,
}

/// Takes one write back.
type Undo = Box<dyn FnOnce(&mut Tables)>;

/// Writes `$value` under `$key` of the map `$map`, and gives the way back.
macro_rules! put {
    ($tables:ident . $map:ident, $key:expr, $value:expr) => {{
        let key = $key;
        let before = $tables.$map.insert(key.clone(), $value);
        Box::new(move |tables: &mut Tables| {
            match before {
                Some(before) => tables.$map.insert(key, before),
                None => tables.$map.remove(&key),
            };
        }) as Undo
    }};
}

/// Removes `$key` from the map `$map`, and gives the way back.
macro_rules! remove {
    ($tables:ident . $map:ident, $key:expr) => {{
        let key = $key;
        let before = $tables.$map.remove(&key);
        Box::new(move |tables: &mut Tables| {
            if let Some(before) = before {
                tables.$map.insert(key, before);
            }
        }) as Undo
    }};
}

impl Tables {
    fn commit(&mut self, batch: &[Record]) -> Result<(), CommitError> {
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

    fn task(&self, task: &TaskId) -> Option<&TaskRecord> {
        self.tasks.get(self.orders.get(task)?)
    }

    fn load(&self) -> (Vec<Record>, Highest) {
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
    fn all(&self) -> Vec<Record> {
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
            .chain(tasks.map(Record::TaskAdded))
            .chain(removed.map(Record::Removed))
            .chain(self.assignments.values().cloned().map(Record::Assignment))
            .chain(results.map(Record::Result))
            .chain(files.map(Record::Files))
            .chain(stop_orders.into_iter().map(Record::StopOrder))
            .chain(self.forgotten.as_forgotten().map(Record::Forgotten))
            .collect()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A batch is taken back before its error leaves, so the tables are whole whoever panicked.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> Result<T, ReadError> {
        self.lock().0.as_ref().map(read).ok_or(ReadError::Closed)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn describe(&self) -> String {
        "memory (forgets everything when the master ends)".to_owned()
    }

    async fn commit(&self, batch: Arc<Vec<Record>>) -> Result<(), CommitError> {
        let mut open = self.lock();
        open.0.as_mut().ok_or(CommitError::Closed)?.commit(&batch)
    }

    async fn load(&self, sink: mpsc::Sender<Vec<Record>>) -> Result<Highest, ReadError> {
        let (records, highest) = self.read(Tables::load)?;
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let chunk = records.by_ref().take(LOAD_CHUNK).collect();
            sink.send(chunk)
                .await
                .map_err(|_| ReadError::ReceiverGone)?;
        }
        Ok(highest)
    }

    async fn task(&self, task: &TaskId) -> Result<Option<TaskRecord>, ReadError> {
        self.read(|tables| tables.task(task).cloned())
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskRecord>, ReadError> {
        let fits = |task: &&TaskRecord| {
            (query.statuses.is_empty() || query.statuses.contains(&task.state.status))
                && query
                    .user
                    .as_ref()
                    .is_none_or(|user| *user == task.spec.user)
                && (query.worker.is_none() || query.worker == task.state.worker)
        };
        self.read(|tables| {
            tables
                .tasks
                .range(..query.before.unwrap_or(u64::MAX))
                .rev()
                .map(|(_, task)| task)
                .filter(fits)
                .take(query.limit)
                .cloned()
                .collect()
        })
    }

    async fn count_by_status(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadError> {
        self.read(|tables| {
            let mut counts = BTreeMap::new();
            for task in tables.tasks.values() {
                *counts.entry(task.state.status).or_default() += 1;
            }
            counts
        })
    }

    async fn assignments(&self, task: &TaskId) -> Result<Vec<AssignmentRecord>, ReadError> {
        self.read(|tables| {
            tables.orders.get(task).map_or_else(Vec::new, |order| {
                tables
                    .assignments
                    .range((*order, 0)..=(*order, u32::MAX))
                    .map(|(_, assignment)| assignment.clone())
                    .collect()
            })
        })
    }

    async fn result(&self, task: &TaskId) -> Result<Option<ResultRecord>, ReadError> {
        self.read(|tables| tables.results.get(tables.orders.get(task)?).cloned())
    }

    async fn files(&self, task: &TaskId) -> Result<Option<FilesRecord>, ReadError> {
        self.read(|tables| tables.files.get(tables.orders.get(task)?).cloned())
    }

    async fn files_of_user(&self, user: &UserName) -> Result<Vec<FilesRecord>, ReadError> {
        self.read(|tables| {
            let newest_first = tables.files.values().rev();
            newest_first
                .filter(|files| files.user == *user)
                .cloned()
                .collect()
        })
    }

    async fn ended(&self, query: &EndedQuery) -> Result<Vec<EndedTask>, ReadError> {
        self.read(|tables| {
            let mut ended: Vec<(EndedAt, &TaskRecord)> = tables
                .tasks
                .values()
                .filter(|task| query.statuses.contains(&task.state.status))
                .filter_map(|task| {
                    let at = task.state.completed_at?;
                    let order = task.order;
                    Some((EndedAt { at, order }, task))
                })
                .filter(|(place, _)| place.at < query.before && Some(*place) > query.after)
                .collect();
            ended.sort_by_key(|(place, _)| *place);
            let ended = ended.into_iter().take(query.limit);
            ended
                .map(|(place, task)| EndedTask {
                    task: task.task.clone(),
                    user: task.spec.user.clone(),
                    place,
                    removed: tables.removed.get(&task.order).cloned().unwrap_or_default(),
                })
                .collect()
        })
    }

    async fn removed(&self, tasks: &[TaskId]) -> Result<BTreeMap<TaskId, Removed>, ReadError> {
        self.read(|tables| {
            let removed = tasks.iter().filter_map(|task| {
                let removed = tables.removed.get(tables.orders.get(task)?)?;
                Some((task.clone(), removed.clone()))
            });
            removed.collect()
        })
    }

    async fn close(&self) -> Result<(), CommitError> {
        self.lock().0 = None;
        Ok(())
    }
}

#[async_trait]
impl Export for MemoryStore {
    fn describe(&self) -> String {
        Store::describe(self)
    }

    fn schema(&self) -> i64 {
        0
    }

    async fn holdings(&self) -> Result<Holdings, ReadError> {
        self.read(|tables| {
            let mut holdings = Holdings::default();
            tables.all().iter().for_each(|record| holdings.add(record));
            holdings
        })
    }

    async fn export(&self, sink: mpsc::Sender<Piece>) -> Result<(), ReadError> {
        let mut chunk = Chunk::default();
        let mut pieces = Vec::new();
        for record in self.read(Tables::all)? {
            pieces.extend(chunk.add(record));
        }
        pieces.extend(chunk.take());
        for piece in pieces {
            sink.send(piece)
                .await
                .map_err(|_| ReadError::ReceiverGone)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::MemoryStore;
    use crate::conformance::{ExportPlace, Place};

    fn export_place() -> (ExportPlace, ()) {
        let place = ExportPlace {
            open: Box::new(|| {
                let store = Arc::new(MemoryStore::new());
                (store.clone(), store)
            }),
        };
        (place, ())
    }

    crate::conformance::export_suite!(super::export_place);

    fn place() -> (Place, ()) {
        let place = Place {
            open: Box::new(|| Arc::new(MemoryStore::new())),
            keeps: false,
        };
        (place, ())
    }

    crate::conformance::suite!(super::place);
}
