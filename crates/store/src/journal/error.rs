//! Why a store behind a journal could not be opened.

use std::{io, path::PathBuf};

use crate::{InUse, error::Cause};

/// Why a journal can't be used. The file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It can't be read, or the data directory can't be used.
    #[error("{path:?} can't be used: expected a file that this user may read and write")]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Another master has the data directory.
    #[error(transparent)]
    InUse(#[from] InUse),
    /// Another program wrote it, or a newer CloudAI.
    #[error(
        "{path:?} is no journal that this program knows: expected a master-node at least as new \
         as the one that wrote it"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// What was whole once isn't any more.
    #[error(
        "the journal {path:?} is damaged at byte {at}: {problem}. It holds changes that the \
         database may lack and was left as it is: expected it as it was written, from a copy; \
         without one, move it away to go on without these changes"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
        /// What was found.
        problem: String,
    },
}

/// Why a store behind a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournaledOpenError {
    /// The data directory or the journal can't be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The database is out of reach, and it was said that it must not be.
    #[error(
        "{place} is out of reach, and with -store-required the master doesn't start without it"
    )]
    OutOfReach {
        /// Which database.
        place: String,
        /// What came instead of an answer.
        #[source]
        cause: Cause,
    },
    /// The database was reached, and can't be used.
    #[error("{0}")]
    Refused(String),
    /// The database is not as this master left it.
    #[error(
        "{place} is not as this master left it: another master has had it since, or it is another \
         database. The journal {journal:?} holds {changes} changes that were answered and that \
         the database lacks; it was kept. Expected the database that it was written for, or the \
         journal moved away to go on without these changes"
    )]
    NotTheSame {
        /// Which database.
        place: String,
        /// The journal's file.
        journal: PathBuf,
        /// How many records it holds.
        changes: usize,
    },
}
