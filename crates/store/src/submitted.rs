//! What a user submitted under a key of their own.

use cloudai_model::{SubmitKey, TaskId, Wall, record::TaskRecord};

/// A task that its user submitted under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmittedUnder {
    /// Which.
    pub task: TaskId,
    /// The key, what was submitted, and the task's place in it.
    pub key: SubmitKey,
    /// When.
    pub submitted_at: Wall,
}

impl SubmittedUnder {
    /// The same of a task, if it was submitted so.
    pub(crate) fn of(task: &TaskRecord) -> Option<Self> {
        Some(Self {
            task: task.task.clone(),
            key: task.spec.submit_key.clone()?,
            submitted_at: task.submitted_at,
        })
    }
}
