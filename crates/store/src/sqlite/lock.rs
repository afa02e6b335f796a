//! The lock by which one master holds a data directory.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

/// The name of the file that carries the lock.
pub(super) const LOCK_FILE: &str = "cloudai.lock";

/// Held for as long as this lives. The kernel lets go of it when the process ends, however it
/// ends, so a file left behind locks nobody out.
#[derive(Debug)]
pub(super) struct DataDirLock {
    _file: File,
}

/// Why the lock was not had.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process holds it; its process id, if it could be read.
    Held(String),
    /// The file can't be made or locked.
    Io(io::Error),
}

impl DataDirLock {
    /// Takes the lock, or says who has it. Does not wait.
    pub(super) fn take(data_dir: &Path) -> Result<Self, LockError> {
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
                return Err(LockError::Held(holder.trim().to_owned()));
            }
            Err(error) => return Err(LockError::Io(error.into())),
        }
        file.set_len(0).map_err(LockError::Io)?;
        writeln!(file, "{}", std::process::id()).map_err(LockError::Io)?;
        Ok(Self { _file: file })
    }
}
