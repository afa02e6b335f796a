//! What is known of tasks' output files. The files themselves lie elsewhere.

use std::sync::LazyLock;

use cloudai_model::{
    AttemptId, TaskId, UserName,
    record::{FileRecord, FilesRecord},
};
use rusqlite::{Connection, Params, Row, params};

use super::written;
use crate::{
    ReadError,
    sqlite::{
        columns::{Columns, Table, json},
        failure::{RowError, WriteError},
    },
};

pub(crate) static TABLE: Table = Table {
    name: "file_metadata",
    columns: &[
        "task_id",
        "attempt",
        "user_id",
        "task_name",
        "storage_path",
        "file_paths",
        "sizes",
        "sha256",
        "uploaded_at_ms",
    ],
    key: 1,
};

static PUT: LazyLock<String> = LazyLock::new(|| {
    let replacing = TABLE.replacing();
    TABLE.insert_for_task(&format!("ON CONFLICT DO UPDATE SET {replacing}"))
});

static OF_TASK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM file_metadata WHERE order_number = \
         (SELECT order_number FROM tasks WHERE task_id = ?1)",
        TABLE.list("")
    )
});

static OF_USER: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM file_metadata WHERE user_id = ?1 ORDER BY order_number DESC",
        TABLE.list("")
    )
});

pub(crate) fn put(db: &Connection, record: &FilesRecord) -> Result<(), WriteError> {
    let paths: Vec<_> = record.files.iter().map(|file| &file.path).collect();
    let sizes: Vec<_> = record.files.iter().map(|file| file.size).collect();
    let sums: Vec<_> = record.files.iter().map(|file| &file.sha256).collect();
    let rows = db.prepare_cached(&PUT)?.execute(params![
        record.attempt.task.to_string(),
        record.attempt.number,
        record.user.as_str(),
        record.task_name,
        record.storage_path,
        json(&paths)?,
        json(&sizes)?,
        json(&sums)?,
        record.uploaded_at.0,
    ])?;
    written(rows, "files", &record.attempt.task)
}

pub(crate) fn of_task(db: &Connection, task: &TaskId) -> Result<Option<FilesRecord>, RowError> {
    Ok(select(db, &OF_TASK, [task.to_string()])?.pop())
}

pub(crate) fn of_user(db: &Connection, user: &UserName) -> Result<Vec<FilesRecord>, RowError> {
    select(db, &OF_USER, [user.as_str()])
}

fn select(db: &Connection, sql: &str, of: impl Params) -> Result<Vec<FilesRecord>, RowError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(of)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

pub(crate) fn read(row: &Row<'_>) -> Result<FilesRecord, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    Ok(FilesRecord {
        attempt: AttemptId::new(columns.parsed()?, columns.raw()?),
        user: columns.parsed()?,
        task_name: columns.raw()?,
        storage_path: columns.raw()?,
        files: files(&mut columns)?,
        uploaded_at: columns.wall()?,
    })
}

fn files(columns: &mut Columns<'_>) -> Result<Vec<FileRecord>, ReadError> {
    let paths: Vec<String> = columns.json()?;
    let sizes: Vec<u64> = columns.json()?;
    let sums: Vec<String> = columns.json()?;
    if paths.len() != sizes.len() || paths.len() != sums.len() {
        return Err(columns.unreadable("paths, sizes and checksums differ in number"));
    }
    let parts = paths.into_iter().zip(sizes).zip(sums);
    Ok(parts
        .map(|((path, size), sha256)| FileRecord { path, size, sha256 })
        .collect())
}
