//! A store as version 1 left it, brought forward.
//!
//! `version-1.db` was written by the last program of that version: two tasks that had ended, one
//! that ran, one that waited, and one that had failed three times and was given to its worker a
//! fourth time when the master was killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use cloudai_model::{
    Setting, TaskChange, TaskStatus, Wall,
    record::{Record, TaskRecord},
};
use rusqlite::Connection;

use crate::{
    EndedQuery, SqliteStore, Store as _, StoredAccounts, TaskQuery,
    conformance::{accounts, commit, loaded},
    sqlite::open::DATABASE_FILE,
};

const VERSION_1: &[u8] = include_bytes!("version-1.db");

#[tokio::test]
async fn a_store_of_version_1_is_brought_forward_after_a_copy() {
    // Given what version 1 left,
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(DATABASE_FILE), VERSION_1).unwrap();

    // when it is opened,
    let store = SqliteStore::open(dir.path()).unwrap();

    // then every task is there, with what version 1 knew of it and defaults for the rest,
    let tasks = store.tasks(&TaskQuery::newest(9)).await.unwrap();
    let by_name: BTreeMap<&str, &TaskRecord> = tasks
        .iter()
        .map(|task| (task.spec.name.as_str(), task))
        .collect();
    let names: Vec<_> = by_name.keys().copied().collect();
    assert_eq!(names, ["again", "done", "failed", "runs", "waits"]);
    for task in &tasks {
        let (spec, state) = (&task.spec, &task.state);
        assert_eq!((spec.pull_timeout, spec.queue_timeout), (None, None));
        assert_eq!(spec.retry_on.to_string(), "any");
        assert_eq!((state.retry_at, state.time_out), (None, None));
        assert!(state.taken_down.is_empty());
        assert_eq!((spec.hold, &spec.submit_key), (false, &None));
        assert_eq!(state.first_started_at, state.started_at);
    }
    let again = &by_name["again"];
    assert_eq!((again.state.failures, again.state.attempt), (3, 4));
    assert_eq!(again.state.status, TaskStatus::Pending);
    assert_eq!(by_name["runs"].spec.timeout.unwrap().as_secs(), 7200);
    assert!(by_name["runs"].state.first_started_at.is_some());
    assert_eq!(by_name["failed"].state.reason, "exit code 3");
    let result = store.result(&by_name["done"].task).await.unwrap().unwrap();
    assert_eq!(result.log_tail, "hi\n");
    let files = store.files(&by_name["done"].task).await.unwrap().unwrap();
    let bytes = store.files_bytes_of_user(&files.user).await.unwrap();
    assert!(bytes > 0, "{files:?}");
    assert_eq!(bytes, files.bytes());
    assert_eq!(store.accounts().await.unwrap(), StoredAccounts::default());

    // a start gets what was live, with the two attempts that are open,
    let (records, _) = loaded(&store).await;
    let count =
        |wanted: fn(&Record) -> bool| records.iter().filter(|record| wanted(record)).count();
    assert_eq!(count(|record| matches!(record, Record::TaskAdded(_))), 3);
    assert_eq!(count(|record| matches!(record, Record::Assignment(_))), 2);

    // what had ended is found,
    let query = EndedQuery {
        statuses: [TaskStatus::Completed, TaskStatus::Failed].into(),
        before: Wall(i64::MAX),
        after: None,
        limit: 9,
    };
    let ended = store.ended(&query).await.unwrap();
    let ended: BTreeSet<_> = ended.iter().map(|it| &it.task).collect();
    let expected = ["done", "failed"].map(|name| &by_name[name].task);
    assert_eq!(ended, expected.into());

    // what is new can be written,
    let id = &again.task;
    let mut state = again.state.clone();
    state.status = TaskStatus::Queued;
    state.retry_at = Some(Wall(7));
    state.taken_down = vec!["worker-1".parse().unwrap()];
    let change = TaskChange {
        timeout: Setting::To(std::time::Duration::from_secs(9)),
        hold: Setting::To(true),
        ..TaskChange::default()
    };
    let batch = [
        Record::TaskChanged(id.clone(), state.clone()),
        Record::SpecChanged(id.clone(), change),
        Record::TaskForgotten(by_name["failed"].task.clone()),
        accounts::there(&accounts::user("ann")),
        accounts::with_key(&accounts::key("k-1", "ann")),
        accounts::done(&accounts::entry(1)),
    ];
    commit(&store, batch).await;
    let read = store.task(id).await.unwrap().unwrap();
    assert_eq!(read.state, state);
    assert_eq!(read.spec.timeout.unwrap().as_secs(), 9);
    assert!(read.spec.hold);
    let expected = StoredAccounts {
        users: vec![accounts::user("ann")],
        keys: vec![accounts::key("k-1", "ann")],
        ended_tokens: vec![],
        highest_audit: 1,
    };
    assert_eq!(store.accounts().await.unwrap(), expected);
    assert_eq!(store.ended(&query).await.unwrap().len(), 1);
    store.close().await.unwrap();

    // and the copy beside it is what was there before.
    let copy = dir.path().join("cloudai.db.v1.bak");
    let ask = |sql: &str| -> i64 {
        let db = Connection::open(&copy).unwrap();
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(ask("PRAGMA user_version"), 1);
    assert_eq!(ask("SELECT count(*) FROM tasks"), 5);
}
