//! A single server has no transactions: what holds a batch together there, when it is killed.

use std::{sync::Arc, time::Duration};

use cloudai_model::{
    TaskStatus,
    record::{FileRecord, Record},
};
use mongodb::bson::doc;

use crate::mongod::Server;
use crate::{
    CommitError, MongoSettings, MongoStore, Store as _,
    conformance::{commit, loaded, sample},
    mongo::{
        head,
        settings::Limits,
        writes::{self, Change, Write},
    },
};

/// A few at a time would fit in one chunk.
const TASKS: u64 = 300;

/// A batch of many chunks, which changes what is there and adds more: all tasks of the round before
/// become final, and as many new ones are added.
fn round(number: u64) -> Vec<Record> {
    let task = |place: u64| sample(number * TASKS + place);
    let before = |place: u64| sample((number - 1) * TASKS + place);
    let mut batch = Vec::new();
    for place in 1..=TASKS {
        let mut it = before(place);
        it.result.log_tail = "x".repeat(64 << 10);
        batch.extend([it.now_done(), it.resulted(), task(place).added()]);
    }
    batch
}

async fn counts(store: &MongoStore) -> (u64, u64, u64) {
    let counts = store.count_by_status().await.unwrap();
    let of = |status| counts.get(&status).copied().unwrap_or(0);
    let results = store.link.collection("RESULTS");
    let results = results.count_documents(doc! {}).await.unwrap();
    (of(TaskStatus::Queued), of(TaskStatus::Completed), results)
}

