//! The specs of tasks that are about to be sent: a bounded memory before the store.

use std::{
    collections::{HashMap, VecDeque},
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
    remembered: Arc<Mutex<Remembered>>,
}

#[derive(Default)]
struct Remembered {
    specs: HashMap<TaskId, Arc<TaskSpec>>,
    oldest_first: VecDeque<TaskId>,
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
    /// Those of the tasks in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            remembered: Arc::default(),
        }
    }

    /// Remembers the spec of a task just submitted, in place of the oldest if there are too many.
    pub fn remember(&self, task: TaskId, spec: Arc<TaskSpec>) {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.specs.insert(task.clone(), spec);
        remembered.oldest_first.push_back(task);
        while remembered.oldest_first.len() > LIMIT {
            if let Some(oldest) = remembered.oldest_first.pop_front() {
                remembered.specs.remove(&oldest);
            }
        }
    }

    /// The task has ended.
    pub fn forget(&self, task: &TaskId) {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .specs
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
            remembered.specs.get(task).cloned()
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
