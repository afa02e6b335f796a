//! Opening the database file: taken for what it is, never replaced, brought to this program's
//! version.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    backups::newest_backup,
    lock::{DataDirLock, InUse},
    migrate::{self, CopyError, Migration},
    unfinished::Unfinished,
};

/// The database's name in the data directory.
pub const DATABASE_FILE: &str = "cloudai.db";
/// `ClAI`: tells our files from other SQLite databases.
const APPLICATION_ID: i32 = 0x436c_4149;
/// How long to wait for another program that looks into the file, such as `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Files up to this size are checked whole at every start; that takes well under a second.
const CHECK_LIMIT_BYTES: u64 = 64 << 20;

/// Why a SQLite store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory can't be made or written to.
    #[error(
        "data directory {path:?} can't be used: expected a directory that this user may write to"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Another master has it.
    #[error(transparent)]
    InUse(#[from] InUse),
    /// The file is not as SQLite or this program left it.
    #[error(
        "{path:?} is damaged: {problem}; it was left as it is. {}",
        advice(copy.as_deref(), backup.as_deref())
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        problem: String,
        /// The newest copy beside it, made before a migration.
        copy: Option<PathBuf>,
        /// The newest backup that was made of this data directory.
        backup: Option<PathBuf>,
    },
    /// The file is a database of another program.
    #[error("{path:?} is not a database of CloudAI: choose another directory with -data-dir")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer program has written it.
    #[error(
        "{path:?} has schema version {found}, and this program knows versions up to {known}: \
         expected a master-node at least as new as the one that wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The highest known.
        known: u32,
    },
    /// There is no store, where one was to be read.
    #[error("{path:?} is not there: expected the data directory of a master with -store sqlite")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is a store, where a new one was to be made.
    #[error("{path:?} is there already: expected a data directory without a store")]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// Only a master brings a store forward, and what is to be read must be of this version.
    #[error(
        "{path:?} has schema version {found}, and this program reads version {known}: start this \
         master on it once, which brings it forward, or use the program that wrote it"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// This program's.
        known: u32,
    },
    /// It was being filled, and that did not come to its end.
    #[error(
        "{path:?} is only half filled: {what} did not come to its end. Run that again, which begins \
         anew; to give it up instead, remove cloudai.db and cloudai.unfinished there"
    )]
    Unfinished {
        /// The directory.
        path: PathBuf,
        /// What was to fill it.
        what: String,
    },
    /// The file can be read, but not written.
    #[error("{path:?} can't be written: expected a file that this user may write to")]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The copy before a migration was not made; nothing was migrated.
    #[error("{path:?} could not be copied before its migration; it was left as it is")]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: crate::error::Cause,
    },
    /// A migration failed; the file is as before it.
    #[error("{path:?} could not be brought to schema version {to}; its copy is {copy:?}")]
    Migration {
        /// The file.
        path: PathBuf,
        /// The version wanted.
        to: u32,
        /// The copy made before.
        copy: PathBuf,
        /// Why.
        #[source]
        cause: crate::error::Cause,
    },
    /// Anything else that SQLite or the system said.
    #[error("{path:?} can't be opened")]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: crate::error::Cause,
    },
}

fn advice(copy: Option<&Path>, backup: Option<&Path>) -> String {
    let copy = copy.map(|copy| {
        format!(
            "The copy {copy:?} was made before this program brought it forward: move the damaged \
             file away and put the copy in its place"
        )
    });
    let backup = backup.map(|backup| {
        format!(
            "The newest backup made of it is {backup:?}: move the data directory away and run \
             `master-node restore --from {backup:?}`"
        )
    });
    match (backup, copy) {
        (Some(backup), Some(copy)) => format!("{backup}. {copy}"),
        (Some(advice), None) | (None, Some(advice)) => advice,
        (None, None) => {
            "No copy lies beside it and no backup of it is known: restore it from your \
                         own, or move it away to begin anew"
                .to_owned()
        }
    }
}

/// A database ready to be written, and the lock that goes with it.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) db: Connection,
    pub(super) lock: DataDirLock,
}

/// What a mark in the data directory means to whoever opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenUnfinished {
    /// It is half filled.
    Refuse,
    /// It is the one that is filling it.
    GoOn,
}

/// Makes the data directory if it is not there.
pub(super) fn make_directory(data_dir: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(data_dir).map_err(|cause| OpenError::Directory {
        path: data_dir.to_owned(),
        cause,
    })
}

/// Opens the database of a data directory that is held by `lock`, or makes it.
pub(super) fn open(
    lock: DataDirLock,
    data_dir: &Path,
    migrations: &[Migration],
    unfinished: WhenUnfinished,
) -> Result<Opened, OpenError> {
    if unfinished == WhenUnfinished::Refuse
        && let Some(what) = Unfinished::find(data_dir)?
    {
        return Err(OpenError::Unfinished {
            path: data_dir.to_owned(),
            what,
        });
    }
    let directory = |cause| OpenError::Directory {
        path: data_dir.to_owned(),
        cause,
    };
    let path = data_dir.join(DATABASE_FILE);
    match fs::metadata(&path) {
        Ok(found) => inspect(&path, found.len(), migrations)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path, migrations)?,
        Err(cause) => return Err(directory(cause)),
    }
    let db = connect(&path).map_err(|error| failed(&path, error))?;
    Ok(Opened { path, db, lock })
}

