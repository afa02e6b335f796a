//! That what was written is read back, field by field, and is found by what it is asked by.

use std::{collections::BTreeMap, sync::Arc};

use cloudai_model::{
    Command, TaskId, TaskStatus, UserName, WorkerId,
    record::{Record, TaskRecord},
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use super::{
    Place,
    arbitrary::{self, Life},
    commit, loaded, sample,
};
use crate::TaskQuery;

fn orders(page: &[TaskRecord]) -> Vec<u64> {
    page.iter().map(|task| task.order).collect()
}

pub(crate) async fn every_field_is_read_back(place: &Place) {
    let store = place.empty();
    // The same records each time: what fails is found again.
    let mut runner = TestRunner::deterministic();
    for first in (1..=200).step_by(20) {
        // Given arbitrary valid records,
        let lives: Vec<Life> = (first..first + 20)
            .map(|number| {
                let tree = arbitrary::life(number).new_tree(&mut runner);
                tree.unwrap().current()
            })
            .collect();

        // when they are written,
        let batch: Vec<Record> = lives.iter().flat_map(written).collect();
        let batch = Arc::new(batch);
        store.commit(Arc::clone(&batch)).await.unwrap();

        // then each is read back as it was, and the same ones are no conflict.
        for life in &lives {
            let id = &life.task.task;
            assert_eq!(store.task(id).await.unwrap(), Some(life.task.clone()));
            assert_eq!(store.assignments(id).await.unwrap(), life.assignments);
            assert_eq!(store.result(id).await.unwrap(), Some(life.result.clone()));
            assert_eq!(store.files(id).await.unwrap(), Some(life.files.clone()));
            let removed = store.removed(std::slice::from_ref(id)).await.unwrap();
            assert_eq!(removed.get(id), Some(&life.removed.removed));
        }
        store.commit(batch).await.unwrap();
        let (records, _) = loaded(&*store).await;
        let cluster = lives
            .last()
            .map(|life| Record::Cluster(life.cluster.clone()));
        assert!(records.contains(&cluster.unwrap()), "{records:?}");
        for life in &lives {
            for record in [
                Record::Worker(life.worker.clone()),
                Record::StopOrder(life.stop.clone()),
            ] {
                assert!(records.contains(&record), "{record:?} in {records:?}");
            }
        }
        // A changed state, too.
        let tidy = lives.iter().flat_map(|life| {
            [
                Record::TaskChanged(life.task.task.clone(), life.later.clone()),
                Record::WorkerRemoved(life.worker.worker.clone()),
                Record::StopOrderDone(life.stop.attempt.clone()),
            ]
        });
        commit(&*store, tidy).await;
        for life in lives {
            let task = store.task(&life.task.task).await.unwrap();
            assert_eq!(task.unwrap().state, life.later);
        }
    }
}

fn written(life: &Life) -> Vec<Record> {
    let mut records = vec![
        Record::Cluster(life.cluster.clone()),
        Record::Worker(life.worker.clone()),
        Record::TaskAdded(Box::new(life.task.clone())),
        Record::Result(Box::new(life.result.clone())),
        Record::Files(Box::new(life.files.clone())),
        Record::StopOrder(life.stop.clone()),
        Record::Removed(life.removed.clone()),
    ];
    records.extend(life.assignments.iter().cloned().map(Record::Assignment));
    records
}

pub(crate) async fn text_of_any_script_is_read_back(place: &Place) {
    let store = place.empty();
    let texts = [
        "",
        "'; DROP TABLE tasks; --",
        "größe 模型 🚀",
        "a\0b",
        "\u{202e}\r\n\t\"\\",
        "%_?1",
    ];
    for (number, text) in (1..).zip(texts) {
        let mut it = sample(number);
        it.task.spec.name = text.to_owned();
        it.task.spec.tag = text.to_owned();
        it.task.spec.command = Command::Exec(vec![text.to_owned(), String::new()]);
        it.task.spec.env = [(format!("K{text}"), text.to_owned())].into();
        it.task.state.reason = text.to_owned();
        it.result.log_tail = text.to_owned();
        it.files.files[0].path = text.to_owned();
        commit(&*store, [it.added(), it.resulted(), it.uploaded()]).await;
        assert_eq!(store.task(it.id()).await.unwrap().as_ref(), Some(&it.task));
        let result = store.result(it.id()).await.unwrap();
        assert_eq!(result.as_ref(), Some(&it.result));
        assert_eq!(
            store.files(it.id()).await.unwrap().as_ref(),
            Some(&it.files)
        );
    }
}

pub(crate) async fn pages_stay_right_while_tasks_are_added(place: &Place) {
    // Given ten tasks, and a reader who takes pages of four,
    let store = place.empty();
    commit(&*store, (1..=10).map(|number| sample(number).added())).await;
    let mut query = TaskQuery::newest(4);
    let mut seen = Vec::new();
    let mut next = 11;
    loop {
        let page = store.tasks(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.before = Some(last.order);
        seen.extend(orders(&page));
        // when tasks are added between the pages,
        commit(&*store, [sample(next).added()]).await;
        next += 1;
    }
    // then each of the ten is seen once.
    assert_eq!(seen, (1..=10).rev().collect::<Vec<_>>());
    query.before = Some(u64::MAX);
    assert_eq!(
        orders(&store.tasks(&query).await.unwrap()),
        [13, 12, 11, 10]
    );
    query.limit = 0;
    assert!(store.tasks(&query).await.unwrap().is_empty());
}

pub(crate) async fn tasks_are_found_by_status_user_and_worker(place: &Place) {
    // Given thirty tasks of three users at six statuses on two workers or none,
    let store = place.empty();
    let users: Vec<UserName> = ["ann", "bob", "cem"]
        .map(|name| name.parse().unwrap())
        .into();
    let workers: Vec<Option<WorkerId>> = vec![
        None,
        Some("w-1".parse().unwrap()),
        Some("w-2".parse().unwrap()),
    ];
    let mut tasks = Vec::new();
    for number in 0..30_u64 {
        let mut it = sample(number + 1);
        let place = number as usize;
        it.task.spec.user = users[place % 3].clone();
        it.task.state.status = TaskStatus::ALL[place % 6];
        it.task.state.worker = workers[place / 2 % 3].clone();
        commit(&*store, [it.added()]).await;
        tasks.push(it.task);
    }
    // when they are asked for by every mixture of these,
    for chosen in 0..64_usize {
        for user in users.iter().map(Some).chain([None]) {
            for worker in &workers {
                let query = TaskQuery {
                    statuses: (0..6)
                        .filter(|place| chosen >> place & 1 == 1)
                        .map(|place| TaskStatus::ALL[place])
                        .collect(),
                    user: user.cloned(),
                    worker: worker.clone(),
                    before: Some(29),
                    limit: 5,
                };
                // then the answer is what a plain filter gives.
                let fits = |task: &&TaskRecord| {
                    task.order < 29
                        && (chosen == 0 || query.statuses.contains(&task.state.status))
                        && user.is_none_or(|user| *user == task.spec.user)
                        && (worker.is_none() || *worker == task.state.worker)
                };
                let expected: Vec<_> = tasks.iter().rev().filter(fits).take(5).cloned().collect();
                assert_eq!(store.tasks(&query).await.unwrap(), expected, "{query:?}");
            }
        }
    }
}

pub(crate) async fn tasks_are_counted_by_status(place: &Place) {
    let store = place.empty();
    commit(&*store, (1..=7).map(|number| sample(number).added())).await;
    commit(&*store, [sample(1).now_done(), sample(2).now_running()]).await;
    let expected = BTreeMap::from([
        (TaskStatus::Queued, 5),
        (TaskStatus::Running, 1),
        (TaskStatus::Completed, 1),
    ]);
    assert_eq!(store.count_by_status().await.unwrap(), expected);
}

pub(crate) async fn files_are_found_by_user(place: &Place) {
    let store = place.empty();
    for number in 1..=4 {
        let mut it = sample(number);
        it.files.user = if number == 2 { "bob" } else { "ann" }.parse().unwrap();
        commit(&*store, [it.added(), it.uploaded()]).await;
    }
    let found = store.files_of_user(&"ann".parse().unwrap()).await.unwrap();
    let tasks: Vec<TaskId> = found.into_iter().map(|files| files.attempt.task).collect();
    let newest_first = [4, 3, 1].map(|number| sample(number).task.task);
    assert_eq!(tasks, newest_first);
    let nobody = store.files_of_user(&"eve".parse().unwrap()).await.unwrap();
    assert!(nobody.is_empty());
}
