//! What a commit keeps, what it refuses, and that it is all or nothing.

use std::{sync::Arc, time::Duration};

use cloudai_model::{
    AttemptId, Setting, TaskChange, Wall,
    record::{Record, TaskRecord},
};

use super::{
    Place, arbitrary, commit, loaded, sample,
    sample::{stop_order, worker},
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use crate::{CommitError, HIGHEST_ORDER, Highest, ReadError, Store, TaskQuery};

async fn refused(store: &dyn Store, batch: Vec<Record>) -> CommitError {
    let error = store.commit(Arc::new(batch)).await.unwrap_err();
    assert!(!error.may_retry(), "{error}");
    error
}

pub(crate) async fn a_new_store_is_empty(place: &Place) {
    let store = place.empty();
    assert_eq!(loaded(&*store).await, (vec![], Highest::default()));
    assert_eq!(store.tasks(&TaskQuery::newest(9)).await.unwrap(), vec![]);
    assert_eq!(store.task(sample(1).id()).await.unwrap(), None);
    assert!(store.count_by_status().await.unwrap().is_empty());
    commit(&*store, []).await;
}

pub(crate) async fn what_is_committed_is_read_at_once(place: &Place) {
    let store = place.empty();
    for number in 1..=20 {
        // When a task is taken through its life,
        let it = sample(number);
        commit(&*store, [it.added()]).await;
        assert_eq!(store.task(it.id()).await.unwrap().unwrap(), it.task);
        commit(&*store, [it.now_running(), it.assigned()]).await;

        // then each step is seen by the read after it.
        let task = store.task(it.id()).await.unwrap().unwrap();
        assert_eq!(task.state, it.running);
        let attempts = store.assignments(it.id()).await.unwrap();
        assert_eq!(attempts, std::slice::from_ref(&it.assignment));
        commit(&*store, [it.now_done(), it.resulted(), it.uploaded()]).await;
        let result = store.result(it.id()).await.unwrap();
        assert_eq!(result.as_ref(), Some(&it.result));
        let files = store.files(it.id()).await.unwrap();
        assert_eq!(files.as_ref(), Some(&it.files));
    }
}

pub(crate) async fn a_batch_that_fails_in_its_middle_leaves_nothing(place: &Place) {
    // Given a store with a bit of everything,
    let store = place.empty();
    let (known, unknown) = (sample(1), sample(2));
    let before = [
        Record::Worker(worker("w-1")),
        known.added(),
        known.assigned(),
        known.uploaded(),
        Record::StopOrder(stop_order(8)),
    ];
    commit(&*store, before).await;
    let start = loaded(&*store).await;

    // when a batch changes all of it and fails at the last record but one,
    let mut moved = worker("w-1");
    moved.registration += 1;
    let mut ended = known.assignment.clone();
    ended.ended = Some((Wall(5), "lost".to_owned()));
    let mut files = known.files.clone();
    files.files.clear();
    let batch = vec![
        Record::Worker(moved),
        Record::Worker(worker("w-2")),
        Record::WorkerRemoved("w-1".parse().unwrap()),
        sample(3).added(),
        known.now_running(),
        Record::Assignment(ended),
        known.resulted(),
        Record::Files(Box::new(files)),
        Record::StopOrderDone(stop_order(8).attempt),
        Record::StopOrder(stop_order(9)),
        unknown.now_running(),
        known.now_done(),
    ];
    refused(&*store, batch).await;

    // then all is as it was,
    assert_eq!(loaded(&*store).await, start);
    assert_eq!(store.result(known.id()).await.unwrap(), None);
    let files = store.files(known.id()).await.unwrap();
    assert_eq!(files, Some(known.files.clone()));
    assert_eq!(store.task(sample(3).id()).await.unwrap(), None);

    // and the next batch is taken.
    commit(&*store, [unknown.added(), unknown.now_running()]).await;
}

pub(crate) async fn the_identical_batch_may_be_sent_again(place: &Place) {
    let store = place.empty();
    let it = sample(1);
    let batch = Arc::new(vec![
        Record::Worker(worker("w-1")),
        Record::Worker(worker("w-2")),
        Record::WorkerRemoved("w-2".parse().unwrap()),
        sample(2).added(),
        it.added(),
        it.now_running(),
        it.assigned(),
        it.now_done(),
        it.resulted(),
        it.uploaded(),
        Record::StopOrder(stop_order(8)),
        Record::StopOrder(stop_order(9)),
        Record::StopOrderDone(stop_order(9).attempt),
    ]);
    store.commit(Arc::clone(&batch)).await.unwrap();
    let once = loaded(&*store).await;

    store.commit(batch).await.unwrap();

    assert_eq!(loaded(&*store).await, once);
    assert_eq!(store.task(it.id()).await.unwrap().unwrap().state, it.done);
    assert_eq!(store.assignments(it.id()).await.unwrap().len(), 1);
}

pub(crate) async fn a_task_added_again_keeps_the_state_it_has_reached(place: &Place) {
    let store = place.empty();
    let it = sample(1);
    commit(&*store, [it.added()]).await;
    commit(&*store, [it.now_done()]).await;

    commit(&*store, [it.added()]).await;

    assert_eq!(store.task(it.id()).await.unwrap().unwrap().state, it.done);
}

pub(crate) async fn what_is_changed_in_a_spec_stays_changed(place: &Place) {
    // Given a task,
    let store = place.empty();
    let it = sample(1);
    let change = |timeout| {
        Record::SpecChanged(
            it.id().clone(),
            TaskChange {
                timeout,
                ..TaskChange::default()
            },
        )
    };
    let to = |seconds| change(Setting::To(Duration::from_secs(seconds)));
    let batch = Arc::new(vec![it.added(), to(5), it.now_running()]);

    // when it is changed, in the batch that adds it, too, and that batch is sent again,
    store.commit(batch.clone()).await.unwrap();
    store.commit(batch).await.unwrap();

    // then it has what it was changed to, and all else as it was,
    let mut expected = TaskRecord {
        state: it.running.clone(),
        ..it.task.clone()
    };
    expected.spec.timeout = Some(Duration::from_secs(5));
    let read = async || store.task(it.id()).await.unwrap().unwrap();
    assert_eq!(read().await, expected);
    let (records, _) = loaded(&*store).await;
    let loaded = Record::TaskAdded(Box::new(expected.clone()));
    assert_eq!(records, [loaded], "a start gets it as it was changed");

    // also when it is added again, as it was submitted.
    commit(&*store, [it.added(), change(Setting::Keep)]).await;
    assert_eq!(read().await, expected);
    commit(&*store, [change(Setting::Clear)]).await;
    assert_eq!(read().await.spec.timeout, None);

    // So does each of the others, alone and together, and is taken away again.
    let mut expected = read().await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..50 {
        let change = arbitrary::change().new_tree(&mut runner).unwrap().current();
        commit(
            &*store,
            [Record::SpecChanged(it.id().clone(), change.clone())],
        )
        .await;
        change.apply(&mut expected.spec);
        assert_eq!(read().await, expected, "{change:?}");
    }
    commit(&*store, [change(Setting::Clear)]).await;

    // What fails takes the change back.
    refused(&*store, vec![to(7), sample(2).now_running()]).await;
    assert_eq!(read().await.spec.timeout, None);
}

pub(crate) async fn a_task_added_with_other_content_is_a_conflict(place: &Place) {
    let store = place.empty();
    let it = sample(1);
    commit(&*store, [it.added()]).await;

    let mut retagged = it.clone();
    retagged.task.spec.tag = "another".to_owned();
    let mut reordered = it.clone();
    reordered.task.order = 2;
    let mut later = it.clone();
    later.task.submitted_at.0 += 1;
    for other in [retagged, reordered, later] {
        let error = refused(&*store, vec![other.added()]).await;
        assert!(
            matches!(&error, CommitError::Conflict { what: "task", key } if *key == it.id().to_string()),
            "{error}"
        );
    }
    assert_eq!(store.task(it.id()).await.unwrap(), Some(it.task));
}

pub(crate) async fn two_tasks_of_one_order_are_a_conflict(place: &Place) {
    let store = place.empty();
    commit(&*store, [sample(1).added()]).await;
    let mut other = sample(2);
    other.task.order = 1;
    let error = refused(&*store, vec![other.added()]).await;
    assert!(
        matches!(&error, CommitError::Conflict { what: "order", .. }),
        "{error}"
    );
}

pub(crate) async fn an_order_that_no_database_can_count_is_refused(place: &Place) {
    let store = place.empty();
    let mut it = sample(1);
    it.task.order = HIGHEST_ORDER + 1;
    let error = refused(&*store, vec![it.added()]).await;
    assert!(matches!(error, CommitError::OrderTooHigh { .. }), "{error}");
    it.task.order = HIGHEST_ORDER;
    commit(&*store, [it.added()]).await;
    assert_eq!(loaded(&*store).await.1.order, HIGHEST_ORDER);
}

pub(crate) async fn a_task_has_one_result(place: &Place) {
    // Given a task with its result,
    let store = place.empty();
    let it = sample(1);
    commit(&*store, [it.added(), it.resulted()]).await;

    // when another attempt brings another one,
    let mut other = it.clone();
    other.result.attempt.number = 2;
    let batch = vec![it.now_done(), other.resulted()];
    let error = refused(&*store, batch).await;

    // then it is refused with all that came with it, and the first stands.
    assert!(
        matches!(&error, CommitError::Conflict { what: "result", .. }),
        "{error}"
    );
    assert_eq!(
        store.result(it.id()).await.unwrap(),
        Some(it.result.clone())
    );
    let task = store.task(it.id()).await.unwrap().unwrap();
    assert_eq!(task.state, it.task.state);
    commit(&*store, [it.resulted()]).await;
}

pub(crate) async fn records_of_an_unknown_task_are_refused(place: &Place) {
    let store = place.empty();
    let it = sample(1);
    let mut ended = it.assignment.clone();
    ended.ended = Some((Wall(1), "lost".to_owned()));
    let records = [
        it.now_running(),
        it.assigned(),
        Record::Assignment(ended),
        Record::SpecChanged(it.id().clone(), TaskChange::default()),
        it.resulted(),
        it.uploaded(),
    ];
    for record in records {
        let error = refused(&*store, vec![record]).await;
        assert!(
            matches!(&error, CommitError::UnknownTask { task, .. } if task == it.id()),
            "{error}"
        );
    }
    // Asking for one is no error.
    assert_eq!(store.assignments(it.id()).await.unwrap(), vec![]);
    assert_eq!(store.result(it.id()).await.unwrap(), None);
    assert_eq!(store.files(it.id()).await.unwrap(), None);
}

pub(crate) async fn files_of_a_later_attempt_replace_the_earlier(place: &Place) {
    let store = place.empty();
    let it = sample(1);
    commit(&*store, [it.added(), it.uploaded()]).await;
    let mut later = it.clone();
    later.files.attempt = AttemptId::new(it.id().clone(), 2);
    later.files.files.clear();
    commit(&*store, [later.uploaded()]).await;
    let files = store.files(it.id()).await.unwrap();
    assert_eq!(files, Some(later.files.clone()));
    let of_user = store.files_of_user(&it.files.user).await.unwrap();
    assert_eq!(of_user, [later.files]);
}

pub(crate) async fn workers_and_stop_orders_come_and_go(place: &Place) {
    let store = place.empty();
    let mut changed = worker("w-1");
    changed.last_seen_at = Some(Wall(4));
    let batch = [
        Record::Worker(worker("w-1")),
        Record::Worker(worker("w-2")),
        Record::Worker(changed.clone()),
        Record::WorkerRemoved("w-2".parse().unwrap()),
        Record::WorkerRemoved("never-there".parse().unwrap()),
        Record::StopOrder(stop_order(8)),
        Record::StopOrder(stop_order(9)),
    ];
    commit(&*store, batch).await;
    commit(&*store, [Record::StopOrderDone(stop_order(8).attempt)]).await;
    // Stop orders outlive their worker, and need no task.
    let expected = vec![Record::Worker(changed), Record::StopOrder(stop_order(9))];
    assert_eq!(loaded(&*store).await.0, expected);
}

pub(crate) async fn a_closed_store_says_so(place: &Place) {
    let store = place.empty();
    store.close().await.unwrap();
    store.close().await.unwrap();
    let error = store.commit(Arc::new(vec![])).await.unwrap_err();
    assert!(matches!(error, CommitError::Closed), "{error}");
    let error = store.task(sample(1).id()).await.unwrap_err();
    assert!(matches!(error, ReadError::Closed), "{error}");
}
