//! What happens while the database is away, and when it comes back.

use std::sync::Arc;

use cloudai_model::{TaskStatus, Wall, record::Record};

use super::{FakeDatabase, eventually, is_degraded, is_well, kill, life, open, settings, try_open};
use crate::{
    CommitError, EndedQuery, JournaledOpenError, JournaledStore, ReadError, Store as _, TaskQuery,
    conformance::{commit, loaded, sample, worker},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_does_not_take_is_kept_and_reaches_it_in_order() {
    // Given a store whose database goes away after the first task,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    store.commit(life(1)).await.unwrap();
    assert_eq!(store.degraded(), None);
    database.goes_away();

    // when more is committed,
    for number in 2..=20 {
        store.commit(life(number)).await.unwrap();
    }

    // then it is degraded, says how much it holds, and answers of that alone;
    let degraded = store.degraded().unwrap();
    assert_eq!(degraded.changes, 19 * 6);
    assert!(degraded.journal_bytes > 0);
    assert!(degraded.reason.contains("nobody answers"), "{degraded:?}");
    let it = sample(7);
    assert_eq!(store.task(it.id()).await.unwrap().unwrap().state, it.done);
    assert_eq!(
        store.result(it.id()).await.unwrap(),
        Some(it.result.clone())
    );
    assert_eq!(store.files(it.id()).await.unwrap(), Some(it.files.clone()));
    let attempts = store.assignments(it.id()).await.unwrap();
    assert_eq!(attempts, std::slice::from_ref(&it.assignment));
    let error = store.task(sample(1).id()).await.unwrap_err();
    assert!(matches!(error, ReadError::OutOfReach { .. }), "{error}");
    for error in [
        store.tasks(&TaskQuery::newest(9)).await.unwrap_err(),
        store.count_by_status().await.unwrap_err(),
    ] {
        assert!(matches!(error, ReadError::OutOfReach { .. }), "{error}");
    }
    let newest = store.journaled_tasks(&TaskQuery::newest(2)).await.unwrap();
    let orders: Vec<u64> = newest.iter().map(|task| task.order).collect();
    assert_eq!(orders, [20, 19]);
    let queued = TaskQuery {
        statuses: [TaskStatus::Queued].into(),
        ..TaskQuery::newest(9)
    };
    assert_eq!(store.journaled_tasks(&queued).await.unwrap(), []);

    // and when it comes back everything is there, in order, and the journal is gone.
    database.comes_back();
    is_well(&store).await;
    assert_eq!(database.orders(), (1..=20).collect::<Vec<_>>());
    assert_eq!(store.tasks(&TaskQuery::newest(99)).await.unwrap().len(), 20);
    assert_eq!(JournaledStore::left_in(folder.path()), None);
    store.commit(life(21)).await.unwrap();
    assert_eq!(store.degraded(), None);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_not_answered_is_the_first_to_be_sent_again() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    database.how().silent = true;
    store.commit(life(1)).await.unwrap();
    assert!(store.degraded().unwrap().reason.contains("not answered"));
    store.commit(life(2)).await.unwrap();
    database.comes_back();
    is_well(&store).await;
    let orders = database.orders();
    // It was tried while nothing was answered, too.
    let again = orders.iter().filter(|order| **order == 1).count();
    assert!(again >= 2 && orders.is_sorted(), "{orders:?}");
    assert_eq!(loaded(database.kept()).await.1.order, 2);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_it_is_away_or_half_way_back_loses_nothing() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    store.commit(life(1)).await.unwrap();
    database.goes_away();
    let it = sample(2);
    commit(&store, [it.added()]).await;
    commit(&store, [it.now_running(), it.assigned()]).await;
    for number in 3..=30 {
        store.commit(life(number)).await.unwrap();
    }
    kill(store).await;

    // It starts without the database, and then again with it, for ten batches.
    let store = open(folder.path(), &database).await;
    let degraded = store.degraded().unwrap();
    assert_eq!((degraded.changes, degraded.read), (3 + 28 * 6, false));
    kill(store).await;
    database.comes_back();
    database.how().commits_left = Some(10);
    let store = open(folder.path(), &database).await;
    is_degraded(&store).await;
    eventually("ten to be carried over", async || database.how().away).await;
    kill(store).await;
    database.comes_back();
    let store = open(folder.path(), &database).await;

    // Then a start reads all of it, once, and nothing of the journal is left.
    let (records, highest) = loaded(&store).await;
    assert_eq!(highest.order, 30);
    let mut running = it.task.clone();
    running.state = it.running.clone();
    let expected = [Record::TaskAdded(Box::new(running)), it.assigned()];
    assert_eq!(records, expected);
    assert_eq!(store.degraded(), None);
    assert_eq!(JournaledStore::left_in(folder.path()), None);
    // How far it had come was not forgotten: none came again but the one that was under way.
    let orders = database.orders();
    assert!(orders.is_sorted(), "{orders:?}");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_and_forgotten_while_it_is_away_is_known_at_once_and_afterwards() {
    // Given ended tasks in a database that is away, and two more in the journal,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    let [gone, bare, other, new, again] = [1, 2, 3, 4, 5].map(sample);
    for number in 1..=3 {
        store.commit(life(number)).await.unwrap();
    }
    database.goes_away();
    store.commit(life(4)).await.unwrap();
    store.commit(life(5)).await.unwrap();
    assert_eq!(store.disk_files(), [folder.path().join("store-journal")]);

    // when one is forgotten, of two others the logs are removed, and the id of one that was
    // forgotten is used once more,
    commit(&store, [gone.forgotten()]).await;
    commit(&store, [bare.log_removed(), new.log_removed()]).await;
    let mut once_more = again.clone();
    once_more.task.order = 6;
    once_more.task.spec.name = "once more".to_owned();
    commit(&store, [again.forgotten(), once_more.added()]).await;

    // then what the journal tells is told, also after a crash, and what it can't tell is an error.
    let check = async |store: &JournaledStore| {
        let id = gone.id();
        assert_eq!(store.task(id).await.unwrap(), None);
        assert_eq!(store.result(id).await.unwrap(), None);
        assert_eq!(store.files(id).await.unwrap(), None);
        assert_eq!(store.assignments(id).await.unwrap(), []);
        let id = again.id();
        assert_eq!(
            store.task(id).await.unwrap().as_ref(),
            Some(&once_more.task)
        );
        assert_eq!(store.result(id).await.unwrap(), None);
        assert_eq!(store.assignments(id).await.unwrap(), []);
        let all = [&gone, &bare, &new, &again].map(|it| it.id().clone());
        let removed = store.removed(&all).await.unwrap();
        let of: Vec<_> = removed.keys().collect();
        assert_eq!(of, [bare.id(), new.id()]);
        assert!(removed.values().all(|it| it.log.is_some()), "{removed:?}");
    };
    let is_out_of_reach = |error: ReadError| {
        assert!(matches!(error, ReadError::OutOfReach { .. }), "{error}");
    };
    check(&store).await;
    let unknown = [new.id().clone(), other.id().clone()];
    is_out_of_reach(store.removed(&unknown).await.unwrap_err());
    is_out_of_reach(store.ended(&all_ended()).await.unwrap_err());
    kill(store).await;
    let store = open(folder.path(), &database).await;
    check(&store).await;

    // and when the database is back, it knows the same.
    database.comes_back();
    is_well(&store).await;
    check(&store).await;
    assert!(store.removed(&unknown[1..]).await.unwrap().is_empty());
    let ended = store.ended(&all_ended()).await.unwrap();
    let orders: Vec<u64> = ended.iter().map(|task| task.place.order).collect();
    assert_eq!(orders, [2, 3, 4]);
    assert_eq!(loaded(&store).await.1.order, 6);
    store.close().await.unwrap();
}

fn all_ended() -> EndedQuery {
    EndedQuery {
        statuses: [TaskStatus::Completed].into(),
        before: Wall(i64::MAX),
        after: None,
        limit: 99,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_noticed_and_its_end_too_when_nothing_is_committed() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    database.goes_away();
    is_degraded(&store).await;
    assert_eq!(store.degraded().unwrap().changes, 0);
    database.comes_back();
    is_well(&store).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_under_way_are_neither_lost_nor_reordered_when_it_comes_and_goes() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = Arc::new(open(folder.path(), &database).await);
    let stream = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for number in 1..=400 {
                store.commit(life(number)).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        }
    });
    while !stream.is_finished() {
        database.goes_away();
        is_degraded(&store).await;
        database.comes_back();
        is_well(&store).await;
    }
    stream.await.unwrap();
    is_well(&store).await;
    let mut orders = database.orders();
    assert!(orders.is_sorted(), "{orders:?}");
    orders.dedup();
    assert_eq!(orders, (1..=400).collect::<Vec<_>>());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_another_master_has_had_is_refused_and_the_journal_kept() {
    // Given a journal of changes that a database lacks,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    database.goes_away();
    store.commit(life(1)).await.unwrap();
    kill(store).await;
    let journal = JournaledStore::left_in(folder.path()).unwrap();

    // when the database comes back as another master's, or as one that never was this one's,
    let empty = FakeDatabase::default();
    database.comes_back();
    let before = database.how().owner.replace("somebody else".to_owned());
    for other in [&database, &empty] {
        let error = try_open(folder.path(), other).await.err().unwrap();

        // then it isn't touched, that is said, and the journal is kept;
        let named = matches!(
            &error,
            JournaledOpenError::NotTheSame { journal: path, changes: 6, .. } if *path == journal
        );
        assert!(named, "{error}");
        assert!(error.to_string().contains("it was kept"), "{error}");
        assert!(other.how().came.is_empty());
        assert!(journal.exists());
    }

    // and as this master's it takes them, also after all these tries.
    database.how().owner = before;
    let store = open(folder.path(), &database).await;
    assert_eq!(loaded(&store).await.1.order, 1);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_taken_over_meanwhile_ends_it_and_the_journal_is_kept() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    database.goes_away();
    store.commit(life(1)).await.unwrap();
    database.how().owner = Some("somebody else".to_owned());
    database.comes_back();

    let reason = store.broken().await;

    assert!(
        reason.contains("another master has had it since"),
        "{reason}"
    );
    let error = store.commit(life(2)).await.unwrap_err();
    assert!(matches!(error, CommitError::Broken { .. }), "{error}");
    assert!(!error.may_retry());
    assert!(store.degraded().unwrap().reason.contains("another master"));
    assert!(JournaledStore::left_in(folder.path()).is_some());
    assert!(database.how().came.is_empty());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_taken_over_ends_it_also_when_nothing_is_committed() {
    for required in [false, true] {
        let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
        let mut settings = settings(folder.path());
        settings.required = required;
        let store = JournaledStore::open_over(settings, Arc::new(database.clone())).await;
        let store = store.unwrap();
        store.commit(life(1)).await.unwrap();
        database.how().owner = Some("somebody else".to_owned());
        let broken = tokio::time::timeout(std::time::Duration::from_secs(60), store.broken());
        let reason = broken.await.expect("it is seen");
        assert!(reason.contains("another master has taken"), "{reason}");
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_refuses_for_good_ends_it_with_the_reason() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    database.goes_away();
    store.commit(life(1)).await.unwrap();
    database.how().takes_no_batch = true;
    database.comes_back();
    let reason = store.broken().await;
    assert!(reason.contains("stored with other content"), "{reason}");
    assert!(JournaledStore::left_in(folder.path()).is_some());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_said_at_once_at_a_start_and_after_a_while_when_it_comes_later() {
    // The password is wrong: no start.
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    database.how().refuses = Some("the password is wrong");
    let error = try_open(folder.path(), &database).await.err().unwrap();
    assert!(matches!(error, JournaledOpenError::Refused(_)), "{error}");

    // It is away and then it is wrong: the start is over, so it ends what waits for the store.
    database.goes_away();
    let store = open(folder.path(), &database).await;
    database.comes_back();
    let (sink, _source) = tokio::sync::mpsc::channel(1);
    let error = store.load(sink).await.unwrap_err();
    assert!(matches!(error, ReadError::Failed { .. }), "{error}");
    assert!(store.broken().await.contains("the password is wrong"));
    store.close().await.unwrap();

    // It is wrong for a moment alone: that passes.
    database.goes_away();
    let store = open(folder.path(), &database).await;
    database.comes_back();
    eventually("the refusal to be told", async || {
        let degraded = store.degraded().unwrap();
        degraded.reason.contains("the password is wrong")
    })
    .await;
    database.how().refuses = None;
    is_well(&store).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_the_database_and_goes_on_where_reading_broke_off() {
    // Given a database with 2,500 live tasks that is away,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let tasks: Vec<Record> = (1..=2_500).map(|number| sample(number).added()).collect();
    commit(database.kept(), tasks.clone()).await;
    commit(database.kept(), [Record::Worker(worker("w-1"))]).await;
    database.goes_away();
    let store = Arc::new(open(folder.path(), &database).await);
    let loading = tokio::spawn({
        let store = Arc::clone(&store);
        async move { loaded(&*store).await }
    });

    // when it comes, goes again after one chunk, and comes to stay,
    database.how().chunks_left = Some(1);
    database.comes_back();
    eventually("loading to break off", async || {
        database.how().chunks_left.is_none()
    })
    .await;
    assert!(!loading.is_finished());
    assert!(!store.degraded().is_some_and(|it| it.read));
    database.comes_back();

    // then everything is read once and in order.
    let (records, highest) = loading.await.unwrap();
    assert_eq!(records.len(), 2_501);
    assert!(records[1..] == tasks);
    assert_eq!(highest.order, 2_500);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_required_database_is_never_gone_without() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let mut settings = settings(folder.path());
    settings.required = true;
    database.goes_away();
    let open = || JournaledStore::open_over(settings.clone(), Arc::new(database.clone()));
    let error = open().await.err().unwrap();
    assert!(
        matches!(error, JournaledOpenError::OutOfReach { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("-store-required"), "{error}");

    database.comes_back();
    let store = open().await.unwrap();
    assert!(store.disk_files().is_empty());
    store.commit(life(1)).await.unwrap();
    database.goes_away();
    let error = store.commit(life(2)).await.unwrap_err();
    assert!(matches!(error, CommitError::OutOfReach { .. }), "{error}");
    assert!(error.may_retry());
    assert_eq!(JournaledStore::left_in(folder.path()), None);
    database.comes_back();
    store.commit(life(2)).await.unwrap();
    store.close().await.unwrap();
}
