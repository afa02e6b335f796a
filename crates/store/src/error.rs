//! Why a commit or a read did not succeed. Why a store could not be opened is said where it is
//! opened.

use cloudai_model::TaskId;

use crate::HIGHEST_ORDER;

/// The cause underneath, of whichever database.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another record with this key is there already, and its content differs.
    #[error("{what} {key} is stored with other content: expected it once, or again the same")]
    Conflict {
        /// `task`, `result` or `order`.
        what: &'static str,
        /// Which.
        key: String,
    },
    /// A record speaks of a task that was never added.
    #[error(
        "a {record} record is about task {task}, which is not stored: expected it added before"
    )]
    UnknownTask {
        /// Kind of record.
        record: &'static str,
        /// The task.
        task: TaskId,
    },
    /// A task's order can't be stored.
    #[error("task {task} has order {order}: expected at most {HIGHEST_ORDER}")]
    OrderTooHigh {
        /// The task.
        task: TaskId,
        /// Its order.
        order: u64,
    },
    /// There is no room left. Nothing of the batch is kept.
    #[error("the disk of {place} is full: free some space")]
    Full {
        /// Which store.
        place: String,
        /// Whether it is the disk of the data directory, and not one of the database's own.
        is_here: bool,
        /// What the database said.
        #[source]
        cause: Cause,
    },
    /// The database failed; whether the batch was kept is not known.
    #[error("{place} failed")]
    Failed {
        /// Which store.
        place: String,
        /// What it said.
        #[source]
        cause: Cause,
    },
    /// The database doesn't answer, or nobody there takes writes; whether the batch was kept is not
    /// known.
    #[error("{place} is out of reach")]
    OutOfReach {
        /// Which store.
        place: String,
        /// What came instead of an answer.
        #[source]
        cause: Cause,
    },
    /// What the journal holds can't be carried over to the database. The journal is kept.
    #[error("the journal {journal:?} can't be carried over to {place}; it was kept")]
    Broken {
        /// Which store.
        place: String,
        /// The journal's file.
        journal: std::path::PathBuf,
        /// What the database says.
        #[source]
        cause: Cause,
    },
    /// Another master writes there now. Two on one database would run everything twice.
    #[error("another master has taken {place} over: expected to be the only one on this database")]
    TakenOver {
        /// Which store.
        place: String,
    },
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
}

impl CommitError {
    /// Whether it is room that is missing: the identical batch succeeds when there is some.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// The same, on the disk of the data directory.
    #[must_use]
    pub fn is_full_here(&self) -> bool {
        matches!(self, Self::Full { is_here: true, .. })
    }

    /// Whether the identical batch may succeed if it is sent again.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Failed { .. } | Self::OutOfReach { .. } => true,
            Self::Conflict { .. }
            | Self::UnknownTask { .. }
            | Self::OrderTooHigh { .. }
            | Self::Broken { .. }
            | Self::TakenOver { .. }
            | Self::Closed => false,
        }
    }
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What is stored is not what was written there, or a newer program wrote it.
    #[error("table {table}, row {key}, column {column} can't be read: {problem}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// The row's key.
        key: String,
        /// The column.
        column: &'static str,
        /// What was found and what was expected.
        problem: String,
    },
    /// The database failed.
    #[error("{place} failed")]
    Failed {
        /// Which store.
        place: String,
        /// What it said.
        #[source]
        cause: Cause,
    },
    /// A master wrote there while all of it was read, and there are no snapshots.
    #[error(
        "{place} was written while it was read, and a single MongoDB server has no snapshots: try \
         again while the master has little to do, stop it for so long, or run the server as a \
         replica set of one"
    )]
    WrittenMeanwhile {
        /// Which store.
        place: String,
    },
    /// A batch was begun there and not carried out.
    #[error(
        "{place} holds a batch that is not carried out to its end: start a master on it once, \
         which does that, and try again"
    )]
    Unsettled {
        /// Which store.
        place: String,
    },
    /// The database doesn't answer, or nobody there takes reads.
    #[error("{place} is out of reach, and this lies only there")]
    OutOfReach {
        /// Which store.
        place: String,
        /// What came instead of an answer.
        #[source]
        cause: Cause,
    },
    /// Nobody takes what [`crate::Store::load`] sends.
    #[error("loading was given up by its receiver")]
    ReceiverGone,
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
}
