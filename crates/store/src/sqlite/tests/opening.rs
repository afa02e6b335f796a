//! Opening: locks, damage, versions, and the settings of a connection.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
};

use rusqlite::Connection;

use crate::{
    OpenError, SqliteStore, Store as _,
    conformance::{commit, loaded, sample},
    sqlite::{
        lock::DataDirLock,
        migrate::{MIGRATIONS, Migration, NEWEST},
        open::{self, DATABASE_FILE, WhenUnfinished},
    },
};

fn refused(dir: &Path) -> OpenError {
    match SqliteStore::open(dir) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

/// A store with some tasks, closed.
async fn written(dir: &Path) {
    let store = SqliteStore::open(dir).unwrap();
    commit(&store, (1..=200).map(|number| sample(number).added())).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_directory_belongs_to_one_master() {
    let dir = tempfile::tempdir().unwrap();
    let first = SqliteStore::open(dir.path()).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let process = std::process::id().to_string();
    assert!(error.to_string().contains(&process), "{error}");

    // Closed, it is free, although the store still exists; dropped without a close as well.
    first.close().await.unwrap();
    drop(SqliteStore::open(dir.path()).unwrap());
    drop(SqliteStore::open(dir.path()).unwrap());
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    type Damage = fn(&Path);
    let kinds: [(&str, Damage); 5] = [
        ("empty", |file| fs::write(file, "").unwrap()),
        ("no database", |file| {
            fs::write(file, "hello ".repeat(999)).unwrap();
        }),
        ("cut short", |file| {
            let file = OpenOptions::new().write(true).open(file).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
        ("overwritten within", |file| {
            let pages = fs::metadata(file).unwrap().len() / 4096;
            let file = OpenOptions::new().write(true).open(file).unwrap();
            for page in 1..pages {
                file.write_at(&[0xa5; 64], page * 4096).unwrap();
            }
        }),
        ("gone without its log", |file| {
            fs::rename(file, file.with_file_name("cloudai.db-wal")).unwrap();
        }),
    ];
    for (kind, damage) in kinds {
        // Given a store whose file was damaged,
        let dir = tempfile::tempdir().unwrap();
        written(dir.path()).await;
        let file = dir.path().join(DATABASE_FILE);
        damage(&file);
        let content = fs::read(&file).ok();

        // when it is opened, with and without a copy beside it,
        let without = refused(dir.path());
        let copies = ["v1", "v9", "v10"].map(|v| dir.path().join(format!("cloudai.db.{v}.bak")));
        copies.iter().for_each(|copy| fs::write(copy, "").unwrap());
        let with = refused(dir.path());

        // then that is said, the newest copy is named, and nothing was touched.
        assert!(
            matches!(without, OpenError::Damaged { copy: None, .. }),
            "{kind}: {without}"
        );
        assert!(
            with.to_string().contains("cloudai.db.v10.bak"),
            "{kind}: {with}"
        );
        assert_eq!(fs::read(&file).ok(), content, "{kind}");
    }
}

#[tokio::test]
async fn a_newer_or_a_foreign_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let file = dir.path().join(DATABASE_FILE);
    let db = Connection::open(&file).unwrap();
    db.pragma_update(None, "user_version", 77).unwrap();
    let error = refused(dir.path());
    assert!(
        matches!(
            error,
            OpenError::Newer { found: 77, known, .. } if known == NEWEST
        ),
        "{error}"
    );

    db.pragma_update(None, "application_id", 5).unwrap();
    drop(db);
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[test]
fn a_directory_that_can_not_be_written_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    // A file in the way, and a file system that lets nobody write, root neither.
    for path in [&*file, &file.join("below"), Path::new("/proc/self")] {
        let error = refused(path);
        assert!(matches!(error, OpenError::Directory { .. }), "{error}");
        assert!(
            error.to_string().contains("expected a directory"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn commits_are_flushed_and_the_file_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let lock = DataDirLock::hold(dir.path()).unwrap();
    let opened = open::open(lock, dir.path(), MIGRATIONS, WhenUnfinished::Refuse).unwrap();
    let pragma = |name: &str| -> String {
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        opened.db.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("synchronous"), "2", "FULL");
    for name in [DATABASE_FILE, "cloudai.db-wal"] {
        opened
            .db
            .execute_batch("BEGIN IMMEDIATE; ROLLBACK")
            .unwrap();
        let mode = fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// The real steps and one more, as a later release may bring.
fn with_next(sql: &'static str) -> Vec<Migration> {
    let next = Migration {
        version: NEWEST + 1,
        name: "colour",
        sql,
    };
    MIGRATIONS.iter().copied().chain([next]).collect()
}

#[tokio::test]
async fn an_older_schema_is_brought_forward_after_a_copy() {
    // Given a store of the present version,
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;

    // when a program opens it that knows a later one,
    let next =
        with_next("ALTER TABLE tasks ADD COLUMN colour TEXT; UPDATE tasks SET colour = 'grey';");
    let store = SqliteStore::open_at(dir.path(), &next).unwrap();

    // then its records are there, the step is written down, and the copy is what was there before.
    assert_eq!(loaded(&store).await.0.len(), 200);
    store.close().await.unwrap();
    let ask = |file: &str, sql: &str| -> String {
        let db = Connection::open(dir.path().join(file)).unwrap();
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let last = "SELECT version || ' ' || name FROM schema ORDER BY version DESC LIMIT 1";
    let added = format!("{} colour", NEWEST + 1);
    assert_eq!(ask(DATABASE_FILE, last), added);
    assert_eq!(ask(DATABASE_FILE, "SELECT max(colour) FROM tasks"), "grey");
    let copy = &format!("cloudai.db.v{NEWEST}.bak");
    let before = MIGRATIONS.last().unwrap();
    let before = format!("{} {}", before.version, before.name);
    assert_eq!(ask(copy, last), before);
    assert_eq!(ask(copy, "SELECT count(*) || '' FROM tasks"), "200");
    let mode = fs::metadata(dir.path().join(copy))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // The older program refuses it; put back, the copy is a store.
    assert!(matches!(refused(dir.path()), OpenError::Newer { .. }));
    fs::rename(dir.path().join(copy), dir.path().join(DATABASE_FILE)).unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    assert_eq!(loaded(&store).await.0.len(), 200);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_version_before_it() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let broken =
        with_next("ALTER TABLE tasks ADD COLUMN colour TEXT; UPDATE nowhere SET colour = 1;");
    let Err(error) = SqliteStore::open_at(dir.path(), &broken) else {
        panic!("migrated");
    };
    assert!(
        matches!(error, OpenError::Migration { to, .. } if to == NEWEST + 1),
        "{error}"
    );
    let store = SqliteStore::open(dir.path()).unwrap();
    assert_eq!(loaded(&store).await.0.len(), 200);
}

#[test]
fn migrations_are_numbered_from_one_without_a_gap() {
    for (version, migration) in (1..).zip(MIGRATIONS) {
        assert_eq!(migration.version, version, "{}", migration.name);
    }
}
