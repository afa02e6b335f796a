//! A task's files, to be read one by one.

use std::fs::File;

use cloudai_files::output::{OutputStore, Reading, RelativePath, StoreError};
use cloudai_model::{TaskId, UserName, record::FileRecord};

use crate::TaskFiles;

/// What a task left. As long as it is held, retention leaves it.
#[derive(Debug)]
pub struct OpenFiles {
    /// What there is.
    pub left: TaskFiles,
    store: OutputStore,
    user: UserName,
    task: TaskId,
    _reading: Reading,
}

impl OpenFiles {
    /// What `store` has of a task, which `reading` keeps there.
    #[must_use]
    pub fn new(
        left: TaskFiles,
        store: OutputStore,
        user: UserName,
        task: TaskId,
        reading: Reading,
    ) -> Self {
        Self {
            left,
            store,
            user,
            task,
            _reading: reading,
        }
    }

    /// What is known of the file of this path, as it travels; `None` if there is none, or it is no
    /// path within the task's folder.
    #[must_use]
    pub fn record(&self, path: &str) -> Option<&FileRecord> {
        self.left.files.iter().find(|record| record.path == path)
    }

    /// Opens a file. It blocks: not on a thread that serves others.
    ///
    /// # Errors
    /// The disk refuses; `None` if what is on record has no path within the task's folder.
    pub fn open(&self, record: &FileRecord) -> Result<Option<File>, StoreError> {
        let Ok(path) = record.path.parse::<RelativePath>() else {
            return Ok(None);
        };
        self.store
            .open_file(&self.user, &self.task, &path)
            .map(Some)
    }
}
