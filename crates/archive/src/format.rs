//! What a backup is: a gzipped tar archive whose first entry says what it is and whose last says
//! what all the others amount to.
//!
//! ```text
//! cloudai-backup.json     the header: format, program, cluster, when
//! store/cloudai.db        the store, as a SQLite store of the program that made the backup
//! secrets/<name>.key      the secrets of the data directory
//! logs/<task>/<n>.log     framed logs, up to their last whole frame
//! files/<user>/<task>/... output files
//! manifest.json           each entry before, with size and SHA-256
//! ```

use std::{collections::BTreeMap, io, path::PathBuf};

use cloudai_store::Holdings;
use serde::{Deserialize, Serialize};

/// The version of the format; rises with each change that an older program can't read.
pub const FORMAT: u32 = 1;

pub(crate) const HEADER: &str = "cloudai-backup.json";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const STORE: &str = "store/cloudai.db";
pub(crate) const SECRETS: &str = "secrets";
/// What the name of a secret in a data directory ends with.
pub(crate) const SECRET: &str = ".key";

/// What a backup says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// See [`FORMAT`].
    pub format: u32,
    /// The version of the program that made it.
    pub program: String,
    /// Whose it is; `None` if no master ever started on the store.
    pub cluster: Option<String>,
    /// When, RFC 3339.
    pub made_at: String,
    /// The same in Unix milliseconds.
    pub made_at_ms: i64,
    /// The store that it was made of.
    pub store: String,
    /// The version of the schema of the store in it.
    pub schema: i64,
    /// Whether logs and files are in it.
    pub logs_and_files: bool,
}

/// What a backup says last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What it said first.
    pub header: Header,
    /// How many records of each kind, tasks by status.
    pub records: BTreeMap<String, u64>,
    /// Every entry between the two, in order.
    pub parts: Vec<Part>,
    /// What should have been in it and could not be had, in words.
    pub missing: Vec<String>,
}

/// An entry of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
}

impl Manifest {
    /// How many parts lie in this folder.
    #[must_use]
    pub fn parts_in(&self, folder: &str) -> usize {
        let within = |part: &&Part| {
            let rest = part.path.strip_prefix(folder);
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.parts.iter().filter(within).count()
    }
}

/// The counts as a manifest has them.
pub(crate) fn records(holdings: &Holdings) -> BTreeMap<String, u64> {
    let tasks = holdings.tasks.iter();
    let mut records: BTreeMap<String, u64> = tasks
        .map(|(status, count)| (format!("tasks {status}"), *count))
        .collect();
    records.insert("workers".to_owned(), holdings.workers);
    records.insert("attempts".to_owned(), holdings.assignments);
    records.insert("results".to_owned(), holdings.results);
    records.insert("sets of files".to_owned(), holdings.files);
    records.insert("stop orders".to_owned(), holdings.stop_orders);
    // Backups of programs that removed nothing, and knew no users, don't have these.
    if holdings.removed > 0 {
        records.insert("removals".to_owned(), holdings.removed);
    }
    if holdings.has_forgotten {
        records.insert("numbers of forgotten tasks".to_owned(), 1);
    }
    for (kind, count) in [
        ("users", holdings.users),
        ("keys", holdings.keys),
        ("ended tokens", holdings.ended_tokens),
        ("entries of the audit", holdings.audit),
    ] {
        if count > 0 {
            records.insert(kind.to_owned(), count);
        }
    }
    records
}

/// Why a file is not taken for a backup, or could not be made one.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file system refused.
    #[error("{path:?}: cannot {doing}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{path:?} is not a backup of CloudAI: expected a file made by `master-node backup`")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another program's format.
    #[error(
        "{path:?} is a backup of format {found}, made by version {program}, and this program reads \
         format {FORMAT}: restore it with the version that made it"
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The program that made it.
        program: String,
    },
    /// It is not as it was made.
    #[error(
        "{path:?} is damaged or cut short: {problem}; expected it as it was made. Nothing was \
         restored from it: take another copy of it, or another backup"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl ArchiveError {
    /// For `map_err`: the file system refused `doing` on `path`.
    pub(crate) fn io(
        path: &std::path::Path,
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            doing,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_without_removals_and_accounts_is_counted_as_in_older_backups() {
        let counted = records(&Holdings::default());
        let kinds: Vec<_> = counted.keys().map(String::as_str).collect();
        let expected = [
            "attempts",
            "results",
            "sets of files",
            "stop orders",
            "workers",
        ];
        assert_eq!(kinds, expected);
        let swept = records(&Holdings {
            removed: 3,
            has_forgotten: true,
            ..Holdings::default()
        });
        assert_eq!(swept["removals"], 3);
        assert_eq!(swept["numbers of forgotten tasks"], 1);
    }
}
