//! The files that a task leaves in `/output`.
//!
//! The worker [unpacks](unpack) those of an engine elsewhere, [collects](collect) and
//! [reads](read_chunks) them, the master [stages](Staging) and publishes them, and whoever asks gets
//! them [copied out](OutputStore::copy_out). Names come from containers that may be hostile and
//! workers that may be: [`RelativePath`] is the only form in which one enters, and the private
//! `folder` module the only way in which one is opened.

mod chunks;
mod collect;
mod copy_out;
mod folder;
mod kept;
mod left_out;
mod path;
mod remove;
mod staging;
mod store;
mod tar;
mod unpack;
mod usage;

use std::{io, path::PathBuf};

pub use chunks::{Chunk, FileChunks, ReadError, Zeros, read_chunks};
pub use collect::{CollectError, Collected, CollectedFile, collect};
pub use copy_out::{CopyError, CopyProgress, CopySummary};
pub use kept::{KeptFiles, Reading};
pub use left_out::LeftOut;
pub use path::{MAX_DEPTH, MAX_NAME_LEN, MAX_PATH_LEN, PathError, PathProblem, RelativePath};
pub use remove::remove_tree;
pub use staging::{StageError, Staging};
pub use store::OutputStore;
pub use unpack::{UnpackError, unpack};
pub use usage::{TooDeep, disk_usage};

/// Whether it is a lack of room on a disk that an error tells of: there may be room later.
#[must_use]
pub fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What a hole in a file holds.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What a file's bytes must amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// Bytes.
    pub size: u64,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
}

/// The store's own folders could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("files {}: cannot {doing}", path.display())]
pub struct StoreError {
    /// The folder or file.
    pub path: PathBuf,
    /// What was tried.
    pub doing: &'static str,
    /// What the system said.
    pub source: io::Error,
}

impl StoreError {
    /// For `map_err`: the file system refused `doing` on `path`.
    fn io(path: &std::path::Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self {
            path,
            doing,
            source,
        }
    }
}
