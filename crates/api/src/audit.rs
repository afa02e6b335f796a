//! The record of who did what.

use cloudai_model::account::AuditRecord;
use serde::Serialize;
use utoipa::ToSchema;

use crate::figures::Time;

/// What somebody did, or tried to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Rises with each.
    number: u64,
    /// When.
    at: Time,
    /// Who; null for somebody who is not known.
    username: Option<String>,
    /// With which key, if with one.
    key: Option<String>,
    /// From which address; `console` for the master's own.
    from: String,
    /// What.
    #[schema(example = "task.cancel")]
    action: String,
    /// To what: a task, a worker, a user.
    target: String,
    /// Whether it was done.
    done: bool,
    /// More, such as why it was refused.
    detail: String,
    /// The request's id.
    request_id: String,
}

impl From<&AuditRecord> for AuditEntry {
    fn from(record: &AuditRecord) -> Self {
        Self {
            number: record.number,
            at: record.at.into(),
            username: record.user.as_ref().map(ToString::to_string),
            key: record.key.clone(),
            from: record.from.clone(),
            action: record.action.clone(),
            target: record.target.clone(),
            done: record.done,
            detail: record.detail.clone(),
            request_id: record.request.clone(),
        }
    }
}

impl AuditEntry {
    /// Rises with each.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}
