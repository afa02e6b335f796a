//! Room that is kept for the day when the disk is full.
//!
//! What fills a disk is often the output of a task that runs here, and only its end makes room
//! again. That end must be written first: so the spool holds some room back for ends alone, gives it
//! up bit by bit when the disk is full, and takes it again when something was deleted.

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate};

/// Enough for the ends of dozens of attempts, while others go on filling the disk.
const BYTES: u64 = 4 << 20;
/// Given up at once.
const STEP: u64 = 64 << 10;

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

    /// Makes `write`; where the disk is full, again and again with more of the reserve given up, as
    /// long as there is some.
    pub(super) fn back<E>(
        &self,
        is_full: impl Fn(&E) -> bool,
        mut write: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            match write() {
                Err(error) if is_full(&error) && self.give_up_some() => {}
                done => return done,
            }
        }
    }

    /// Whether there was something to give up.
    fn give_up_some(&self) -> bool {
        let given = OpenOptions::new()
            .write(true)
            .open(&self.path)
            .and_then(|file| {
                let held = file.metadata()?.len();
                file.set_len(held.saturating_sub(STEP))?;
                Ok(held > 0)
            });
        given.unwrap_or(false)
    }
}
