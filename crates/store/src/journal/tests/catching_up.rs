//! The way back: what is carried over is struck off before commits go to the database again, and
//! comes to an end however many commits come meanwhile.
//!
//! Disks that fail are made by the test: none does when it is asked to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{FakeDatabase, eventually, is_well, kill, life, open};
use crate::{JournaledStore, Store as _};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_to_the_database_only_when_all_that_it_took_is_struck_off() {
    // Given a journal on a disk that takes nothing more,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    database.goes_away();
    for number in 1..=3 {
        store.commit(life(number)).await.unwrap();
    }
    let faults = store.shared.journal.faults();
    faults.no_write.store(true, Ordering::Relaxed);
    faults.no_remove.store(true, Ordering::Relaxed);

    // when the database comes back,
    database.comes_back();
    eventually("the first batch to come twice", async || {
        database.orders().len() >= 2
    })
    .await;

    // then it is told why it goes on without it, and no commit gets there before those in the
    // journal, which are still the same at the next start;
    let degraded = store.degraded().unwrap();
    assert!(degraded.reason.contains("can't be written"), "{degraded:?}");
    assert_eq!(degraded.changes, 3 * 6);
    let error = store.commit(life(4)).await.unwrap_err();
    assert!(error.may_retry(), "{error}");
    assert!(database.orders().iter().all(|order| *order == 1));
    kill(store).await;
    database.goes_away();
    let store = open(folder.path(), &database).await;
    assert_eq!(store.degraded().unwrap().changes, 3 * 6);

    // and all goes well, each in its turn, once the disk writes again.
    let faults = store.shared.journal.faults();
    faults.no_write.store(true, Ordering::Relaxed);
    database.comes_back();
    eventually("the disk to be found failing", async || {
        let degraded = store.degraded().unwrap();
        degraded.reason.contains("can't be written")
    })
    .await;
    faults.no_write.store(false, Ordering::Relaxed);
    is_well(&store).await;
    store.commit(life(4)).await.unwrap();
    let mut orders = database.orders();
    assert!(orders.is_sorted(), "{orders:?}");
    orders.dedup();
    assert_eq!(orders, [1, 2, 3, 4]);
    assert_eq!(JournaledStore::left_in(folder.path()), None);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_can_not_be_removed_says_itself_that_nothing_is_owed() {
    // Given a journal that was carried over and stays, and commits that came after it,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    database.goes_away();
    for number in 1..=3 {
        store.commit(life(number)).await.unwrap();
    }
    let faults = store.shared.journal.faults();
    faults.no_remove.store(true, Ordering::Relaxed);
    database.comes_back();
    is_well(&store).await;
    store.commit(life(4)).await.unwrap();
    kill(store).await;
    assert!(JournaledStore::left_in(folder.path()).is_some());

    // when the next process finds it,
    let store = open(folder.path(), &database).await;

    // then nothing of it is sent again, and it serves the next outage.
    assert_eq!(store.degraded(), None);
    database.goes_away();
    store.commit(life(5)).await.unwrap();
    database.comes_back();
    is_well(&store).await;
    assert_eq!(database.orders(), [1, 2, 3, 4, 5]);
    assert_eq!(JournaledStore::left_in(folder.path()), None);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn catching_up_ends_though_commits_never_cease() {
    // Given a journal, before a database that is slower than it,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = Arc::new(open(folder.path(), &database).await);
    database.goes_away();
    const OWED: u64 = 100;
    for number in 1..=OWED {
        store.commit(life(number)).await.unwrap();
    }
    database.how().takes = Duration::from_millis(20);

    // when it comes back under commits that follow each other as fast as they are answered,
    database.comes_back();
    let committed = Arc::new(AtomicU64::new(OWED));
    let commits = tokio::spawn({
        let (store, committed) = (Arc::clone(&store), Arc::clone(&committed));
        async move {
            loop {
                let number = committed.load(Ordering::Relaxed) + 1;
                store.commit(life(number)).await.unwrap();
                committed.store(number, Ordering::Relaxed);
            }
        }
    });

    // then it has caught up after no more commits than there were batches when it began: one for
    // each two that were carried over.
    eventually("the first batch to be carried over", async || {
        !database.orders().is_empty()
    })
    .await;
    let began = committed.load(Ordering::Relaxed);
    eventually("the database to have caught up", async || {
        // Were they let in as they come, there would be a multiple of that by now.
        assert!(committed.load(Ordering::Relaxed) < 4 * began);
        store.degraded().is_none()
    })
    .await;
    commits.abort();
    let _ = commits.await;
    assert!(database.orders().is_sorted());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_not_held_up_by_a_database_that_takes_nothing() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    database.goes_away();
    for number in 1..=20 {
        store.commit(life(number)).await.unwrap();
    }
    // It comes back for some batches, and falls silent.
    database.how().commits_left = Some(5);
    database.how().away = false;
    eventually("five to be carried over", async || database.how().away).await;
    database.how().silent = true;
    database.how().commits_left = None;
    database.how().away = false;
    let began = tokio::time::Instant::now();
    for number in 21..=40 {
        store.commit(life(number)).await.unwrap();
    }
    // One may have waited for the first silence.
    assert!(began.elapsed() < 20 * super::PATIENCE / 2);
    database.comes_back();
    is_well(&store).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_takes_longer_than_commits_wait_is_carried_over_all_the_same() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    database.goes_away();
    store.commit(life(1)).await.unwrap();
    database.how().takes = 2 * super::PATIENCE;
    database.comes_back();
    is_well(&store).await;
    assert_eq!(database.orders().last(), Some(&1));
    store.close().await.unwrap();
}
