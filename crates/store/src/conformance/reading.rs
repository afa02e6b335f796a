//! That what was written is read back, field by field, and is found by what it is asked by.

use std::{collections::BTreeMap, sync::Arc};

use cloudai_model::{
    Command, SubmitKey, TaskId, TaskStatus, UserName, Wall, WorkerId,
    record::{FileRecord, Record, Removal, Removed, RemovedRecord, TaskRecord},
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use super::{
    Place,
    arbitrary::{self, Life, People},
    commit, loaded, sample,
};
use crate::{AuditQuery, FilesQuery, SubmittedUnder, TaskQuery, WholeTask};

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
            let whole = match life.task.state.status.is_final() {
                true => WholeTask {
                    record: life.task.clone(),
                    result: Some(life.result.clone()),
                    removed: life.removed.removed.clone(),
                },
                false => WholeTask::unfinished(life.task.clone()),
            };
            assert_eq!(store.whole_task(id).await.unwrap(), Some(whole));
        }
        let accounts = store.accounts().await.unwrap();
        let audit = store.audit(&AuditQuery::newest(20)).await.unwrap();
        for life in &lives {
            let People {
                user,
                key,
                token,
                entry,
            } = &life.people;
            assert!(accounts.users.contains(user), "{user:?}");
            assert!(accounts.keys.contains(key), "{key:?}");
            assert!(accounts.ended_tokens.contains(token), "{token:?}");
            assert!(audit.contains(entry), "{entry:?} in {audit:?}");
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
        // A changed state, too, and what was changed of a spec.
        let tidy = lives.iter().flat_map(|life| {
            [
                Record::TaskChanged(life.task.task.clone(), life.later.clone()),
                Record::SpecChanged(life.task.task.clone(), life.change.clone()),
                Record::WorkerRemoved(life.worker.worker.clone()),
                Record::StopOrderDone(life.stop.attempt.clone()),
            ]
        });
        commit(&*store, tidy).await;
        for life in lives {
            let task = store.task(&life.task.task).await.unwrap().unwrap();
            assert_eq!(task.state, life.later);
            let mut spec = life.task.spec;
            life.change.apply(&mut spec);
            assert_eq!(task.spec, spec);
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
    records.extend(life.people.records());
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

pub(crate) async fn pages_by_user_and_status_stay_right_while_tasks_come_and_change(place: &Place) {
    // Given forty queued tasks of two users by turns, and a reader of each, and of each status,
    let store = place.empty();
    let users: [UserName; 2] = ["ann", "bob"].map(|name| name.parse().unwrap());
    let task = |number: u64| {
        let mut it = sample(number);
        it.task.spec.user = users[number as usize % 2].clone();
        it
    };
    commit(&*store, (1..=40).map(|number| task(number).added())).await;
    let mut next = 41;
    for statuses in [
        vec![],
        vec![TaskStatus::Queued],
        vec![TaskStatus::Queued, TaskStatus::Running],
    ] {
        for user in [Some(&users[0]), None] {
            let mut query = TaskQuery {
                statuses: statuses.iter().copied().collect(),
                user: user.cloned(),
                ..TaskQuery::newest(7)
            };
            let at_first = TaskQuery {
                limit: 9_999,
                ..query.clone()
            };
            let mut expected = orders(&store.tasks(&at_first).await.unwrap());
            let mut seen = Vec::new();
            loop {
                let page = store.tasks(&query).await.unwrap();
                let Some(last) = page.last() else { break };
                query.before = Some(last.order);
                seen.extend(orders(&page));
                // when tasks are added between the pages, and one that was seen and one that was
                // not have ended,
                let ended = [page[0].order, last.order.saturating_sub(3)];
                let ended = ended.into_iter().filter(|order| *order > 0);
                let batch = ended.clone().map(|order| task(order).now_done());
                commit(
                    &*store,
                    batch.chain([task(next).added(), task(next + 1).added()]),
                )
                .await;
                next += 2;
                if !statuses.is_empty() {
                    // What stands elsewhere before it was reached is not asked for any more.
                    expected.retain(|order| {
                        seen.contains(order) || !ended.clone().any(|it| it == *order)
                    });
                }
            }
            // then each that was there and still fits is seen once, in order.
            assert_eq!(seen, expected, "{query:?}");
        }
    }
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

pub(crate) async fn a_users_files_are_paged_and_counted(place: &Place) {
    // Given files of two users, a task's of 10 to 17 bytes; some tasks have none,
    let store = place.empty();
    let (ann, bob): (UserName, UserName) = ("ann".parse().unwrap(), "bob".parse().unwrap());
    let left = |number: u64, sizes: &[u64]| {
        let mut it = sample(number);
        it.files.user = if number == 3 { &bob } else { &ann }.clone();
        let file = |(place, size): (usize, &u64)| FileRecord {
            path: format!("out-{place}"),
            size: *size,
            sha256: "ab".repeat(32),
        };
        it.files.files = sizes.iter().enumerate().map(file).collect();
        it
    };
    let bytes = async |user| store.files_bytes_of_user(user).await.unwrap();
    assert_eq!(bytes(&ann).await, 0);
    for number in 1..=7 {
        let it = left(number, &[10, number]);
        commit(&*store, [it.added(), it.uploaded()]).await;
    }
    let empty = left(8, &[]);
    commit(&*store, [empty.added(), empty.uploaded()]).await;
    assert_eq!((bytes(&ann).await, bytes(&bob).await), (60 + 25, 13));

    // when one's are replaced, one's are removed and the task of one is forgotten,
    let removed = Record::Removed(RemovedRecord {
        task: sample(2).id().clone(),
        removed: Removed {
            log: None,
            files: Some(Removal {
                at: Wall(1_700_000_099_000),
                by: "admin".to_owned(),
            }),
        },
    });
    let batch = [
        left(1, &[100]).uploaded(),
        removed,
        left(4, &[]).forgotten(),
    ];
    commit(&*store, batch).await;

    // then what there is is counted,
    assert_eq!(bytes(&ann).await, 100 + 15 + 16 + 17);
    commit(
        &*store,
        [left(5, &[u64::MAX >> 1, u64::MAX >> 1]).uploaded()],
    )
    .await;
    assert!(bytes(&ann).await > 1 << 62, "it never wraps");

    // and is given by pages, the newest task first, also while more come.
    let mut query = FilesQuery {
        user: ann.clone(),
        before: None,
        limit: 2,
    };
    let mut seen = Vec::new();
    let mut next = 9;
    loop {
        let page = store.files_page(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.before = Some(last.order);
        for it in &page {
            assert_eq!(it.files.attempt.task, *sample(it.order).id());
            assert_eq!(it.files.user, ann);
        }
        seen.extend(page.iter().map(|it| it.order));
        let it = left(next, &[1]);
        commit(&*store, [it.added(), it.uploaded()]).await;
        next += 1;
    }
    assert_eq!(seen, [8, 7, 6, 5, 2, 1]);
    query.before = Some(u64::MAX);
    let newest = store.files_page(&query).await.unwrap();
    assert_eq!(newest.len(), 2);
    assert_eq!(newest[0].order, next - 1);
    query.limit = 0;
    assert_eq!(store.files_page(&query).await.unwrap(), []);
}

pub(crate) async fn submits_are_found_by_user_and_key(place: &Place) {
    // Given a submit of three tasks under a key, the same key of another user, and one without,
    let store = place.empty();
    let (ann, bob): (UserName, UserName) = ("ann".parse().unwrap(), "bob".parse().unwrap());
    let under = |number: u64, user: &UserName, index| {
        let mut it = sample(number);
        it.task.spec.user = user.clone();
        it.task.spec.submit_key = Some(SubmitKey {
            key: "deploy 7".to_owned(),
            body: [7; 32],
            index,
        });
        it
    };
    let of_ann = [3, 4, 5].map(|number| under(number, &ann, number as u32 - 3));
    let batch = of_ann.iter().rev().map(sample::Sample::added);
    let others = [under(2, &bob, 0).added(), sample(1).added()];
    commit(&*store, batch.chain(others)).await;

    // when it is asked for, then it is all of that submit, in its order, wherever the tasks stand.
    let found = async |user, key| store.submitted(user, key).await.unwrap();
    let expected = of_ann.each_ref().map(|it| SubmittedUnder {
        task: it.id().clone(),
        key: it.task.spec.submit_key.clone().unwrap(),
        submitted_at: it.task.submitted_at,
    });
    assert_eq!(found(&ann, "deploy 7").await, expected);
    commit(&*store, [of_ann[0].now_done()]).await;
    assert_eq!(found(&ann, "deploy 7").await, expected);
    assert_eq!(found(&bob, "deploy 7").await.len(), 1);
    assert_eq!(found(&ann, "deploy 8").await, []);
    let eve = "eve".parse().unwrap();
    assert_eq!(found(&eve, "deploy 7").await, []);

    // What is forgotten is found no more.
    commit(&*store, [of_ann[0].forgotten(), of_ann[2].forgotten()]).await;
    assert_eq!(found(&ann, "deploy 7").await, expected[1..2]);
}
