//! A store as version 3 left it, brought forward: accounts were kept nowhere, and what files take was
//! known of their lists alone.

use std::time::Duration;

use cloudai_model::{AccountState, Priority, Role, Setting, TaskChange, UserLimits, Wall};
use cloudai_model::{account::UserRecord, record::Record};
use rusqlite::Connection;

use crate::{
    SqliteStore, Store as _, StoredAccounts, TaskQuery,
    conformance::{commit, sample},
    sqlite::{migrate::MIGRATIONS, open::DATABASE_FILE},
};

/// What the program of version 3 wrote of a task of ann's and of its files, and what somebody put
/// into the table of users, which it had and never used.
const ROWS: &str = "
    INSERT INTO tasks (order_number, task_id, task_number, user_id, task_name, docker_image,
        cpu_milli, memory_bytes, storage_bytes, gpu_milli, env, priority, max_retries, labels, tag,
        sla_multiplier, submitted_at_ms, status, phase, attempt, reason, cancel_requested, failures)
    VALUES (3, 'task-3', 3, 'ann', 'train', 'alpine:3.20', 1000, 536870912, 1073741824, 0, '{}',
        50, 0, '{\"team\":\"a\"}', '', 2.0, 1700000000000, 'queued', 'queued', 0, '', 0, 0);
    INSERT INTO file_metadata (order_number, task_id, attempt, user_id, task_name, storage_path,
        file_paths, sizes, sha256, uploaded_at_ms)
    VALUES (3, 'task-3', 1, 'ann', 'train', 'ann/task-3', '[\"a\",\"b\"]', '[40,2]',
        '[\"00\",\"11\"]', 1700000000000);
    INSERT INTO users (username, password_hash, role, created_at, updated_at)
    VALUES ('ann', '$argon2id$', 'admin', 1700000000, 1700000001);";

#[tokio::test]
async fn a_store_of_version_3_gets_accounts_and_knows_what_its_files_take() {
    // Given what version 3 left,
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open_at(dir.path(), &MIGRATIONS[..3]).unwrap();
    store.close().await.unwrap();
    drop(store);
    let file = dir.path().join(DATABASE_FILE);
    Connection::open(&file)
        .unwrap()
        .execute_batch(ROWS)
        .unwrap();

    // when it is opened,
    let store = SqliteStore::open(dir.path()).unwrap();

    // then what was there is there,
    let ann = UserRecord {
        user: "ann".parse().unwrap(),
        name: String::new(),
        email: String::new(),
        password_hash: "$argon2id$".to_owned(),
        role: Role::Admin,
        state: AccountState::Active,
        generation: 0,
        limits: UserLimits::default(),
        created_at: Wall(1_700_000_000_000),
        updated_at: Wall(1_700_000_001_000),
    };
    let expected = StoredAccounts {
        users: vec![ann.clone()],
        ..StoredAccounts::default()
    };
    assert_eq!(store.accounts().await.unwrap(), expected);
    assert_eq!(store.files_bytes_of_user(&ann.user).await.unwrap(), 42);
    let query = TaskQuery {
        user: Some(ann.user.clone()),
        ..TaskQuery::newest(9)
    };
    let task = store.tasks(&query).await.unwrap().remove(0);
    assert_eq!((task.spec.hold, &task.spec.submit_key), (false, &None));

    // and what is new can be kept of it.
    let change = TaskChange {
        name: Setting::To("again".to_owned()),
        priority: Setting::To(Priority::new(7).unwrap()),
        deadline: Setting::To(Wall(5)),
        timeout: Setting::To(Duration::from_secs(9)),
        labels: Setting::Clear,
        hold: Setting::To(true),
    };
    let mut spec = task.spec.clone();
    change.apply(&mut spec);
    commit(&store, [Record::SpecChanged(task.task.clone(), change)]).await;
    assert_eq!(store.task(&task.task).await.unwrap().unwrap().spec, spec);
    commit(&store, [sample(4).added(), sample(4).uploaded()]).await;
    store.close().await.unwrap();

    // The copy beside it is what was there before.
    let copy = Connection::open(dir.path().join("cloudai.db.v3.bak")).unwrap();
    let version: i64 = copy
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 3);
}
