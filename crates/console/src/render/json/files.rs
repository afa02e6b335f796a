//! What tasks left in `/output`, in JSON.

use cloudai_model::record::{FileRecord, FilesRecord};
use serde::Serialize;

use crate::render::files::total;

/// A task that left files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskWithFilesJson {
    task_id: String,
    name: String,
    user_id: String,
    attempt: u32,
    files: usize,
    bytes: u64,
    uploaded_at: String,
}

impl TaskWithFilesJson {
    /// A task that left files.
    #[must_use]
    pub fn new(record: &FilesRecord) -> Self {
        Self {
            task_id: record.attempt.task.to_string(),
            name: record.task_name.clone(),
            user_id: record.user.to_string(),
            attempt: record.attempt.number,
            files: record.files.len(),
            bytes: total(record),
            uploaded_at: record.uploaded_at.to_string(),
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileJson {
    path: String,
    size: u64,
    sha256: String,
}

impl FileJson {
    /// One file.
    #[must_use]
    pub fn new(record: &FileRecord) -> Self {
        Self {
            path: record.path.clone(),
            size: record.size,
            sha256: record.sha256.clone(),
        }
    }
}
