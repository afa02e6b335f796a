//! Registered workers.

use std::sync::LazyLock;

use cloudai_model::{Capacity, WorkerId, record::WorkerRecord};
use rusqlite::{Connection, Row, params};

use crate::{
    ReadError,
    sqlite::{
        columns::{Columns, Table, bits, json},
        failure::WriteError,
    },
};

pub(crate) static TABLE: Table = Table {
    name: "worker_registry",
    columns: &[
        "worker_id",
        "worker_ip",
        "cpu_milli",
        "memory_bytes",
        "storage_bytes",
        "gpus",
        "version",
        "labels",
        "registration",
        "registered_at_ms",
        "last_seen_at_ms",
        "draining",
    ],
    key: 1,
};

static PUT: LazyLock<String> = LazyLock::new(|| {
    let replacing = TABLE.replacing();
    TABLE.insert(&format!(
        "ON CONFLICT DO UPDATE SET {replacing}, updated_at = unixepoch()"
    ))
});

pub(crate) fn put(db: &Connection, record: &WorkerRecord) -> Result<(), WriteError> {
    let capacity = record.capacity;
    db.prepare_cached(&PUT)?.execute(params![
        record.worker.as_str(),
        record.address.to_string(),
        capacity.map(|capacity| bits(capacity.cpu_milli)),
        capacity.map(|capacity| bits(capacity.memory_bytes)),
        capacity.map(|capacity| bits(capacity.storage_bytes)),
        capacity.map(|capacity| capacity.gpus),
        record.version,
        json(&record.labels)?,
        bits(record.registration),
        record.registered_at.0,
        record.last_seen_at.map(|at| at.0),
        record.draining,
    ])?;
    Ok(())
}

pub(crate) fn remove(db: &Connection, worker: &WorkerId) -> Result<(), WriteError> {
    db.prepare_cached("DELETE FROM worker_registry WHERE worker_id = ?1")?
        .execute([worker.as_str()])?;
    Ok(())
}

pub(crate) fn read(row: &Row<'_>) -> Result<WorkerRecord, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    Ok(WorkerRecord {
        worker: columns.parsed()?,
        address: columns.parsed()?,
        capacity: capacity(&mut columns)?,
        version: columns.raw()?,
        labels: columns.map()?,
        registration: columns.count()?,
        registered_at: columns.wall()?,
        last_seen_at: columns.wall_if_any()?,
        draining: columns.raw()?,
    })
}

fn capacity(columns: &mut Columns<'_>) -> Result<Option<Capacity>, ReadError> {
    let amounts = (
        columns.count_if_any()?,
        columns.count_if_any()?,
        columns.count_if_any()?,
        columns.raw()?,
    );
    match amounts {
        (Some(cpu_milli), Some(memory_bytes), Some(storage_bytes), Some(gpus)) => {
            Ok(Some(Capacity {
                cpu_milli,
                memory_bytes,
                storage_bytes,
                gpus,
            }))
        }
        (None, None, None, None) => Ok(None),
        _ => Err(columns.unreadable("expected cpu, memory, storage and gpus, or none of them")),
    }
}
