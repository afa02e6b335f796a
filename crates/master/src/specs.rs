//! The specs of tasks that are about to be sent: a bounded memory before the store.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cloudai_model::{TaskId, TaskSpec};
use cloudai_store::{ReadError, Store};

/// More are not remembered; the store has them.
const LIMIT: usize = 20_000;

/// See the module.
#[derive(Clone)]
pub struct Specs {
    store: Arc<dyn Store>,
    remembered: Arc<Mutex<HashMap<TaskId, Arc<TaskSpec>>>>,
}

/// Why a spec is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The store can't be read.
    #[error("the spec of task {0} can't be read")]
    Read(TaskId, #[source] ReadError),
    /// There is no such task.
    #[error("task {0} is not in the store")]
    Unknown(TaskId),
}

impl Specs {
    /// Of the tasks in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            remembered: Arc::default(),
        }
    }

    /// Remembers the spec of a task just submitted, if there is room.
    pub fn remember(&self, task: TaskId, spec: Arc<TaskSpec>) {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.len() < LIMIT {
            remembered.insert(task, spec);
        }
    }

    /// The task has ended.
    pub fn forget(&self, task: &TaskId) {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(task);
    }

    /// The spec of a task.
    ///
    /// # Errors
    /// If the store can't be read or doesn't hold the task.
    pub async fn get(&self, task: &TaskId) -> Result<Arc<TaskSpec>, SpecError> {
        let remembered = {
            let remembered = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            remembered.get(task).cloned()
        };
        if let Some(spec) = remembered {
            return Ok(spec);
        }
        let record = self.store.task(task).await;
        let record = record.map_err(|error| SpecError::Read(task.clone(), error))?;
        record
            .map(|record| Arc::new(record.spec))
            .ok_or_else(|| SpecError::Unknown(task.clone()))
    }
}
