//! Bringing a stored schema forward, one numbered step after another, after a copy.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, Transaction, params};

/// One step: what makes a schema of version `version - 1` one of `version`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    /// The version that it leads to.
    pub(super) version: u32,
    /// What it does, for people.
    pub(super) name: &'static str,
    /// The statements.
    pub(super) sql: &'static str,
}

/// Every step, by version, from 1 without a gap. A step that was released never changes.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "first tables",
        sql: include_str!("../../migrations/0001_first_tables.sql"),
    },
    Migration {
        version: 2,
        name: "retries and time-outs",
        sql: include_str!("../../migrations/0002_retries_and_time_outs.sql"),
    },
    Migration {
        version: 3,
        name: "retention",
        sql: include_str!("../../migrations/0003_retention.sql"),
    },
    Migration {
        version: 4,
        name: "accounts",
        sql: include_str!("../../migrations/0004_accounts.sql"),
    },
];

/// The version that all of them lead to.
pub(super) const NEWEST: u32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// The version that these steps lead to.
pub(super) fn newest(migrations: &[Migration]) -> u32 {
    migrations.last().map_or(0, |migration| migration.version)
}

/// The version of a database.
pub(super) fn version(db: &Connection) -> rusqlite::Result<u32> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Applies every step above the database's version, each in its own transaction: what fails
/// leaves the version before it.
pub(super) fn apply(db: &mut Connection, migrations: &[Migration]) -> rusqlite::Result<()> {
    let from = version(db)?;
    for migration in migrations.iter().filter(|step| step.version > from) {
        let transaction = db.transaction()?;
        apply_one(&transaction, migration)?;
        transaction.commit()?;
    }
    Ok(())
}

fn apply_one(transaction: &Transaction<'_>, migration: &Migration) -> rusqlite::Result<()> {
    transaction.execute_batch(migration.sql)?;
    transaction.execute(
        "INSERT INTO schema (version, name) VALUES (?1, ?2)",
        params![migration.version, migration.name],
    )?;
    transaction.pragma_update(None, "user_version", migration.version)
}

/// The copy of a database as it was at `version`.
pub(super) fn copy_path(database: &Path, version: u32) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(format!(".v{version}.bak"));
    name.into()
}

/// The copy of the highest version that lies beside the database.
pub(super) fn newest_copy(database: &Path) -> Option<PathBuf> {
    let prefix = format!("{}.v", database.file_name()?.to_str()?);
    let version_of = |path: &PathBuf| -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix(&prefix)?
            .strip_suffix(".bak")?
            .parse()
            .ok()
    };
    fs::read_dir(database.parent()?)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| Some((version_of(&path)?, path)))
        .max()
        .map(|(_, path)| path)
}

/// Why a copy was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Copies the database to [`copy_path`], whole and on disk when it returns. An older copy of the
/// same version is replaced only by a finished one.
pub(super) fn copy(db: &Connection, database: &Path) -> Result<PathBuf, CopyError> {
    let path = copy_path(database, version(db)?);
    let mut unfinished = path.clone().into_os_string();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    super::open::create_private(&unfinished)?;
    db.execute("VACUUM INTO ?1", [unfinished.to_string_lossy()])?;
    File::open(&unfinished)?.sync_all()?;
    fs::rename(&unfinished, &path)?;
    super::open::sync_parent(&path)?;
    Ok(path)
}