/// Makes a database under another name and moves it into place when it is whole, so that one that
/// is there but empty is always damage.
fn create(path: &Path, migrations: &[Migration]) -> Result<(), OpenError> {
    let io_failed = |cause: io::Error| OpenError::Failed {
        path: path.to_owned(),
        cause: Box::new(cause),
    };
    if fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0) {
        return Err(damaged(
            path,
            "it is missing, but its write-ahead log is there",
        ));
    }
    let unfinished = beside(path, ".unfinished");
    for leftover in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(beside(&unfinished, leftover)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_failed(error)),
            Ok(()) | Err(_) => {}
        }
    }
    create_private(&unfinished).map_err(io_failed)?;
    make(&unfinished, migrations).map_err(|error| failed(path, error))?;
    File::open(&unfinished)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&unfinished, path))
        .and_then(|()| sync_parent(path))
        .map_err(io_failed)
}

fn make(path: &Path, migrations: &[Migration]) -> rusqlite::Result<()> {
    let mut db = connect(path)?;
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    migrate::apply(&mut db, migrations)?;
    db.close().map_err(|(_, error)| error)
}

/// Makes sure that a file is a whole database of ours, and brings it to the newest version.
fn inspect(path: &Path, size_bytes: u64, migrations: &[Migration]) -> Result<(), OpenError> {
    if size_bytes == 0 {
        return Err(damaged(path, "it is empty"));
    }
    let failed = |error| failed(path, error);
    let known = migrate::newest(migrations);
    // Only looked at: one that isn't ours is left exactly as it is.
    let found = recognise(path, known)?;
    let mut db = connect(path).map_err(failed)?;
    if db.is_readonly("main").map_err(failed)? {
        return Err(OpenError::ReadOnly {
            path: path.to_owned(),
        });
    }
    if size_bytes <= CHECK_LIMIT_BYTES {
        let verdict: String = db
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(failed)?;
        if verdict != "ok" {
            return Err(damaged(path, &verdict));
        }
    }
    if found < known {
        let copy = migrate::copy(&db, path).map_err(|error| match error {
            CopyError::Sqlite(error) if is_damage(&error) => damaged(path, &error.to_string()),
            other => OpenError::Copy {
                path: path.to_owned(),
                cause: Box::new(other),
            },
        })?;
        migrate::apply(&mut db, migrations).map_err(|error| OpenError::Migration {
            path: path.to_owned(),
            to: known,
            copy,
            cause: Box::new(error),
        })?;
    }
    Ok(())
}

/// Whether there is a database with tasks in it, or a file of which that can't be told.
pub(super) fn holds_tasks(path: &Path) -> bool {
    if !path.exists() {
        return false;
    }
    let any = connect_to_read(path)
        .and_then(|db| db.query_row("SELECT EXISTS (SELECT 1 FROM tasks)", [], |row| row.get(0)));
    any.unwrap_or(true)
}

/// The version of a file that is a database of ours, and not of a newer program than this one.
pub(super) fn recognise(path: &Path, known: u32) -> Result<u32, OpenError> {
    let failed = |error| failed(path, error);
    let db = connect_to_read(path).map_err(failed)?;
    let id: i32 = db
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(failed)?;
    if id != APPLICATION_ID {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    let found = migrate::version(&db).map_err(failed)?;
    if found > known {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(found)
}

/// The connection that writes.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    // Rows hang on a task by construction: they are inserted under the order that is read from it.
    db.pragma_update(None, "foreign_keys", false)?;
    // At most 16 MiB of pages, and a log that shrinks again after a burst.
    db.pragma_update(None, "cache_size", -16_384)?;
    db.query_row("PRAGMA journal_size_limit = 67108864", [], |_| Ok(()))?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// A connection that reads.
pub(super) fn connect_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Makes an empty file that only its owner reads: environments of tasks hold secrets. SQLite
/// gives the log beside it the same mode.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

/// Makes a rename in the file's directory last.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// The files of a database that is open.
pub(super) fn files(path: &Path) -> Vec<PathBuf> {
    ["", "-wal", "-shm"]
        .map(|suffix| beside(path, suffix))
        .into()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

pub(super) fn damaged(path: &Path, problem: &str) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        problem: problem.to_owned(),
        copy: migrate::newest_copy(path),
        backup: path.parent().and_then(newest_backup),
    }
}

fn failed(path: &Path, error: rusqlite::Error) -> OpenError {
    if is_damage(&error) {
        return damaged(path, &error.to_string());
    }
    if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) {
        return OpenError::ReadOnly {
            path: path.to_owned(),
        };
    }
    OpenError::Failed {
        path: path.to_owned(),
        cause: Box::new(error),
    }
}
