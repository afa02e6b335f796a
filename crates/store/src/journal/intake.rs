//! Tasks that are accepted before the store has been read once. Nobody knows yet what else there is:
//! they have no order and no place, and wait in the journal for the store to be read.

use std::collections::BTreeMap;

use cloudai_model::{TaskId, record::TaskRecord};

use super::{JournaledStore, Submitted, entry::Entry, file::AppendError};

/// Why a task was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum TakeInError {
    /// The store has been read: submit it as any other.
    #[error("the store has been read meanwhile")]
    Closed,
    /// It could not be written down.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl JournaledStore {
    /// Keeps a task, whose order is 0: it is on the disk when this returns.
    ///
    /// # Errors
    /// See [`TakeInError`].
    pub async fn take_in(&self, task: TaskRecord) -> Result<(), TakeInError> {
        // Held until it is written down: what was let in is seen by whoever closes the door.
        let open = self.shared.intake.read().await;
        if !*open {
            return Err(TakeInError::Closed);
        }
        let entry = Entry::Submitted(Box::new(task));
        Ok(self.shared.journal.append(vec![entry]).await?)
    }

    /// Cancels a task that was taken in and is still here; `false` if it isn't.
    ///
    /// # Errors
    /// If that could not be written down.
    pub async fn cancel_taken_in(&self, task: &TaskId) -> Result<bool, AppendError> {
        if !self.shared.journal.content().submitted.contains_key(task) {
            return Ok(false);
        }
        let entry = Entry::Cancelled(task.clone());
        self.shared.journal.append(vec![entry]).await?;
        // It may have been handed over meanwhile, before the word came.
        let content = self.shared.journal.content();
        Ok(content.submitted.get(task).is_some_and(|it| it.cancelled))
    }

    /// Looks at what was taken in and is still here, by rising id. Nothing comes or goes meanwhile.
    pub fn taken_in<T>(&self, look: impl FnOnce(&BTreeMap<TaskId, Submitted>) -> T) -> T {
        look(&self.shared.journal.content().submitted)
    }

    /// How many of them were not cancelled.
    #[must_use]
    pub fn waiting_taken_in(&self) -> usize {
        self.shared.journal.content().waiting_submitted
    }

    /// The highest number among the ids of all that were taken in.
    #[must_use]
    pub fn highest_taken_in(&self) -> Option<u64> {
        self.shared.journal.content().highest_submitted
    }

    /// Tasks that were taken in are committed: they go away from here, all or none.
    ///
    /// # Errors
    /// If that could not be written down: whoever hands them over will find them in the store.
    pub async fn handed_over(&self, tasks: Vec<TaskId>) -> Result<(), AppendError> {
        let entries = tasks.into_iter().map(Entry::HandedOver).collect();
        self.shared.journal.append(entries).await?;
        let settled = self.shared.journal.content().is_settled();
        if settled {
            self.shared.clear().await;
        }
        Ok(())
    }

    /// From here on no task is taken in; those that were are all here when this returns.
    pub async fn close_intake(&self) {
        *self.shared.intake.write().await = false;
    }
}
