//! What retention asks of the published files: whose there are, what they take, who reads them.

use std::{
    collections::BTreeMap,
    fs::{self, ReadDir},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cloudai_model::{TaskId, UserName};

use super::usage::disk_usage;

/// How many are reading the files of a task just now.
#[derive(Debug, Clone, Default)]
pub(super) struct Readers(Arc<Mutex<BTreeMap<TaskId, usize>>>);

impl Readers {
    /// Those that read; as long as it is held nobody begins.
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, usize>> {
        // A panic elsewhere leaves the counts whole: each is changed in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, task: &TaskId) -> Reading {
        *self.lock().entry(task.clone()).or_default() += 1;
        Reading {
            task: task.clone(),
            readers: self.clone(),
        }
    }
}

/// Files of a task are being read: as long as this is there, retention leaves them.
#[derive(Debug)]
pub struct Reading {
    task: TaskId,
    readers: Readers,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut readers = self.readers.lock();
        if let Some(count) = readers.get_mut(&self.task) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.task);
            }
        }
    }
}

/// The tasks that left files, and what those take on disk.
#[derive(Debug)]
pub struct KeptFiles {
    users: ReadDir,
    tasks: Option<(UserName, ReadDir)>,
}

impl KeptFiles {
    pub(super) fn new(users: ReadDir) -> Self {
        Self { users, tasks: None }
    }
}

impl Iterator for KeptFiles {
    /// Whose, which task, and the bytes that its files take.
    type Item = io::Result<(UserName, TaskId, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((user, tasks)) = &mut self.tasks {
                match tasks.next() {
                    Some(Ok(entry)) => {
                        let name = entry.file_name();
                        if let Some(task) = name.to_str().and_then(|name| name.parse().ok()) {
                            let bytes = disk_usage(&entry.path()).unwrap_or(0);
                            return Some(Ok((user.clone(), task, bytes)));
                        }
                    }
                    Some(Err(error)) => return Some(Err(error)),
                    None => self.tasks = None,
                }
                continue;
            }
            let entry = match self.users.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            // The store's own folders have names that no user has.
            let name = entry.file_name();
            if let Some(user) = name.to_str().and_then(|name| name.parse().ok()) {
                match fs::read_dir(entry.path()) {
                    Ok(tasks) => self.tasks = Some((user, tasks)),
                    // Somebody's own file, or the last of a user's tasks went just now.
                    Err(error) if is_no_folder(&error) => {}
                    Err(error) => return Some(Err(error)),
                }
            }
        }
    }
}

fn is_no_folder(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotADirectory | io::ErrorKind::NotFound
    )
}
