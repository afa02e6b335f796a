//! What tasks left in `/output`, in JSON.

use cloudai_model::record::{FileRecord, Removal};
use cloudai_operator::{LeftFiles, TaskFiles};
use serde::Serialize;

use crate::render::files::total;

/// A task that left files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct TaskWithFilesJson {
    task_id: String,
    name: String,
    user_id: String,
    attempt: u32,
    files: usize,
    bytes: u64,
    uploaded_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<RemovalJson>,
}

/// When something was removed, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RemovalJson {
    at: String,
    by: String,
}

impl RemovalJson {
    /// When something was removed, and why; `None` if it was not.
    pub(crate) fn new(removal: &Option<Removal>) -> Option<Self> {
        removal.as_ref().map(|removal| Self {
            at: removal.at.to_string(),
            by: removal.by.clone(),
        })
    }
}

impl TaskWithFilesJson {
    /// A task that left files.
    #[must_use]
    pub(crate) fn new(left: &LeftFiles) -> Self {
        let record = &left.record;
        Self {
            task_id: record.attempt.task.to_string(),
            name: record.task_name.clone(),
            user_id: record.user.to_string(),
            attempt: record.attempt.number,
            files: record.files.len(),
            bytes: total(record),
            uploaded_at: record.uploaded_at.to_string(),
            removed: RemovalJson::new(&left.removed),
        }
    }
}

/// What one task left.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct TaskFilesJson {
    files: Vec<FileJson>,
    files_complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    files_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files_removed: Option<RemovalJson>,
}

impl TaskFilesJson {
    /// What one task left.
    #[must_use]
    pub(crate) fn new(left: &TaskFiles) -> Self {
        Self {
            files: left.files.iter().map(FileJson::new).collect(),
            files_complete: left.whole.is_complete(),
            files_reason: left.whole.reason().map(str::to_owned),
            files_removed: RemovalJson::new(&left.removed),
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct FileJson {
    path: String,
    size: u64,
    sha256: String,
}

impl FileJson {
    fn new(record: &FileRecord) -> Self {
        Self {
            path: record.path.clone(),
            size: record.size,
            sha256: record.sha256.clone(),
        }
    }
}
