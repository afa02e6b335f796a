//! What goes wrong inside, before it is known where: SQLite's own errors, and those of a record.
//! Turned into the errors of the crate with the store's place.

use cloudai_model::TaskId;
use rusqlite::ErrorCode;

use crate::{CommitError, ReadError};

/// Why a record can't be written.
#[derive(Debug)]
pub(super) enum WriteError {
    Conflict { what: &'static str, key: String },
    UnknownTask { record: &'static str, task: TaskId },
    OrderTooHigh { task: TaskId, order: u64 },
    Row(ReadError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<RowError> for WriteError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Row(error) => Self::Row(error),
            RowError::Sqlite(error) => Self::Sqlite(error),
        }
    }
}

impl WriteError {
    pub(super) fn at(self, place: &str) -> CommitError {
        match self {
            Self::Conflict { what, key } => CommitError::Conflict { what, key },
            Self::UnknownTask { record, task } => CommitError::UnknownTask { record, task },
            Self::OrderTooHigh { task, order } => CommitError::OrderTooHigh { task, order },
            Self::Row(error) => CommitError::Failed {
                place: place.to_owned(),
                cause: Box::new(error),
            },
            Self::Sqlite(error) if is_no_room(&error) => CommitError::Full {
                place: place.to_owned(),
                is_here: true,
                cause: Box::new(error),
            },
            Self::Sqlite(error) => CommitError::Failed {
                place: place.to_owned(),
                cause: Box::new(error),
            },
        }
    }
}

/// Whether SQLite found no room: for pages, or for the index of its write-ahead log, which it says
/// with another code.
fn is_no_room(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || code == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// Why rows can't be read.
#[derive(Debug)]
pub(super) enum RowError {
    Row(ReadError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<ReadError> for RowError {
    fn from(error: ReadError) -> Self {
        Self::Row(error)
    }
}

impl RowError {
    pub(super) fn at(self, place: &str) -> ReadError {
        match self {
            Self::Row(error) => error,
            Self::Sqlite(error) => ReadError::Failed {
                place: place.to_owned(),
                cause: Box::new(error),
            },
        }
    }
}
