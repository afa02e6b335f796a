//! What is asked of accounts: all of them at once, for whoever lets people in, and the audit by page.

use cloudai_model::{
    SubmitKey, TaskId, UserName, Wall,
    account::{AuditRecord, EndedToken, KeyRecord, UserRecord},
    record::TaskRecord,
};

/// All that is stored of who may come in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    /// Every user, by name.
    pub users: Vec<UserRecord>,
    /// Every key, by id.
    pub keys: Vec<KeyRecord>,
    /// Every token that was ended before its time, by id.
    pub ended_tokens: Vec<EndedToken>,
    /// The highest [`AuditRecord::number`]; 0 before the first. It never falls: the last entry is not
    /// forgotten.
    pub highest_audit: u64,
}

/// Which entries of the audit to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only what this user did.
    pub user: Option<UserName>,
    /// Only what has this word.
    pub action: Option<String>,
    /// Only what was done then or later.
    pub since: Option<Wall>,
    /// Only what was done before.
    pub until: Option<Wall>,
    /// Only entries before the one of this number: the cursor. The next page begins before the last
    /// number of this one.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl AuditQuery {
    /// The newest entries, at most `limit` of them.
    #[must_use]
    pub fn newest(limit: usize) -> Self {
        Self {
            user: None,
            action: None,
            since: None,
            until: None,
            before: None,
            limit,
        }
    }

    /// Whether an entry is asked for.
    pub(crate) fn fits(&self, entry: &AuditRecord) -> bool {
        self.user
            .as_ref()
            .is_none_or(|user| Some(user) == entry.user.as_ref())
            && self.action.as_ref().is_none_or(|it| *it == entry.action)
            && self.since.is_none_or(|since| since <= entry.at)
            && self.until.is_none_or(|until| entry.at < until)
            && self.before.is_none_or(|before| entry.number < before)
    }
}

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