fn impatient() -> Limits {
    Limits {
        find_server: Duration::from_millis(300),
        work: Duration::from_secs(10),
        answer: Duration::from_secs(15),
        retry: Duration::ZERO,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_many_chunks_is_all_or_nothing_when_the_server_is_killed_amid_it() {
    let server = Server::start(&[]);
    let settings = server.settings();
    let store = MongoStore::open(&settings).await.unwrap();
    commit(&store, (1..=TASKS).map(|place| sample(place).added())).await;
    // How long such a batch takes here, whole.
    let began = tokio::time::Instant::now();
    commit(&store, round(1)).await;
    let whole = began.elapsed();
    store.close().await.unwrap();
    let mut rounds = 1;
    let mut broken_off = 0;
    for part in 1..=8 {
        // Given a batch under way,
        let store = MongoStore::open_within(&settings, impatient())
            .await
            .unwrap();
        let batch = Arc::new(round(rounds + 1));
        let commit = tokio::spawn(async move { store.commit(batch).await });

        // when the server is killed in it, and both begin anew,
        tokio::time::sleep(whole * part / 14).await;
        server.kill();
        let outcome = commit.await.unwrap();
        server.again();
        let store = MongoStore::open(&settings).await.unwrap();

        // then all of it is there or nothing is; all of it, if that was said.
        let (queued, completed, results) = counts(&store).await;
        assert_eq!(queued, TASKS, "{part}/14");
        assert_eq!(completed, results, "{part}/14");
        assert_eq!(completed % TASKS, 0, "{part}/14");
        let there = completed / TASKS;
        match outcome {
            Ok(()) => assert_eq!(there, rounds + 1, "{part}/14"),
            Err(error) => {
                broken_off += 1;
                assert!(error.may_retry(), "{error}");
                assert!(there == rounds || there == rounds + 1, "{there} {rounds}");
            }
        }
        let chunks = store.link.collection(head::CHUNKS);
        assert_eq!(chunks.count_documents(doc! {}).await.unwrap(), 0);
        assert_eq!(loaded(&store).await.1.order, (there + 1) * TASKS);
        rounds = there;
        store.close().await.unwrap();
    }
    assert!(broken_off > 0, "every batch was done before the kill");
}

/// The parts of a batch as a crash may leave them: chunks, the head, some of the documents.
async fn left_by_a_crash(settings: &MongoSettings, named: bool, carried_out: usize) {
    let store = MongoStore::open(settings).await.unwrap();
    let it = sample(1);
    commit(&store, [it.added()]).await;
    let number = head::Head::find(&store.link).await.unwrap().unwrap().number + 1;
    let put = |place: u64| Write {
        collection: "TASKS".to_owned(),
        id: sample(place).task.task.to_string(),
        change: Change::Put(crate::mongo::documents::tasks::write(&sample(place).task)),
    };
    let chunks: Vec<Vec<Write>> = vec![vec![put(2), put(3)], vec![put(4), put(5)]];
    for (place, chunk) in (0..).zip(&chunks) {
        let bytes = writes::encode(chunk).unwrap().remove(0);
        let keep = head::keep_chunk(number, "digest", place, &bytes);
        store.link.write(keep, None).await.unwrap();
    }
    if named {
        let advance = head::advance(&store.owner, number, "digest", None, 2);
        store.link.write(advance, None).await.unwrap();
    }
    let some = chunks.concat().into_iter().take(carried_out).collect();
    head::carry_out(&store.link, some, number).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_head_names_is_carried_out_at_a_start_and_what_it_does_not_is_dropped() {
    let server = Server::start(&[]);
    for (named, carried_out, tasks) in [(false, 0, 1), (true, 0, 5), (true, 3, 5), (true, 4, 5)] {
        // Given a batch that was broken off,
        let settings = server.settings();
        left_by_a_crash(&settings, named, carried_out).await;

        // when the next process opens the store,
        let store = MongoStore::open(&settings).await.unwrap();

        // then it is there as a whole if the head names it, and else not at all;
        assert_eq!(loaded(&store).await.0.len(), tasks, "{named} {carried_out}");
        let chunks = store.link.collection(head::CHUNKS);
        assert_eq!(chunks.count_documents(doc! {}).await.unwrap(), 0);

        // what comes after it stands when it is opened once more.
        let first = sample(1);
        commit(&store, [first.now_running()]).await;
        store.close().await.unwrap();
        let store = MongoStore::open(&settings).await.unwrap();
        let task = store.task(first.id()).await.unwrap().unwrap();
        assert_eq!(task.state, first.running);
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_comes_late_undoes_nothing() {
    let server = Server::start(&[]);
    let store = MongoStore::open(&server.settings()).await.unwrap();
    let it = sample(1);
    commit(&store, [it.added()]).await;
    commit(&store, [it.now_done()]).await;
    let head = head::Head::find(&store.link).await.unwrap().unwrap();
    let late = |change| Write {
        collection: "TASKS".to_owned(),
        id: it.id().to_string(),
        change,
    };
    let running = crate::mongo::documents::tasks::write_state(&it.running);
    let added = crate::mongo::documents::tasks::write(&it.task);
    let all = [Change::Set(running), Change::Put(added), Change::Remove];
    for change in all.clone() {
        let write = vec![late(change)];
        head::carry_out(&store.link, write, head.number - 1)
            .await
            .unwrap();
        let task = store.task(it.id()).await.unwrap().unwrap();
        assert_eq!(task.state, it.done);
    }

    // Nor does what is gone come back, but for a document that is written as a whole.
    commit(&store, [it.forgotten()]).await;
    for change in all {
        let comes_back = matches!(change, Change::Put(_));
        let write = vec![late(change)];
        head::carry_out(&store.link, write, head.number)
            .await
            .unwrap();
        let task = store.task(it.id()).await.unwrap();
        assert_eq!(task.is_some(), comes_back);
        if comes_back {
            // What removes it may be sent again, too, and finds it.
            let write = vec![late(Change::Remove)];
            head::carry_out(&store.link, write, head.number + 1)
                .await
                .unwrap();
            assert_eq!(store.task(it.id()).await.unwrap(), None);
        }
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_files_than_a_document_can_name_are_read_back_and_replaced() {
    // Given a task that left 150,000 files,
    let server = Server::start(&[]);
    let store = MongoStore::open(&server.settings()).await.unwrap();
    let mut it = sample(1);
    let file = |number| FileRecord {
        path: format!("results/fold-{number:06}/weights.bin"),
        size: number,
        sha256: "ab".repeat(32),
    };
    it.files.files = (0..150_000).map(file).collect();
    commit(&store, [it.added(), it.uploaded()]).await;
    let files = store.files(it.id()).await.unwrap();
    assert!(files.as_ref() == Some(&it.files));

    let pages = store.link.collection("FILE_METADATA_PAGES");
    let pages = async || pages.count_documents(doc! {}).await.unwrap();
    let all = pages().await;
    assert!(all > 2, "{all}");

    // when later attempts leave less, then nothing is read of the first's, and no page is left over:
    let many = it.uploaded();
    it.files.files.truncate(80_000);
    commit(&store, [it.uploaded()]).await;
    assert!(store.files(it.id()).await.unwrap().as_ref() == Some(&it.files));
    assert!((1..all).contains(&pages().await), "{}", pages().await);
    it.files.files.truncate(3);
    let few = it.uploaded();
    commit(&store, [few.clone()]).await;
    let of_user = store.files_of_user(&it.files.user).await.unwrap();
    assert_eq!(of_user, std::slice::from_ref(&it.files));
    assert_eq!(pages().await, 0);

    // also within a batch, and of what it forgets.
    commit(&store, [many.clone(), few]).await;
    assert_eq!(pages().await, 0);
    commit(&store, [many.clone()]).await;
    assert_eq!(pages().await, all);
    commit(&store, [many, it.forgotten()]).await;
    assert_eq!(pages().await, 0);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_for_a_while_is_waited_for() {
    // Given a server that was killed,
    let server = Server::start(&[]);
    let store = MongoStore::open(&server.settings()).await.unwrap();
    server.kill();

    // when a batch is committed, and the server comes back meanwhile,
    let it = sample(1);
    let batch = Arc::new(vec![it.added()]);
    let committing = store.commit(Arc::clone(&batch));
    let (outcome, ()) = tokio::join!(committing, async { server.again() });

    // then it is there.
    outcome.unwrap();
    assert_eq!(store.task(it.id()).await.unwrap(), Some(it.task));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_master_takes_over_and_the_first_writes_no_more() {
    // Given a master, and another one that is started on the same database,
    let server = Server::start(&[]);
    let settings = server.settings();
    let first = MongoStore::open(&settings).await.unwrap();
    commit(&first, [sample(1).added()]).await;
    let second = MongoStore::open(&settings).await.unwrap();

    // when both commit,
    let error = first
        .commit(Arc::new(vec![sample(2).added()]))
        .await
        .unwrap_err();
    commit(&second, [sample(3).added()]).await;

    // then the first is told, and what it sent is not there.
    assert!(matches!(error, CommitError::TakenOver { .. }), "{error}");
    assert!(!error.may_retry());
    assert_eq!(second.task(sample(2).id()).await.unwrap(), None);
    first.close().await.unwrap();
    second.close().await.unwrap();
}
