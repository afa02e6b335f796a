//! Room that is kept for the day when the disk is full.
//!
//! What fills a disk is often the output of a task that runs here, and only its end makes room
//! again. That end must be written first: so the spool holds some room back, gives it up when a
//! write finds the disk full, and takes it again when something was deleted.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate};

/// Enough for the states of thousands of attempts.
const BYTES: u64 = 4 << 20;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The reserve of the spool in this folder; takes it as far as it can be had.
    pub(super) fn of(root: &Path) -> Self {
        let reserve = Self {
            path: root.join("reserve"),
        };
        reserve.take();
        reserve
    }

    /// Takes the room, if it is to be had and not held already.
    pub(super) fn take(&self) {
        let taken = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
            .and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, BYTES)?));
        if let Err(error) = taken {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "no room is held back for a full disk");
        }
    }

    /// Makes `write`; where the disk is full, once more without the reserve.
    pub(super) fn back<E>(
        &self,
        is_full: impl Fn(&E) -> bool,
        mut write: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        match write() {
            Err(error) if is_full(&error) && fs::remove_file(&self.path).is_ok() => write(),
            done => done,
        }
    }
}

/// Whether it is a lack of room that an error tells of.
pub(super) fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
