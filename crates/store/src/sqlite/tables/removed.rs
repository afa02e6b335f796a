//! What was removed of what ended tasks left.

use std::{collections::BTreeMap, sync::LazyLock};

use cloudai_model::{
    TaskId,
    record::{Removal, Removed, RemovedRecord},
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::written;
use crate::{
    ReadError,
    sqlite::{
        columns::{Columns, Table},
        failure::{RowError, WriteError},
    },
};

pub(crate) static TABLE: Table = Table {
    name: "removed",
    columns: &[
        "task_id",
        "log_removed_at_ms",
        "log_removed_by",
        "files_removed_at_ms",
        "files_removed_by",
    ],
    key: 1,
};

static PUT: LazyLock<String> = LazyLock::new(|| {
    let replacing = TABLE.replacing();
    TABLE.insert_for_task(&format!("ON CONFLICT DO UPDATE SET {replacing}"))
});

static OF_TASK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM removed WHERE order_number = \
         (SELECT order_number FROM tasks WHERE task_id = ?1)",
        TABLE.list("")
    )
});

pub(crate) fn put(db: &Connection, record: &RemovedRecord) -> Result<(), WriteError> {
    let Removed { log, files } = &record.removed;
    let rows = db.prepare_cached(&PUT)?.execute(params![
        record.task.to_string(),
        log.as_ref().map(|removal| removal.at.0),
        log.as_ref().map(|removal| &removal.by),
        files.as_ref().map(|removal| removal.at.0),
        files.as_ref().map(|removal| &removal.by),
    ])?;
    written(rows, "removal", &record.task)
}

pub(crate) fn of_tasks(
    db: &Connection,
    tasks: &[TaskId],
) -> Result<BTreeMap<TaskId, Removed>, RowError> {
    let mut statement = db.prepare_cached(&OF_TASK)?;
    let mut found = BTreeMap::new();
    for task in tasks {
        let row = statement
            .query_row([task.to_string()], |row| Ok(read(row)))
            .optional()?;
        if let Some(record) = row.transpose()? {
            found.insert(record.task, record.removed);
        }
    }
    Ok(found)
}

pub(crate) fn read(row: &Row<'_>) -> Result<RemovedRecord, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    Ok(RemovedRecord {
        task: columns.parsed()?,
        removed: of_columns(&mut columns)?,
    })
}

/// From the four columns behind the id, all of them NULL where there is no row.
pub(crate) fn of_columns(columns: &mut Columns<'_>) -> Result<Removed, ReadError> {
    Ok(Removed {
        log: removal(columns)?,
        files: removal(columns)?,
    })
}

fn removal(columns: &mut Columns<'_>) -> Result<Option<Removal>, ReadError> {
    let at = columns.wall_if_any()?;
    let by: Option<String> = columns.raw()?;
    match (at, by) {
        (None, None) => Ok(None),
        (Some(at), Some(by)) => Ok(Some(Removal { at, by })),
        _ => Err(columns.unreadable("expected when and by what, or neither")),
    }
}
