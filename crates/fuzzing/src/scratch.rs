//! Folders for checks of what reads files: in memory where there is such a place, so that a flush
//! costs nothing, and gone with the check.

use std::path::Path;

use tempfile::TempDir;

/// A file system in memory, on Linux.
const IN_MEMORY: &str = "/dev/shm";

/// An empty folder that is removed when it is dropped.
///
/// # Panics
/// If none can be made.
#[must_use]
pub fn folder() -> TempDir {
    let made = if Path::new(IN_MEMORY).is_dir() {
        tempfile::tempdir_in(IN_MEMORY)
    } else {
        tempfile::tempdir()
    };
    made.expect("a folder for a check can be made: free some room in /dev/shm")
}
