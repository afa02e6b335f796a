//! Containers that unregistered workers must still stop.

use std::sync::LazyLock;

use cloudai_model::{AttemptId, record::StopOrder};
use rusqlite::{Connection, Row, params};

use crate::{
    ReadError,
    sqlite::{
        columns::{Columns, Table, bits},
        failure::WriteError,
    },
};

pub(crate) static TABLE: Table = Table {
    name: "stop_orders",
    columns: &[
        "task_id",
        "attempt",
        "worker_id",
        "worker_ip",
        "registration",
    ],
    key: 2,
};

static PUT: LazyLock<String> = LazyLock::new(|| {
    let replacing = TABLE.replacing();
    TABLE.insert(&format!("ON CONFLICT DO UPDATE SET {replacing}"))
});

pub(crate) fn put(db: &Connection, record: &StopOrder) -> Result<(), WriteError> {
    db.prepare_cached(&PUT)?.execute(params![
        record.attempt.task.to_string(),
        record.attempt.number,
        record.worker.as_str(),
        record.address.to_string(),
        bits(record.registration),
    ])?;
    Ok(())
}

pub(crate) fn remove(db: &Connection, attempt: &AttemptId) -> Result<(), WriteError> {
    db.prepare_cached("DELETE FROM stop_orders WHERE task_id = ?1 AND attempt = ?2")?
        .execute(params![attempt.task.to_string(), attempt.number])?;
    Ok(())
}

pub(crate) fn read(row: &Row<'_>) -> Result<StopOrder, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    Ok(StopOrder {
        attempt: AttemptId::new(columns.parsed()?, columns.raw()?),
        worker: columns.parsed()?,
        address: columns.parsed()?,
        registration: columns.count()?,
    })
}
