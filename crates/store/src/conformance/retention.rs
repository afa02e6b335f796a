//! What retention asks of a store: which tasks ended first, what was removed of them, and that a
//! forgotten task leaves nothing but its numbers.

use std::sync::Arc;

use cloudai_model::{
    AttemptId, TaskStatus, Wall,
    record::{ForgottenRecord, Record, Removal, Removed, RemovedRecord},
};

use super::{Place, commit, loaded, sample, sample::Sample};
use crate::{EndedAt, EndedQuery, EndedTask, Highest, Store, TaskQuery};

fn ended(it: &Sample, status: TaskStatus, at: i64) -> Record {
    let mut state = it.done.clone();
    state.status = status;
    state.completed_at = Some(Wall(at));
    Record::TaskChanged(it.id().clone(), state)
}

fn query(statuses: &[TaskStatus]) -> EndedQuery {
    EndedQuery {
        statuses: statuses.iter().copied().collect(),
        before: Wall(i64::MAX),
        after: None,
        limit: 100,
    }
}

fn removal(at: i64) -> Option<Removal> {
    Some(Removal {
        at: Wall(at),
        by: "retention after 30 d".to_owned(),
    })
}

fn removed(it: &Sample, log: Option<i64>, files: Option<i64>) -> Record {
    Record::Removed(RemovedRecord {
        task: it.id().clone(),
        removed: Removed {
            log: log.and_then(removal),
            files: files.and_then(removal),
        },
    })
}

async fn orders(store: &dyn Store, query: &EndedQuery) -> Vec<u64> {
    let found = store.ended(query).await.unwrap();
    found.iter().map(|task| task.place.order).collect()
}

pub(crate) async fn ended_tasks_are_found_in_the_order_in_which_they_ended(place: &Place) {
    // Given tasks that ended in another order than that of their submits, two of them at once, one
    // that runs and one of which nobody knows when it ended,
    let store = place.empty();
    let ends = [
        (1, TaskStatus::Completed, 50),
        (2, TaskStatus::Failed, 10),
        (3, TaskStatus::Cancelled, 30),
        (4, TaskStatus::Completed, 30),
        (5, TaskStatus::Completed, 20),
        (6, TaskStatus::Failed, 60),
    ];
    for (number, status, at) in ends {
        let it = sample(number);
        commit(&*store, [it.added(), ended(&it, status, at)]).await;
    }
    commit(&*store, [sample(7).added(), sample(7).now_running()]).await;
    commit(&*store, [sample(8).added_as(TaskStatus::Completed)]).await;

    // when they are asked for, then they come in order, and only those that were meant,
    let well = query(&[TaskStatus::Completed, TaskStatus::Cancelled]);
    assert_eq!(orders(&*store, &well).await, [5, 3, 4, 1]);
    assert_eq!(orders(&*store, &query(&[TaskStatus::Failed])).await, [2, 6]);
    assert!(orders(&*store, &query(&[])).await.is_empty());
    let before = EndedQuery {
        before: Wall(30),
        ..well.clone()
    };
    assert_eq!(orders(&*store, &before).await, [5]);

    // page by page, each once.
    for limit in 1..=4 {
        let mut page = EndedQuery {
            limit,
            ..well.clone()
        };
        let mut seen = Vec::new();
        loop {
            let found = store.ended(&page).await.unwrap();
            let Some(last) = found.last() else { break };
            page.after = Some(last.place);
            seen.extend(found.iter().map(|task| task.place.order));
        }
        assert_eq!(seen, [5, 3, 4, 1], "in pages of {limit}");
    }
}

pub(crate) async fn what_was_removed_is_kept_and_found(place: &Place) {
    let store = place.empty();
    let (one, other) = (sample(1), sample(2));
    for it in [&one, &other] {
        commit(&*store, [it.added(), it.now_done(), it.uploaded()]).await;
    }
    let ids = [one.id().clone(), other.id().clone()];
    assert!(store.removed(&ids).await.unwrap().is_empty());

    // What is said later replaces what was said before; the same again changes nothing.
    commit(&*store, [removed(&one, Some(5), None)]).await;
    let mut without = one.clone();
    without.files.files.clear();
    let both = Arc::new(vec![removed(&one, Some(5), Some(7)), without.uploaded()]);
    store.commit(Arc::clone(&both)).await.unwrap();
    store.commit(both).await.unwrap();

    let expected = Removed {
        log: removal(5),
        files: removal(7),
    };
    let found = store.removed(&ids).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found.get(one.id()), Some(&expected));
    let files = store.files(one.id()).await.unwrap();
    assert_eq!(files, Some(without.files));
    let listed = store.ended(&query(&[TaskStatus::Completed])).await.unwrap();
    let task = |it: &Sample, removed| EndedTask {
        task: it.id().clone(),
        user: it.task.spec.user.clone(),
        place: EndedAt {
            at: it.done.completed_at.unwrap(),
            order: it.task.order,
        },
        removed,
    };
    let expected = [task(&one, expected), task(&other, Removed::default())];
    assert_eq!(listed, expected);

    let Some(store) = place.restarted(store).await else {
        return;
    };
    assert_eq!(store.removed(&ids).await.unwrap(), found);
}

