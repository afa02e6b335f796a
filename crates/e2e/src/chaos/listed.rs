//! A task as the master lists it, as far as the audit looks at it.

use serde_json::Value;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: String,
    /// The number of its last attempt.
    pub attempt: u32,
    /// Its exit code.
    pub exit_code: Option<i64>,
    /// Why it stands so.
    pub reason: String,
    /// `queue`, `pull` or `run`.
    pub time_out: Option<String>,
    /// How many of its retries were taken.
    pub retries_used: u32,
    /// When it ended.
    pub completed_at: Option<String>,
    /// Whether its log is whole; `None` without a result.
    pub log_complete: Option<bool>,
    /// Why not.
    pub log_reason: String,
    /// Whether its files are all there; `None` without a result.
    pub files_complete: Option<bool>,
    /// Why not.
    pub files_reason: String,
}

impl Listed {
    /// The tasks of a listing; `None` if it is none.
    #[must_use]
    pub fn all(list: &Value) -> Option<Vec<Self>> {
        list.as_array()?.iter().map(Self::read).collect()
    }

    fn read(entry: &Value) -> Option<Self> {
        let text = |field: &str| entry[field].as_str().map(str::to_owned);
        let count = |field: &str| u32::try_from(entry[field].as_u64()?).ok();
        Some(Self {
            id: text("task_id")?,
            name: text("name")?,
            status: text("status")?,
            attempt: count("attempt")?,
            exit_code: entry["exit_code"].as_i64(),
            reason: text("reason").unwrap_or_default(),
            time_out: text("time_out"),
            retries_used: count("retries_used")?,
            completed_at: text("completed_at"),
            log_complete: entry["log_complete"].as_bool(),
            log_reason: text("log_reason").unwrap_or_default(),
            files_complete: entry["files_complete"].as_bool(),
            files_reason: text("files_reason").unwrap_or_default(),
        })
    }

    /// Whether its status is one that never changes.
    #[must_use]
    pub fn is_final(&self) -> bool {
        ["completed", "failed", "cancelled"].contains(&self.status.as_str())
    }

    /// What of it may never change once it has ended.
    #[must_use]
    pub fn ending(&self) -> impl PartialEq + std::fmt::Debug {
        (
            self.status.clone(),
            self.attempt,
            self.exit_code,
            self.completed_at.clone(),
        )
    }
}
