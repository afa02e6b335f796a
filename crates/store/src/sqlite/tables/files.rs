//! What is known of tasks' output files. The files themselves lie elsewhere.

use std::sync::LazyLock;

use cloudai_model::{
    AttemptId, TaskId, UserName,
    record::{FileRecord, FilesRecord},
};
use rusqlite::{Connection, Params, Row, params};

use super::written;
use crate::{
    FilesOfTask, FilesQuery, HIGHEST_ORDER, ReadError,
    sqlite::{
        columns::{Columns, Table, bits, json},
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
        // What the files take together; asked for by SQL alone.
        "bytes",
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

/// The order stands last, behind what is read.
static PAGE_OF_USER: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}, order_number FROM file_metadata WHERE user_id = ?1 AND order_number <= ?2 \
         ORDER BY order_number DESC LIMIT ?3",
        TABLE.list("")
    )
});

/// Those that were removed have nothing in their lists, or are about to.
const BYTES_OF_USER: &str = "SELECT f.bytes FROM file_metadata f \
     WHERE f.user_id = ?1 AND f.bytes > 0 AND NOT EXISTS (SELECT 1 FROM removed r \
     WHERE r.order_number = f.order_number AND r.files_removed_at_ms IS NOT NULL)";

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
        i64::try_from(record.bytes()).unwrap_or(i64::MAX),
    ])?;
    written(rows, "files", &record.attempt.task)
}

pub(crate) fn of_task(db: &Connection, task: &TaskId) -> Result<Option<FilesRecord>, RowError> {
    Ok(select(db, &OF_TASK, [task.to_string()])?.pop())
}

pub(crate) fn of_user(db: &Connection, user: &UserName) -> Result<Vec<FilesRecord>, RowError> {
    select(db, &OF_USER, [user.as_str()])
}

/// A page of them, along the index.
pub(crate) fn page_of_user(
    db: &Connection,
    query: &FilesQuery,
) -> Result<Vec<FilesOfTask>, RowError> {
    let before = query.before.filter(|before| *before <= HIGHEST_ORDER);
    let last = before.map_or(i64::MAX, |before| bits(before) - 1);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(&PAGE_OF_USER)?;
    let mut rows = statement.query(params![query.user.as_str(), last, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let order: i64 = row.get(TABLE.columns.len())?;
        found.push(FilesOfTask {
            order: order.cast_unsigned(),
            files: read(row)?,
        });
    }
    Ok(found)
}

/// What they take together.
pub(crate) fn bytes_of_user(db: &Connection, user: &UserName) -> Result<u64, RowError> {
    let mut statement = db.prepare_cached(BYTES_OF_USER)?;
    let sizes = statement.query_map([user.as_str()], |row| row.get::<_, i64>(0))?;
    let mut sum = 0_u64;
    for bytes in sizes {
        sum = sum.saturating_add(bytes?.cast_unsigned());
    }
    Ok(sum)
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
