//! One store into another, on one machine: what comes through, and what is refused.

use std::fs;

use cloudai_archive::{CopyError, StorePlace, copy};
use cloudai_model::{TaskStatus, record::Record};
use cloudai_store::{OpenError, SqliteFilling, SqliteStore};

use crate::master::{Master, accounts, added, id, records_of, removed, silent, with_causes};

fn places(master: &Master) -> (StorePlace, StorePlace) {
    let to = master.path("new");
    (
        StorePlace::Sqlite(master.data_dir()),
        StorePlace::Sqlite(to),
    )
}

async fn refused(from: &StorePlace, to: &StorePlace) -> String {
    let error: CopyError = copy(from, to, silent()).await.unwrap_err();
    with_causes(&error)
}

#[tokio::test]
async fn every_record_comes_through_and_the_old_store_is_as_it_was() {
    let master = Master::at_work().await;
    // More than one chunk.
    master
        .commits((10..2_500).map(|number| added(number, TaskStatus::Queued)))
        .await;
    master.commits(accounts()).await;
    let forgotten = Record::TaskForgotten(id(9_000));
    master
        .commits([removed(3), added(9_000, TaskStatus::Completed), forgotten])
        .await;
    master.ends().await;
    let (from, to) = places(&master);
    let before = fs::read(master.data_dir().join("cloudai.db")).unwrap();

    let copied = copy(&from, &to, silent()).await.unwrap();

    assert_eq!(copied.holdings.task_count(), 2_493);
    assert_eq!(copied.holdings.removed, 1);
    assert!(copied.holdings.has_forgotten);
    let new = master.path("new");
    assert!(records_of(&new).await == records_of(&master.data_dir()).await);
    assert_eq!(
        fs::read(master.data_dir().join("cloudai.db")).unwrap(),
        before
    );
    // A master takes it.
    drop(SqliteStore::open(&new).unwrap());
}

#[tokio::test]
async fn a_store_in_use_one_that_is_full_and_one_that_is_none_are_refused() {
    let master = Master::at_work().await;
    let (from, to) = places(&master);
    let said = refused(&from, &to).await;
    assert!(said.contains("in use by another master"), "{said}");
    assert!(!master.path("new").exists(), "nothing was begun");

    master.ends().await;
    copy(&from, &to, silent()).await.unwrap();
    let said = refused(&from, &to).await;
    assert!(said.contains("is there already"), "{said}");
    assert_eq!(records_of(&master.path("new")).await.len(), 9);

    let nowhere = StorePlace::Sqlite(master.path("nowhere"));
    let said = refused(&nowhere, &to).await;
    assert!(said.contains("is not there"), "{said}");
    assert!(!master.path("nowhere").exists());
}

#[tokio::test]
async fn a_copy_that_was_broken_off_is_refused_and_begun_anew() {
    // Given a copy that ended in its middle,
    let master = Master::at_work().await;
    master.ends().await;
    let (from, to) = places(&master);
    let new = master.path("new");
    drop(SqliteFilling::begin(&new, "a copy of it").unwrap());
    let error = SqliteStore::open(&new).err().unwrap();
    assert!(matches!(error, OpenError::Unfinished { .. }), "{error}");
    let said = refused(&to, &StorePlace::Sqlite(master.path("newer"))).await;
    assert!(said.contains("half filled"), "{said}");

    // when it is made once more, then it is whole.
    copy(&from, &to, silent()).await.unwrap();
    assert!(records_of(&new).await == records_of(&master.data_dir()).await);
    drop(SqliteStore::open(&new).unwrap());
}