pub(crate) async fn a_forgotten_task_leaves_nothing_but_its_numbers(place: &Place) {
    // Given two tasks with all that a task can have,
    let store = place.empty();
    let (kept, gone) = (sample(1), sample(2));
    for it in [&kept, &gone] {
        let mut second = it.assignment.clone();
        second.attempt = AttemptId::new(it.id().clone(), 2);
        second.ended = Some((Wall(9), "done".to_owned()));
        let life = [
            it.added(),
            it.assigned(),
            Record::Assignment(second),
            it.now_done(),
            it.resulted(),
            it.uploaded(),
            removed(it, Some(5), None),
        ];
        commit(&*store, life).await;
    }

    // when the newest is forgotten, and so is one that is not known,
    let forget = || Record::TaskForgotten(gone.id().clone());
    let batch = Arc::new(vec![
        forget(),
        Record::TaskForgotten(sample(9).id().clone()),
    ]);
    store.commit(Arc::clone(&batch)).await.unwrap();
    store.commit(batch).await.unwrap();

    // then nothing of it is found,
    let check = async |store: &dyn Store| {
        assert_eq!(store.task(gone.id()).await.unwrap(), None);
        assert_eq!(store.assignments(gone.id()).await.unwrap(), vec![]);
        assert_eq!(store.result(gone.id()).await.unwrap(), None);
        assert_eq!(store.files(gone.id()).await.unwrap(), None);
        let ids = [gone.id().clone()];
        assert!(store.removed(&ids).await.unwrap().is_empty());
        let of_user = store.files_of_user(&gone.files.user).await.unwrap();
        assert_eq!(of_user, std::slice::from_ref(&kept.files));
        let tasks = store.tasks(&TaskQuery::newest(9)).await.unwrap();
        assert_eq!(tasks.len(), 1);
        assert_eq!(store.count_by_status().await.unwrap().len(), 1);
        // all of the other is there,
        assert_eq!(store.assignments(kept.id()).await.unwrap().len(), 2);
        assert!(store.result(kept.id()).await.unwrap().is_some());
        // and its numbers are not given out again.
        let highest = Highest {
            task_number: gone.id().number(),
            order: gone.task.order,
        };
        assert_eq!(loaded(store).await.1, highest);
    };
    check(&*store).await;
    if let Some(again) = place.restarted(Arc::clone(&store)).await {
        check(&*again).await;
    }
}

pub(crate) async fn an_id_that_was_forgotten_can_be_used_by_a_client_again(place: &Place) {
    let store = place.empty();
    let it = sample(3);
    commit(
        &*store,
        [it.added(), it.assigned(), it.now_done(), it.resulted()],
    )
    .await;
    let mut again = it.clone();
    again.task.order = 4;
    again.task.spec.name = "another".to_owned();
    again.result.reason = "another".to_owned();
    let batch = Arc::new(vec![
        Record::TaskForgotten(it.id().clone()),
        again.added(),
        again.resulted(),
    ]);
    store.commit(batch).await.unwrap();
    assert_eq!(store.task(it.id()).await.unwrap(), Some(again.task));
    assert_eq!(store.result(it.id()).await.unwrap(), Some(again.result));
    assert_eq!(store.assignments(it.id()).await.unwrap(), vec![]);
}

