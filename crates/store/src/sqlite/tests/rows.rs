//! Rows as others see them: the contract's columns, what can't be read, who waits for whom.

use std::{sync::Arc, time::Duration};

use cloudai_model::record::Record;
use rusqlite::Connection;

use crate::{
    CommitError, ReadError, SqliteStore, Store as _, TaskQuery,
    conformance::{commit, sample},
    sqlite::{
        lock::DataDirLock,
        migrate::MIGRATIONS,
        open::{self, DATABASE_FILE, WhenUnfinished},
        writer,
    },
};

#[tokio::test]
async fn the_columns_of_the_contract_are_there_in_its_units() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let it = sample(1);
    let batch = [
        it.added(),
        it.now_done(),
        it.assigned(),
        it.resulted(),
        it.uploaded(),
    ];
    commit(&store, batch).await;
    let db = Connection::open(dir.path().join(DATABASE_FILE)).unwrap();
    let count = |table: &str, columns: &str, filter: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM (SELECT {columns} FROM {table}) WHERE {filter}");
        db.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let tasks = "task_id, user_id, task_name, submitted_at, docker_image, command, req_cpu, \
         req_memory, req_storage, req_gpu, tag, task_type, sla_multiplier, deadline, priority, \
         status, attempt, created_at, started_at, completed_at";
    let expected = "task_id = 'task-1001' AND submitted_at = 1700000000 AND req_cpu = 1.0 \
         AND req_memory = 0.5 AND req_storage = 1.0 AND req_gpu = 0.0 AND status = 'completed' \
         AND started_at = 1700000002 AND completed_at = 1700000009";
    assert_eq!(count("tasks", tasks, expected), 1);
    let assignments = "ass_id, task_id, worker_id, attempt, assigned_at, ended_at";
    assert_eq!(
        count("assignments", assignments, "ass_id = 'task-1001-1'"),
        1
    );
    let results = "task_id, worker_id, attempt, status, exit_code, logs, completed_at, sla_success";
    assert_eq!(count("results", results, "exit_code = 0"), 1);
    let files = "user_id, task_id, task_name, file_paths, storage_path, sizes, sha256, uploaded_at";
    assert_eq!(count("file_metadata", files, "sizes = '[3]'"), 1);
    let workers = "worker_id, worker_ip, total_cpu, total_memory, total_storage, total_gpu, \
         allocated_cpu, allocated_memory, allocated_storage, allocated_gpu, is_active, \
         last_heartbeat, registered_at, updated_at, labels";
    assert_eq!(count("worker_registry", workers, "true"), 0);
    let users = "username, name, email, password_hash, role, created_at, updated_at";
    assert_eq!(count("users", users, "true"), 0);
}

#[tokio::test]
async fn a_row_that_can_not_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let it = sample(1);
    commit(
        &store,
        [it.added(), it.assigned(), it.resulted(), it.uploaded()],
    )
    .await;
    let db = Connection::open(dir.path().join(DATABASE_FILE)).unwrap();
    let cases = [
        (
            "tasks",
            "status",
            "'asleep'",
            "task-1001",
            "expected one of queued",
        ),
        ("tasks", "env", "'{'", "task-1001", "EOF"),
        ("tasks", "priority", "101", "task-1001", "expected 0 to 100"),
        ("tasks", "gpu_milli", "1500", "task-1001", "1500"),
        (
            "assignments",
            "worker_id",
            "'a b'",
            "task-1001-1",
            "not valid",
        ),
        (
            "assignments",
            "ended_reason",
            "'x'",
            "task-1001-1",
            "neither",
        ),
        ("results", "exit_reason", "'x'", "task-1001", "exit kind"),
        (
            "file_metadata",
            "sha256",
            "'[]'",
            "task-1001",
            "differ in number",
        ),
    ];
    for (table, column, value, key, problem) in cases {
        let before = format!("CREATE TEMP TABLE kept AS SELECT {column} AS value FROM {table}");
        db.execute_batch(&before).unwrap();
        db.execute_batch(&format!("UPDATE {table} SET {column} = {value}"))
            .unwrap();
        let error = match table {
            "tasks" => store.tasks(&TaskQuery::newest(9)).await.unwrap_err(),
            "assignments" => store.assignments(it.id()).await.unwrap_err(),
            "results" => store.result(it.id()).await.unwrap_err(),
            _ => store.files(it.id()).await.unwrap_err(),
        };
        assert!(matches!(error, ReadError::Unreadable { .. }), "{error}");
        let said = error.to_string();
        for part in [table, &format!("row {key},"), problem] {
            assert!(said.contains(part), "{part:?} in {said}");
        }
        let back =
            format!("UPDATE {table} SET {column} = (SELECT value FROM kept); DROP TABLE kept");
        db.execute_batch(&back).unwrap();
    }
    assert_eq!(store.task(it.id()).await.unwrap(), Some(it.task));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_do_not_wait_for_a_writer() {
    // Given a transaction that holds the lock for writing,
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let it = sample(1);
    commit(&store, [it.added()]).await;
    let other = Connection::open(dir.path().join(DATABASE_FILE)).unwrap();
    other
        .execute_batch("BEGIN IMMEDIATE; UPDATE tasks SET reason = 'x'")
        .unwrap();

    // when a commit waits for it,
    let waiting = store.commit(Arc::new(vec![it.now_running()]));
    tokio::pin!(waiting);
    let read = async {
        for _ in 0..100 {
            store.task(it.id()).await.unwrap();
        }
        store.task(it.id()).await.unwrap().unwrap()
    };
    tokio::select! {
        biased;
        outcome = &mut waiting => panic!("committed beside another writer: {outcome:?}"),
        // then reads go on and see what was committed,
        task = read => assert_eq!(task.state, it.task.state),
    }
    // and the commit goes through when the lock is free.
    other.execute_batch("ROLLBACK").unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    outcome.unwrap().unwrap();
    assert_eq!(
        store.task(it.id()).await.unwrap().unwrap().state,
        it.running
    );
}

#[test]
fn a_full_disk_is_told_from_other_failures_and_passes() {
    // Given a database that may not grow much,
    let dir = tempfile::tempdir().unwrap();
    let lock = DataDirLock::hold(dir.path()).unwrap();
    let opened = open::open(lock, dir.path(), MIGRATIONS, WhenUnfinished::Refuse);
    let mut db = opened.unwrap().db;
    let limit = |db: &Connection, pages: i64| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        db.query_row(&sql, [], |_| Ok(())).unwrap();
    };
    limit(&db, 40);
    let batch: Vec<Record> = (1..=2_000).map(|number| sample(number).added()).collect();

    // when a batch doesn't fit,
    let error = writer::commit(&mut db, &batch)
        .unwrap_err()
        .at("sqlite here");

    // then that is said, nothing of it is kept, and it goes in once there is room.
    assert!(matches!(error, CommitError::Full { .. }), "{error}");
    assert!(error.may_retry());
    let count = |db: &Connection| -> i64 {
        db.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(count(&db), 0);
    limit(&db, 1 << 30);
    writer::commit(&mut db, &batch).unwrap();
    assert_eq!(count(&db), 2_000);
}

#[tokio::test]
async fn a_result_with_an_impossible_cpu_time_is_no_conflict_with_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let mut it = sample(1);
    it.result.end.as_mut().unwrap().usage.cpu_time = Duration::MAX;
    let batch = Arc::new(vec![it.added(), it.resulted()]);
    store.commit(Arc::clone(&batch)).await.unwrap();
    store.commit(batch).await.unwrap();
}
