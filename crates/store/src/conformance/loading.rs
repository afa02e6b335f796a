//! What a start gets, and what is still there after one.

use std::sync::Arc;

use cloudai_model::{
    AttemptId, TaskId, TaskStatus, Wall,
    record::{ClusterRecord, Record},
};
use tokio::sync::mpsc;

use super::{
    Place, commit, loaded, sample,
    sample::{stop_order, worker},
};
use crate::{Highest, ReadError, TaskQuery};

fn cluster() -> Record {
    Record::Cluster(ClusterRecord {
        cluster: "c-5f2a90d1".parse().unwrap(),
        epoch: 3,
    })
}

pub(crate) async fn a_start_gets_what_is_live_in_order_and_in_chunks(place: &Place) {
    // Given 2,500 live tasks at three statuses, written in falling order, with ended attempts
    // before the open one, and finals between them,
    let store = place.empty();
    let live = [TaskStatus::Queued, TaskStatus::Pending, TaskStatus::Running];
    let mut batch = Vec::new();
    let (mut tasks, mut open) = (Vec::new(), Vec::new());
    for number in 1..=2_500_u64 {
        let it = sample(number * 2);
        let added = it.added_as(live[number as usize % 3]);
        let mut ended = it.assignment.clone();
        ended.ended = Some((Wall(9), "worker lost".to_owned()));
        let mut second = it.assignment.clone();
        second.attempt = AttemptId::new(it.id().clone(), 2);
        let over = sample(number * 2 + 1);
        batch.push(vec![
            added.clone(),
            Record::Assignment(ended),
            Record::Assignment(second.clone()),
            over.added(),
            over.assigned(),
            over.now_done(),
        ]);
        tasks.push(added);
        open.push(Record::Assignment(second));
    }
    commit(&*store, batch.into_iter().rev().flatten()).await;
    let workers = [Record::Worker(worker("w-1")), Record::Worker(worker("w-2"))];
    let stop = Record::StopOrder(stop_order(1));
    let mut others = vec![stop.clone(), cluster()];
    others.extend(workers.iter().rev().cloned());
    commit(&*store, others).await;

    // when a master starts,
    let (records, highest) = loaded(&*store).await;

    // then it gets them in order; the size of the chunks is checked where they arrive.
    let mut expected = vec![cluster()];
    expected.extend(workers);
    expected.extend(tasks);
    expected.extend(open);
    expected.push(stop);
    assert!(records == expected, "{} records", records.len());
    assert_eq!(highest.order, 5_001);
    assert_eq!(highest.task_number, Some(6_001));
}

pub(crate) async fn the_highest_numbers_count_final_tasks_too(place: &Place) {
    let store = place.empty();
    let named = |number: u64, id: TaskId| {
        let mut it = sample(number);
        it.task.task = id;
        it.added_as(TaskStatus::Completed)
    };
    let highest = |task_number, order| Highest { task_number, order };

    commit(&*store, [named(5, "nightly".parse().unwrap())]).await;
    assert_eq!(loaded(&*store).await, (vec![], highest(None, 5)));

    // Ids don't rise with the order where clients choose them.
    let ids = [100, 9].map(TaskId::numbered);
    commit(&*store, (6..).zip(ids).map(|(order, id)| named(order, id))).await;
    assert_eq!(loaded(&*store).await.1, highest(Some(100), 7));

    for number in [1 << 63, u64::MAX, 3] {
        let order = loaded(&*store).await.1.order + 1;
        commit(&*store, [named(order, TaskId::numbered(number))]).await;
    }
    assert_eq!(loaded(&*store).await.1, highest(Some(u64::MAX), 10));
}

pub(crate) async fn loading_ends_when_nobody_takes_it(place: &Place) {
    let store = place.empty();
    commit(&*store, [cluster()]).await;
    let (sink, source) = mpsc::channel(1);
    drop(source);
    let error = store.load(sink).await.unwrap_err();
    assert!(matches!(error, ReadError::ReceiverGone), "{error}");
    assert_eq!(loaded(&*store).await.0, [cluster()]);
}

pub(crate) async fn a_restart_keeps_everything_or_the_store_says_that_it_forgets(place: &Place) {
    // Given a store with a task that is over, one that runs, and all else,
    let store = place.empty();
    let (over, runs) = (sample(1), sample(2));
    let batch = vec![
        cluster(),
        Record::Worker(worker("w-1")),
        over.added(),
        over.now_done(),
        over.assigned(),
        over.resulted(),
        over.uploaded(),
        runs.added(),
        runs.now_running(),
        runs.assigned(),
        Record::StopOrder(stop_order(7)),
    ];
    store.commit(Arc::new(batch)).await.unwrap();
    let before = loaded(&*store).await;
    let tasks = store.tasks(&TaskQuery::newest(9)).await.unwrap();

    // when the process ends and another one opens it,
    let Some(store) = place.restarted(store).await else {
        return;
    };

    // then all of it is there.
    assert_eq!(loaded(&*store).await, before);
    assert_eq!(store.tasks(&TaskQuery::newest(9)).await.unwrap(), tasks);
    assert_eq!(
        store.result(over.id()).await.unwrap(),
        Some(over.result.clone())
    );
    assert_eq!(
        store.files(over.id()).await.unwrap(),
        Some(over.files.clone())
    );
    let attempts = store.assignments(over.id()).await.unwrap();
    assert_eq!(attempts, [over.assignment]);
}