pub(crate) async fn a_batch_that_forgets_what_it_speaks_of_may_be_sent_again(place: &Place) {
    // Given a task, and a batch that says all there is to say of it and then forgets it; of another
    // that was never there; and of a third, whose id is used once more,
    let store = place.empty();
    let (known, new, third) = (sample(1), sample(2), sample(3));
    commit(&*store, [known.added(), third.added(), third.resulted()]).await;
    let all = |it: &Sample| {
        let records = [
            it.now_running(),
            it.assigned(),
            Record::SpecChanged(it.id().clone(), cloudai_model::TaskChange::default()),
            it.now_done(),
            it.resulted(),
            it.uploaded(),
            removed(it, Some(5), None),
        ];
        records.to_vec()
    };
    let mut again = third.clone();
    again.task.order = 5;
    again.task.spec.name = "once more".to_owned();
    again.result.reason = "once more".to_owned();
    let mut batch = vec![new.added()];
    batch.extend([&known, &new, &third].into_iter().flat_map(all));
    batch.extend([&known, &new, &third].map(Sample::forgotten));
    batch.push(again.added());
    batch.extend(all(&again));
    let batch = Arc::new(batch);

    // when it is sent twice, then all stands as after once,
    for _ in 0..2 {
        store.commit(Arc::clone(&batch)).await.unwrap();
        for it in [&known, &new] {
            assert_eq!(store.task(it.id()).await.unwrap(), None);
            assert_eq!(store.result(it.id()).await.unwrap(), None);
            assert_eq!(store.files(it.id()).await.unwrap(), None);
            assert_eq!(store.assignments(it.id()).await.unwrap(), vec![]);
        }
        let result = store.result(again.id()).await.unwrap();
        assert_eq!(result.as_ref(), Some(&again.result));
        let task = store.task(again.id()).await.unwrap().unwrap();
        assert_eq!((task.order, &task.state), (5, &again.done));
        assert_eq!(store.tasks(&TaskQuery::newest(9)).await.unwrap().len(), 1);
    }
    // numbers of what was never seen count, too,
    commit(&*store, [again.forgotten()]).await;
    let mut unseen = sample(8);
    unseen.task.order = 7;
    commit(&*store, [unseen.added(), unseen.forgotten()]).await;
    let highest = Highest {
        task_number: unseen.id().number(),
        order: 7,
    };
    assert_eq!(loaded(&*store).await.1, highest);

    // and what comes behind the forgetting must be known as ever.
    let batch = Arc::new(vec![known.uploaded(), known.forgotten(), known.resulted()]);
    let error = store.commit(batch).await.unwrap_err();
    assert!(!error.may_retry(), "{error}");
}

pub(crate) async fn nothing_is_removed_of_a_task_that_is_not_known(place: &Place) {
    let store = place.empty();
    let batch = Arc::new(vec![removed(&sample(1), Some(1), None)]);
    let error = store.commit(batch).await.unwrap_err();
    assert!(!error.may_retry(), "{error}");

    // A batch that fails after it forgot a task has forgotten none.
    let it = sample(2);
    commit(&*store, [it.added(), it.assigned(), it.resulted()]).await;
    let batch = Arc::new(vec![
        Record::TaskForgotten(it.id().clone()),
        removed(&it, Some(1), None),
    ]);
    store.commit(batch).await.unwrap_err();
    assert_eq!(store.task(it.id()).await.unwrap(), Some(it.task.clone()));
    assert_eq!(store.assignments(it.id()).await.unwrap().len(), 1);
    assert_eq!(
        store.result(it.id()).await.unwrap(),
        Some(it.result.clone())
    );
}

pub(crate) async fn numbers_of_forgotten_tasks_are_raised_and_never_lowered(place: &Place) {
    let store = place.empty();
    let told = |order, task_number| Record::Forgotten(ForgottenRecord { order, task_number });
    let highest = |order, task_number| Highest { task_number, order };
    // As a copy says them, and once more.
    let batch = Arc::new(vec![told(9, Some(1_009))]);
    store.commit(Arc::clone(&batch)).await.unwrap();
    store.commit(batch).await.unwrap();
    assert_eq!(loaded(&*store).await.1, highest(9, Some(1_009)));
    // Each by itself, and only upwards; numbers beyond 2^63, too.
    commit(&*store, [told(3, None)]).await;
    assert_eq!(loaded(&*store).await.1, highest(9, Some(1_009)));
    commit(&*store, [told(4, Some(u64::MAX))]).await;
    assert_eq!(loaded(&*store).await.1, highest(9, Some(u64::MAX)));
    commit(&*store, [told(12, Some(7))]).await;
    assert_eq!(loaded(&*store).await.1, highest(12, Some(u64::MAX)));
    // With a task that is there, and one that is forgotten, the highest of all counts.
    let (there, gone) = (sample(20), sample(30));
    commit(&*store, [there.added(), gone.added(), gone.forgotten()]).await;
    assert_eq!(loaded(&*store).await.1, highest(30, Some(u64::MAX)));

    // A batch that fails has raised nothing.
    let batch = vec![told(99, None), removed(&sample(1), Some(1), None)];
    store.commit(Arc::new(batch)).await.unwrap_err();
    assert_eq!(loaded(&*store).await.1, highest(30, Some(u64::MAX)));

    if let Some(again) = place.restarted(store).await {
        assert_eq!(loaded(&*again).await.1, highest(30, Some(u64::MAX)));
    }
}
