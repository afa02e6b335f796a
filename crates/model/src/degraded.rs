//! A database that is out of reach, as people are told of it.

use std::fmt;

use crate::Wall;

/// The store's database is out of reach, and the master goes on without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    /// Which database.
    pub place: String,
    /// Since when.
    pub since: Wall,
    /// What came instead of an answer; what is being done, once it is there again.
    pub reason: String,
    /// Whether the store has been read since the start: before, nobody knows what is in it.
    pub read: bool,
    /// How many changes a local journal holds that the database lacks.
    pub changes: usize,
    /// How many tasks were accepted before the store had been read, and wait for that.
    pub submitted: usize,
    /// Bytes of the journal.
    pub journal_bytes: u64,
}

impl fmt::Display for Degraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            since,
            reason,
            ..
        } = self;
        write!(f, "{place} is out of reach since {since} ({reason})")
    }
}
