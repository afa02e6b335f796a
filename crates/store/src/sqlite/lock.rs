//! The lock by which one program holds a data directory: a master, or what looks after its store.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::open::OpenError;

/// The name of the file that carries the lock, in the data directory.
pub const LOCK_FILE: &str = "cloudai.lock";

/// Held for as long as this lives. The kernel lets go of it when the process ends, however it
/// ends, so a file left behind locks nobody out.
#[derive(Debug)]
pub struct DataDirLock {
    file: File,
}

impl Drop for DataDirLock {
    /// A process that is just being started from another thread has the open file until it becomes
    /// its own program, and with it the lock, unless that is let go of for all who have the file.
    fn drop(&mut self) {
        // If it can't be, closing the file does it, a moment later.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Another process holds the data directory.
#[derive(Debug, thiserror::Error)]
#[error(
    "data directory {path:?} is in use by another master (process {holder}): \
     stop that one, or choose another with -data-dir"
)]
pub struct InUse {
    /// The directory.
    pub path: PathBuf,
    /// Its process id, as found in the lock file.
    pub holder: String,
}

/// Why the lock was not had.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process holds it.
    Held(InUse),
    /// The file can't be made or locked.
    Io(io::Error),
}

impl DataDirLock {
    /// Takes the lock, or says who has it. Does not wait.
    ///
    /// # Errors
    /// [`OpenError::InUse`], or that the file can't be made or locked.
    pub fn hold(data_dir: &Path) -> Result<Self, OpenError> {
        Self::take(data_dir).map_err(|error| match error {
            LockError::Held(in_use) => in_use.into(),
            LockError::Io(cause) => OpenError::Directory {
                path: data_dir.join(LOCK_FILE),
                cause,
            },
        })
    }

    /// The same, with the bare reason.
    pub(crate) fn take(data_dir: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(data_dir.join(LOCK_FILE))
            .map_err(LockError::Io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Who it is only helps a person; that it is held is known already.
                let _ = file.read_to_string(&mut holder);
                return Err(LockError::Held(InUse {
                    path: data_dir.to_owned(),
                    holder: holder.trim().to_owned(),
                }));
            }
            Err(error) => return Err(LockError::Io(error.into())),
        }
        file.set_len(0).map_err(LockError::Io)?;
        writeln!(file, "{}", std::process::id()).map_err(LockError::Io)?;
        Ok(Self { file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_go_of_is_free_while_a_process_being_started_still_has_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DataDirLock::take(dir.path()).unwrap();
        // As a process that was forked and has not yet become another program.
        let of_child = lock.file.try_clone().unwrap();
        let held = DataDirLock::take(dir.path());
        assert!(matches!(held, Err(LockError::Held(_))), "{held:?}");

        drop(lock);

        DataDirLock::take(dir.path()).unwrap();
        drop(of_child);
    }
}
