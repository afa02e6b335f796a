//! Tasks that are accepted before the store has been read.

use cloudai_model::{TaskId, record::TaskRecord};

use super::{FakeDatabase, is_well, kill, life, open};
use crate::{
    JournaledStore, Store as _, TakeInError,
    conformance::{loaded, sample},
};

fn submitted(number: u64) -> TaskRecord {
    TaskRecord {
        order: 0,
        ..sample(number).task
    }
}

fn ids(store: &JournaledStore) -> Vec<TaskId> {
    store.taken_in(|all| all.keys().cloned().collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_kept_over_crashes_until_they_are_in_the_store() {
    // Given a master that starts without its database, takes tasks in, and is killed,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    database.goes_away();
    let store = open(folder.path(), &database).await;
    for number in [3, 1, 2] {
        store.take_in(submitted(number)).await.unwrap();
    }
    assert!(store.cancel_taken_in(sample(1).id()).await.unwrap());
    assert!(!store.cancel_taken_in(sample(9).id()).await.unwrap());
    kill(store).await;

    // when it starts again, still without it,
    let store = open(folder.path(), &database).await;

    // then they are there, in the order of their ids;
    let taken_in: Vec<_> = store.taken_in(|all| all.values().cloned().collect());
    let expected = [1, 2, 3].map(|number| sample(number).task.task);
    assert_eq!(ids(&store), expected);
    assert_eq!(taken_in[1].task, submitted(2));
    let cancelled: Vec<bool> = taken_in.iter().map(|it| it.cancelled).collect();
    assert_eq!(cancelled, [true, false, false]);
    assert_eq!(store.degraded().unwrap().submitted, 3);
    assert_eq!(store.waiting_taken_in(), 2);
    assert_eq!(store.highest_taken_in(), sample(3).id().number());

    // and when the database comes, ids go on above theirs, and each leaves when it is handed over.
    database.comes_back();
    is_well(&store).await;
    assert_eq!(loaded(&store).await.1.task_number, sample(3).id().number());
    store.commit(life(1)).await.unwrap();
    store
        .handed_over(vec![sample(1).id().clone()])
        .await
        .unwrap();
    kill(store).await;
    let store = open(folder.path(), &database).await;
    assert_eq!(ids(&store), expected[1..]);
    assert_eq!(store.waiting_taken_in(), 2);
    store.handed_over(expected[1..].to_vec()).await.unwrap();
    assert_eq!(store.waiting_taken_in(), 0);
    assert_eq!(JournaledStore::left_in(folder.path()), None);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_wait_behind_what_an_earlier_process_owes_and_may_meet_any_database() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    database.goes_away();
    store.commit(life(1)).await.unwrap();
    kill(store).await;
    let store = open(folder.path(), &database).await;
    store.take_in(submitted(5)).await.unwrap();
    database.comes_back();
    is_well(&store).await;
    assert_eq!(database.orders(), [1]);
    assert_eq!(ids(&store), [sample(5).task.task]);
    kill(store).await;
    // They belong to no database: the settings may have named the wrong one.
    let store = open(folder.path(), &FakeDatabase::default()).await;
    assert_eq!(ids(&store), [sample(5).task.task]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_comes_after_the_door_was_closed() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    store.close_intake().await;
    let error = store.take_in(submitted(1)).await.unwrap_err();
    assert!(matches!(error, TakeInError::Closed), "{error}");
    assert_eq!(JournaledStore::left_in(folder.path()), None);
    store.close().await.unwrap();
}
