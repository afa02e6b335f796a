//! What a task printed, as framed bytes in a file.
//!
//! Worker and master hold the same bytes: the master copies the worker's spool as it is and, after
//! a break, goes on at the length of its own file. So there is one format, one repair of a torn
//! tail and one way to follow a file that grows.

mod follow;
mod frame;
mod reader;
mod render;
mod store;
mod tail;
mod walk;
mod writer;

use std::{io, path::PathBuf};

pub use follow::{LogExtent, LogFollower, LogWatch};
pub use frame::{Decoder, Frame, FrameError, HEADER_LEN, LogStream, MAX_PAYLOAD_LEN, encode};
pub use reader::{Frames, LogReader};
pub use render::{render, tail_text};
pub use store::{KeptLogs, LogStore, OpenLog};
pub use tail::{LogPlace, last_lines};
pub use writer::{LogWriter, Repair, whole_len};

/// Why a log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system refused.
    #[error("log {}: cannot {doing}", path.display())]
    Io {
        /// The log's file or folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are no frames.
    #[error("log {} is not framed", path.display())]
    Malformed {
        /// The log's file.
        path: PathBuf,
        /// Where and how.
        source: FrameError,
    },
    /// Bytes were to be appended behind the end: something between is missing.
    #[error(
        "log {}: expected bytes that go on at offset {len} or before, got offset {offset}",
        path.display()
    )]
    Gap {
        /// The log's file.
        path: PathBuf,
        /// Its length.
        len: u64,
        /// Where the bytes were to begin.
        offset: u64,
    },
    /// Bytes that the log holds already came again, and differ.
    #[error(
        "log {}: expected the bytes from offset {offset} on to repeat what is there, they differ \
         at offset {at}",
        path.display()
    )]
    Differs {
        /// The log's file.
        path: PathBuf,
        /// Where the bytes were to begin.
        offset: u64,
        /// The first offset at which they differ.
        at: u64,
    },
    /// A frame was to be appended where a copied frame is not complete yet.
    #[error(
        "log {} ends within a frame: expected the bytes that complete the one at offset {whole}, \
         from offset {len} on",
        path.display()
    )]
    MidFrame {
        /// The log's file.
        path: PathBuf,
        /// Where the last whole frame ends.
        whole: u64,
        /// The log's length.
        len: u64,
    },
    /// The log is complete; nothing can be added.
    #[error("log {} is sealed: expected no more bytes", path.display())]
    Sealed {
        /// The log's file.
        path: PathBuf,
    },
}

impl LogError {
    /// Whether there is no such log.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether it is a lack of room on the disk: there may be room later.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        matches!(self, Self::Io { source, .. } if crate::output::is_no_room(source))
    }

    /// For `map_err`: the file system refused `doing` on `path`.
    fn io(path: &std::path::Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            doing,
            source,
        }
    }
}
