//! A replica set whose primary steps down, is killed, or can't reach a majority, under commits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cloudai_model::record::Record;
use mongodb::bson::{Document, doc};
use tokio::time::{sleep, timeout};

use crate::mongod::ReplicaSet;
use crate::{
    CommitError, MongoSettings, MongoStore, Store as _,
    conformance::{commit, loaded, sample},
    mongo::settings::Limits,
};

/// How often a commit that may succeed is sent again.
const PATIENCE: Duration = Duration::from_secs(120);

fn life(number: u64) -> Arc<Vec<Record>> {
    let it = sample(number);
    Arc::new(vec![
        it.added(),
        it.now_running(),
        it.assigned(),
        it.now_done(),
        it.resulted(),
    ])
}

/// As a master commits: the identical batch again while that may help.
async fn commit_like_a_master(store: &MongoStore, batch: Arc<Vec<Record>>) {
    let again = async {
        while let Err(error) = store.commit(Arc::clone(&batch)).await {
            assert!(error.may_retry(), "{error}");
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

/// Waits until the stream of commits has come so much further.
async fn committed_more(said: &AtomicU64, more: u64) {
    let goal = said.load(Ordering::Relaxed) + more;
    let reached = async {
        while said.load(Ordering::Relaxed) < goal {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap();
}

/// That every batch up to the last is there, whole and once.
async fn assert_all_once(settings: &MongoSettings, last: u64) {
    let store = MongoStore::open(settings).await.unwrap();
    let (records, highest) = loaded(&store).await;
    assert_eq!(highest.order, last);
    assert!(records.is_empty(), "live: {records:?}");
    for number in 1..=last {
        let it = sample(number);
        let task = store.task(it.id()).await.unwrap().unwrap();
        assert_eq!(task.state, it.done, "task {number}");
        assert_eq!(
            store.result(it.id()).await.unwrap(),
            Some(it.result.clone())
        );
        assert_eq!(store.assignments(it.id()).await.unwrap(), [it.assignment]);
    }
    for collection in ["TASKS", "ASSIGNMENTS", "RESULTS"] {
        let collection = store.link.collection(collection);
        let count = collection.count_documents(doc! {}).await.unwrap();
        assert_eq!(count, last, "{}", collection.name());
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_primaries_step_down_and_are_killed() {
    // Given a stream of commits,
    let set = ReplicaSet::start();
    let settings = set.settings();
    let store = Arc::new(MongoStore::open(&settings).await.unwrap());
    let said = Arc::new(AtomicU64::new(0));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stream = tokio::spawn({
        let (store, said) = (Arc::clone(&store), Arc::clone(&said));
        async move {
            for number in 1.. {
                commit_like_a_master(&store, life(number)).await;
                said.store(number, Ordering::Relaxed);
                if stop.is_closed() {
                    return number;
                }
            }
            unreachable!("the numbers don't end")
        }
    });
    committed_more(&said, 20).await;

    // when the primary steps down, twice, and is killed, twice, at instants of no choice,
    for round in 0..2 {
        let down = doc! { "replSetStepDown": 3, "secondaryCatchUpPeriodSecs": 2, "force": true };
        // Its connections are cut, this one as well.
        let _ = set.primary().await.admin(down).await;
        committed_more(&said, 20).await;
        let primary = set.primary().await;
        primary.kill();
        committed_more(&said, 20).await;
        // It may have to take back what no majority had.
        primary.again();
        committed_more(&said, 7 + round).await;
    }
    drop(stopped);
    let last = stream.await.unwrap();
    store.close().await.unwrap();

    // then all that was answered is there, and nothing else.
    assert_all_once(&settings, last).await;
}

fn impatient() -> Limits {
    Limits {
        find_server: Duration::from_secs(2),
        work: Duration::from_secs(2),
        answer: Duration::from_secs(4),
        retry: Duration::ZERO,
    }
}

async fn numbers(store: &MongoStore) -> (u64, u64) {
    let count = |name| {
        let collection = store.link.collection(name);
        async move { collection.count_documents(doc! {}).await.unwrap() }
    };
    (count("TASKS").await, count("RESULTS").await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_no_majority_confirms_is_found_or_made_by_the_identical_batch() {
    // Given a primary whose two secondaries have stopped to answer,
    let set = ReplicaSet::start();
    let settings = set.settings();
    let store = MongoStore::open_within(&settings, impatient())
        .await
        .unwrap();
    commit(&store, life(1).iter().cloned()).await;
    let primary = set.primary().await.port;
    let others = || set.members.iter().filter(|it| it.port != primary);
    for same in [true, false] {
        others().for_each(crate::mongod::Server::halt);

        // when a batch is committed there,
        let number = if same { 2 } else { 3 };
        let error = store.commit(life(number)).await.unwrap_err();

        // then its outcome is not known, and that is said,
        assert!(matches!(error, CommitError::OutOfReach { .. }), "{error}");
        assert!(error.may_retry());
        others().for_each(crate::mongod::Server::resume);

        // and once they answer, the same batch, or another one, goes in.
        let next = if same { 2 } else { 4 };
        commit_like_a_master(&store, life(next)).await;
        let it = sample(next);
        let task = store.task(it.id()).await.unwrap().unwrap();
        assert_eq!(task.state, it.done);
    }
    // The third may be there or not, but never in part.
    let (tasks, results) = numbers(&store).await;
    assert_eq!(tasks, results);
    let third = store.task(sample(3).id()).await.unwrap();
    assert_eq!(tasks, 3 + u64::from(third.is_some()));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_too_large_for_a_transaction_goes_in_whole() {
    // Given a replica set, and a batch of more than 30 MB,
    let set = ReplicaSet::start();
    let settings = set.settings();
    let store = MongoStore::open(&settings).await.unwrap();
    let batch: Vec<Record> = (1..=500)
        .flat_map(|number| {
            let mut it = sample(number);
            it.result.log_tail = "x".repeat(64 << 10);
            [it.added(), it.now_done(), it.resulted()]
        })
        .collect();
    let batch = Arc::new(batch);

    // when it is committed, twice,
    store.commit(Arc::clone(&batch)).await.unwrap();
    store.commit(batch).await.unwrap();

    // then all of it is there, seen at once, and its chunks are gone;
    assert_eq!(numbers(&store).await, (500, 500));
    assert_eq!(loaded(&store).await.1.order, 500);
    let chunks = store.link.collection("BATCH_CHUNKS");
    assert_eq!(chunks.count_documents(doc! {}).await.unwrap(), 0);

    // the next one is a transaction again.
    commit(&store, life(501).iter().cloned()).await;
    let heads = store.link.collection("BATCHES");
    let head: Document = heads.find_one(doc! {}).await.unwrap().unwrap();
    assert!(head.get("redo").is_none_or(|redo| redo.as_null().is_some()));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loading_is_of_one_instant_while_commits_go_on() {
    // Given a store with live tasks,
    let set = ReplicaSet::start();
    let settings = set.settings();
    let store = Arc::new(MongoStore::open(&settings).await.unwrap());
    let tasks = (1..=3_000).map(|number| sample(number).added());
    commit(&*store, tasks).await;

    // when each batch takes one task's assignment and running state, while it is loaded,
    let (sink, mut source) = tokio::sync::mpsc::channel(1);
    let loading = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.load(sink).await }
    });
    let mut records: Vec<Record> = source.recv().await.unwrap();
    for number in 1..=50 {
        let it = sample(3_001 - number);
        commit(&*store, [it.now_running(), it.assigned()]).await;
    }
    while let Some(chunk) = source.recv().await {
        records.extend(chunk);
    }
    loading.await.unwrap().unwrap();

    // then what is loaded is as it was when loading began.
    let expected: Vec<Record> = (1..=3_000).map(|number| sample(number).added()).collect();
    assert!(records == expected, "{} records", records.len());
    store.close().await.unwrap();
}
