//! A store that forgets: ordered maps behind a lock. For tests and trials; nothing reaches a disk.

mod accounts;
mod tables;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use cloudai_model::{
    TaskId, TaskStatus, UserName, Wall,
    account::AuditRecord,
    record::{AssignmentRecord, FilesRecord, Record, Removed, ResultRecord, TaskRecord},
};
use tokio::sync::mpsc;

use self::tables::Tables;
use crate::{
    AuditQuery, CommitError, EndedAt, EndedQuery, EndedTask, Export, FilesOfTask, FilesQuery,
    Highest, Holdings, LOAD_CHUNK, Piece, ReadError, Store, StoredAccounts, SubmittedUnder,
    TaskQuery, export::Chunk,
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

    async fn files_page(&self, query: &FilesQuery) -> Result<Vec<FilesOfTask>, ReadError> {
        self.read(|tables| {
            let newest_first = tables.files.range(..query.before.unwrap_or(u64::MAX)).rev();
            newest_first
                .filter(|(_, files)| files.user == query.user)
                .take(query.limit)
                .map(|(order, files)| FilesOfTask {
                    order: *order,
                    files: files.clone(),
                })
                .collect()
        })
    }

    async fn files_bytes_of_user(&self, user: &UserName) -> Result<u64, ReadError> {
        self.read(|tables| {
            let is_there = |order: &u64| {
                let removed = tables.removed.get(order);
                removed.is_none_or(|removed| removed.files.is_none())
            };
            let of_user = tables.files.iter();
            let of_user = of_user.filter(|(order, it)| it.user == *user && is_there(order));
            of_user.fold(0, |sum, (_, it)| it.bytes().saturating_add(sum))
        })
    }

    async fn submitted(
        &self,
        user: &UserName,
        key: &str,
    ) -> Result<Vec<SubmittedUnder>, ReadError> {
        self.read(|tables| {
            let orders = tables.submits.get(&(user.clone(), key.to_owned()));
            let tasks = orders.into_iter().flatten();
            tasks
                .filter_map(|order| SubmittedUnder::of(tables.tasks.get(order)?))
                .collect()
        })
    }

    async fn accounts(&self) -> Result<StoredAccounts, ReadError> {
        self.read(Tables::accounts)
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, ReadError> {
        self.read(|tables| tables.audit(query))
    }

    async fn oldest_audit(&self, before: Wall, limit: usize) -> Result<Vec<Wall>, ReadError> {
        self.read(|tables| tables.oldest_audit(before, limit))
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
