//! A store that is being filled, and one that is only looked at.

use std::{fs, path::Path};

use rusqlite::Connection;

use crate::{
    DataDirLock, Export as _, Holdings, OpenError, Piece, SqliteFilling, SqliteReader, SqliteStore,
    Store as _,
    conformance::{commit, exported, loaded, sample},
    note_backup,
    sqlite::open::DATABASE_FILE,
};

fn refused(dir: &Path) -> OpenError {
    match SqliteStore::open(dir) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

fn not_read(dir: &Path) -> OpenError {
    match SqliteReader::open(dir) {
        Ok(_) => panic!("read"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn what_is_half_filled_is_no_store_and_the_next_filling_begins_anew() {
    // Given a filling that was broken off,
    let dir = tempfile::tempdir().unwrap();
    let filling = SqliteFilling::begin(dir.path(), "a copy of it").unwrap();
    commit(&*filling.store(), [sample(1).added()]).await;
    drop(filling);

    // then neither a master nor a reader takes it for a store, and each says what it is;
    for error in [refused(dir.path()), not_read(dir.path())] {
        let shown = error.to_string();
        assert!(matches!(error, OpenError::Unfinished { .. }), "{shown}");
        assert!(shown.contains("half filled: a copy of it"), "{shown}");
    }

    // the next one begins with nothing of it, holds the directory, and is a store when it is done.
    let filling = SqliteFilling::begin(dir.path(), "a copy of it").unwrap();
    assert!(matches!(refused(dir.path()), OpenError::InUse { .. }));
    assert!(loaded(&*filling.store()).await.0.is_empty());
    commit(&*filling.store(), [sample(2).added()]).await;
    let mark = filling.finish().await.unwrap();
    assert!(matches!(refused(dir.path()), OpenError::Unfinished { .. }));
    mark.done().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    assert_eq!(loaded(&store).await.0, [sample(2).added()]);
}

#[tokio::test]
async fn where_a_store_is_nothing_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    commit(&store, [sample(1).added()]).await;
    for _ in 0..2 {
        let error = SqliteFilling::begin(dir.path(), "a copy").err().unwrap();
        let in_use = matches!(error, OpenError::InUse { .. });
        assert!(
            in_use || matches!(error, OpenError::Occupied { .. }),
            "{error}"
        );
        store.close().await.unwrap();
    }
    let store = SqliteStore::open(dir.path()).unwrap();
    assert_eq!(loaded(&store).await.0, [sample(1).added()]);
}

#[tokio::test]
async fn a_reader_changes_nothing_and_wants_a_whole_store_of_this_version() {
    // Given a store that nobody has open,
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    commit(&store, [sample(1).added()]).await;
    store.close().await.unwrap();
    let file = dir.path().join(DATABASE_FILE);
    let content = fs::read(&file).unwrap();

    // when all of it is read, then it is as it was, and was never held;
    let reader = SqliteReader::open(dir.path()).unwrap();
    let lock = DataDirLock::hold(dir.path()).unwrap();
    assert_eq!(exported(&reader).await.unwrap(), [sample(1).added()]);
    assert_eq!(reader.holdings().await.unwrap().task_count(), 1);
    drop((reader, lock));
    assert_eq!(fs::read(&file).unwrap(), content);

    // of another version, empty or not there, it is not read.
    let set = |version: u32| {
        let db = Connection::open(&file).unwrap();
        db.pragma_update(None, "user_version", version).unwrap();
    };
    set(0);
    assert!(matches!(
        not_read(dir.path()),
        OpenError::Older { found: 0, .. }
    ));
    set(99);
    assert!(matches!(
        not_read(dir.path()),
        OpenError::Newer { found: 99, .. }
    ));
    fs::write(&file, "").unwrap();
    assert!(matches!(not_read(dir.path()), OpenError::Damaged { .. }));
    fs::remove_file(&file).unwrap();
    let error = not_read(dir.path());
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    assert!(!file.exists());
}

#[tokio::test]
async fn what_can_not_be_read_is_sent_as_such_and_the_rest_follows() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    commit(&store, (1..=3).map(|number| sample(number).added())).await;
    store.close().await.unwrap();
    let db = Connection::open(dir.path().join(DATABASE_FILE)).unwrap();
    db.execute(
        "UPDATE tasks SET phase = 'dreaming' WHERE order_number = 2",
        [],
    )
    .unwrap();
    drop(db);

    let reader = SqliteReader::open(dir.path()).unwrap();
    let (sink, mut source) = tokio::sync::mpsc::channel(9);
    reader.export(sink).await.unwrap();
    let (mut counted, mut unreadable) = (Holdings::default(), Vec::new());
    while let Some(piece) = source.recv().await {
        match piece {
            Piece::Records(records) => records.iter().for_each(|record| counted.add(record)),
            Piece::Unreadable(error) => unreadable.push(error.to_string()),
        }
    }
    assert_eq!(counted.task_count(), 2);
    assert_eq!(unreadable.len(), 1);
    assert!(unreadable[0].contains("column phase"), "{unreadable:?}");
}

#[tokio::test]
async fn a_damaged_store_names_the_newest_backup_that_is_still_there() {
    let dir = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(dir.path()).unwrap());
    let backups = ["monday", "tuesday", "gone"].map(|name| dir.path().join(name));
    for backup in &backups {
        fs::write(backup, "").unwrap();
        note_backup(dir.path(), backup).unwrap();
    }
    fs::remove_file(&backups[2]).unwrap();
    fs::write(dir.path().join(DATABASE_FILE), "hello ".repeat(999)).unwrap();

    let shown = refused(dir.path()).to_string();

    assert!(shown.contains("is damaged"), "{shown}");
    assert!(shown.contains("tuesday"), "{shown}");
    assert!(shown.contains("master-node restore --from"), "{shown}");
}
