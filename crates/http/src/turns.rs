//! One at a time: changes that rest on what whoever asks has seen of a task.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use cloudai_model::TaskId;
use tokio::sync::OwnedMutexGuard;

type Turn = tokio::sync::Mutex<()>;

/// Whose turn it is with a task. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<BTreeMap<TaskId, Weak<Turn>>>>);

/// So many tasks are held before those that nobody holds any more are let go.
const TIDY_BEYOND: usize = 1024;

impl Turns {
    /// Waits for those who came before; the turn ends when what is returned is dropped.
    pub(crate) async fn turn(&self, task: &TaskId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.len() > TIDY_BEYOND {
                turns.retain(|_, turn| turn.strong_count() > 0);
            }
            let entry = turns.entry(task.clone()).or_default();
            entry.upgrade().unwrap_or_else(|| {
                let turn = Arc::new(Turn::default());
                *entry = Arc::downgrade(&turn);
                turn
            })
        };
        turn.lock_owned().await
    }
}
