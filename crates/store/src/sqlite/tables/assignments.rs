//! Attempts.

use std::sync::LazyLock;

use cloudai_model::{AttemptId, DeviceShare, Grant, TaskId, record::AssignmentRecord};
use rusqlite::{Connection, Row, params};

use super::written;
use crate::{
    ReadError,
    sqlite::{
        columns::{Columns, Table, bits, json},
        failure::{RowError, WriteError},
    },
};

pub(crate) static TABLE: Table = Table {
    name: "assignments",
    columns: &[
        "task_id",
        "attempt",
        "worker_id",
        "sequence",
        "cpu_milli",
        "memory_bytes",
        "storage_bytes",
        "devices",
        "assigned_at_ms",
        "ended_at_ms",
        "ended_reason",
    ],
    key: 2,
};

static PUT: LazyLock<String> = LazyLock::new(|| {
    let replacing = TABLE.replacing();
    TABLE.insert_for_task(&format!("ON CONFLICT DO UPDATE SET {replacing}"))
});

static OF_TASK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM assignments WHERE order_number = \
         (SELECT order_number FROM tasks WHERE task_id = ?1) ORDER BY attempt",
        TABLE.list("")
    )
});

pub(crate) fn put(db: &Connection, record: &AssignmentRecord) -> Result<(), WriteError> {
    let grant = &record.grant;
    let devices: Vec<_> = grant
        .devices
        .iter()
        .map(|share| (share.device, share.milli))
        .collect();
    let rows = db.prepare_cached(&PUT)?.execute(params![
        record.attempt.task.to_string(),
        record.attempt.number,
        record.worker.as_str(),
        bits(record.sequence),
        bits(grant.cpu_milli),
        bits(grant.memory_bytes),
        bits(grant.storage_bytes),
        json(&devices)?,
        record.assigned_at.0,
        record.ended.as_ref().map(|(at, _)| at.0),
        record.ended.as_ref().map(|(_, reason)| reason),
    ])?;
    written(rows, "assignment", &record.attempt.task)
}

pub(crate) fn of_task(db: &Connection, task: &TaskId) -> Result<Vec<AssignmentRecord>, RowError> {
    let mut statement = db.prepare_cached(&OF_TASK)?;
    let mut rows = statement.query([task.to_string()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

pub(crate) fn read(row: &Row<'_>) -> Result<AssignmentRecord, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    Ok(AssignmentRecord {
        attempt: AttemptId::new(columns.parsed()?, columns.raw()?),
        worker: columns.parsed()?,
        sequence: columns.count()?,
        grant: Grant {
            cpu_milli: columns.count()?,
            memory_bytes: columns.count()?,
            storage_bytes: columns.count()?,
            devices: columns
                .json::<Vec<(u16, u16)>>()?
                .into_iter()
                .map(|(device, milli)| DeviceShare { device, milli })
                .collect(),
        },
        assigned_at: columns.wall()?,
        ended: match (columns.wall_if_any()?, columns.raw()?) {
            (Some(at), Some(reason)) => Some((at, reason)),
            (None, None) => None,
            _ => return Err(columns.unreadable("expected a time and a reason, or neither")),
        },
    })
}
