//! A request to cancel: `TaskID` and [`CancelRequest`].

use cloudai_model::{AttemptId, TaskId, old_node};

use crate::{cluster, error::WireError, field};

/// Cancel this task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelRequest {
    /// Which task.
    pub task: TaskId,
    /// Which attempt; whichever there is if `None`.
    pub attempt: Option<u32>,
    /// Who asks; unchecked.
    pub user: Option<String>,
    /// Why; may be empty.
    pub reason: String,
}

impl CancelRequest {
    /// As the wire has it.
    #[must_use]
    pub fn into_wire(self) -> cluster::TaskId {
        cluster::TaskId {
            task_id: self.task.to_string(),
            attempt: self.attempt.unwrap_or(0),
            user_id: self.user.unwrap_or_default(),
            reason: self.reason,
        }
    }

    /// For an old worker: by the id under which it got this attempt.
    #[must_use]
    pub fn into_old_wire(self) -> cluster::TaskId {
        let attempt = AttemptId::new(self.task.clone(), self.attempt.unwrap_or(1));
        cluster::TaskId {
            task_id: old_node::task_id(&attempt),
            ..Default::default()
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If the task's id is none.
    pub fn from_wire(wire: cluster::TaskId) -> Result<Self, WireError> {
        Ok(Self {
            task: field::parsed("task_id", &wire.task_id)?,
            attempt: Some(wire.attempt).filter(|number| *number != 0),
            user: field::text_if_any(wire.user_id),
            reason: field::shown_text(wire.reason),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_survives_the_wire_and_names_an_old_workers_attempt_by_id() {
        let request = CancelRequest {
            task: "task-7".parse().unwrap(),
            attempt: Some(2),
            user: Some("ann".to_owned()),
            reason: "too slow".to_owned(),
        };
        assert_eq!(
            CancelRequest::from_wire(request.clone().into_wire()),
            Ok(request.clone())
        );
        assert_eq!(request.into_old_wire().task_id, "task-7-2");
    }

    #[test]
    fn an_old_client_says_only_which_task() {
        let wire = cluster::TaskId {
            task_id: "task-7".to_owned(),
            ..Default::default()
        };
        let request = CancelRequest::from_wire(wire).unwrap();
        assert_eq!((request.attempt, request.user), (None, None));
        let error = CancelRequest::from_wire(cluster::TaskId::default()).unwrap_err();
        assert_eq!(error.field, "task_id");
    }
}
