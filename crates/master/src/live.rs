//! What is known of tasks that have not ended and is not worth a write: how far within a phase.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cloudai_core::TaskNews;
use cloudai_model::{TaskId, TaskStatus, record::TaskState};

/// The last news of each task that a worker has.
#[derive(Debug, Clone, Default)]
pub struct LiveTasks(Arc<Mutex<HashMap<TaskId, TaskNews>>>);

impl LiveTasks {
    /// Takes in what happened to a task.
    pub fn take(&self, news: &TaskNews) {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if news.status.is_final() || news.status == TaskStatus::Queued {
            live.remove(&news.task);
        } else {
            live.insert(news.task.clone(), news.clone());
        }
    }

    /// Lays what is live over a state as stored.
    pub fn overlay(&self, task: &TaskId, state: &mut TaskState) {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(news) = live.get(task)
            && news.attempt == state.attempt
            && !state.status.is_final()
        {
            state.status = news.status;
            state.phase = news.phase;
            if !news.detail.is_empty() {
                state.reason.clone_from(&news.detail);
            }
        }
    }
}
