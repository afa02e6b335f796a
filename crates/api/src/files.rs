//! What tasks left in `/output`.

use cloudai_model::record::{self, FileRecord};
use serde::Serialize;
use utoipa::ToSchema;

use crate::figures::Time;

/// When something was removed, and why.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Removal {
    /// When.
    at: Time,
    /// By what or whom.
    #[schema(example = "retention after 30d")]
    by: String,
}

impl From<&record::Removal> for Removal {
    fn from(removal: &record::Removal) -> Self {
        Self {
            at: removal.at.into(),
            by: removal.by.clone(),
        }
    }
}

/// A task that left files.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LeftFiles {
    /// The task.
    task_id: String,
    /// Its name.
    name: String,
    /// Whose.
    user_id: String,
    /// Which attempt left them.
    attempt: u32,
    /// How many.
    files: usize,
    /// Bytes of all of them.
    bytes: u64,
    /// When they were in.
    uploaded_at: Time,
    /// That they were removed since.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Removal>,
}

impl From<&cloudai_operator::LeftFiles> for LeftFiles {
    fn from(left: &cloudai_operator::LeftFiles) -> Self {
        let record = &left.record;
        Self {
            task_id: record.attempt.task.to_string(),
            name: record.task_name.clone(),
            user_id: record.user.to_string(),
            attempt: record.attempt.number,
            files: record.files.len(),
            bytes: record.files.iter().map(|file| file.size).sum(),
            uploaded_at: record.uploaded_at.into(),
            removed: left.removed.as_ref().map(Removal::from),
        }
    }
}

/// What one task left.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TaskFiles {
    /// The files, by path.
    files: Vec<LeftFile>,
    /// Whether these are all.
    files_complete: bool,
    /// Why they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    files_reason: Option<String>,
    /// That they were removed since.
    #[serde(skip_serializing_if = "Option::is_none")]
    files_removed: Option<Removal>,
}

impl From<&cloudai_operator::TaskFiles> for TaskFiles {
    fn from(left: &cloudai_operator::TaskFiles) -> Self {
        Self {
            files: left.files.iter().map(LeftFile::from).collect(),
            files_complete: left.whole.is_complete(),
            files_reason: left.whole.reason().map(str::to_owned),
            files_removed: left.removed.as_ref().map(Removal::from),
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LeftFile {
    /// Path within the task's folder, `/` between names, percent-encoded where it is not UTF-8.
    #[schema(example = "results/model.bin")]
    path: String,
    /// Bytes.
    size: u64,
    /// SHA-256 in hex; empty if the file came from a master that computed none.
    sha256: String,
}

impl From<&FileRecord> for LeftFile {
    fn from(record: &FileRecord) -> Self {
        Self {
            path: record.path.clone(),
            size: record.size,
            sha256: record.sha256.clone(),
        }
    }
}
