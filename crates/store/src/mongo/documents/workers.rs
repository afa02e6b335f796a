//! Registered workers.

use cloudai_model::{
    Capacity, Wall,
    record::WorkerRecord,
    resources::{bytes_to_gb, gb_to_bytes, milli_cores},
};
use mongodb::bson::{Bson, Document, doc};

use super::{Fields, bits, date, if_any, pairs};
use crate::ReadError;

pub(crate) const COLLECTION: &str = "WORKER_REGISTRY";

/// A worker's document. Whether it is active and what is allocated on it is known to a running
/// master only, which answers with it.
pub(crate) fn write(record: &WorkerRecord) -> Document {
    let capacity = record.capacity.as_ref();
    #[expect(
        clippy::cast_precision_loss,
        reason = "for people; the exact number stands beside it"
    )]
    let cores = |capacity: &Capacity| Bson::Double(capacity.cpu_milli as f64 / 1000.0);
    doc! {
        "worker_id": record.worker.as_str(),
        "worker_ip": record.address.to_string(),
        "total_cpu": if_any(capacity, cores),
        "total_memory": if_any(capacity, |it| bytes_to_gb(it.memory_bytes).into()),
        "total_storage": if_any(capacity, |it| bytes_to_gb(it.storage_bytes).into()),
        "total_gpu": if_any(capacity, |it| f64::from(it.gpus).into()),
        "cpu_milli": if_any(capacity, |it| bits(it.cpu_milli)),
        "memory_bytes": if_any(capacity, |it| bits(it.memory_bytes)),
        "storage_bytes": if_any(capacity, |it| bits(it.storage_bytes)),
        "gpus": if_any(capacity, |it| i64::from(it.gpus).into()),
        "version": record.version.as_deref(),
        "labels": pairs(&record.labels),
        "registration": bits(record.registration),
        "registered_at": date(record.registered_at),
        "last_heartbeat": record.last_seen_at.map(|at| at.0.div_euclid(1000)),
        "last_seen_at": if_any(record.last_seen_at, date),
        "draining": record.draining,
    }
}

pub(crate) fn read(document: &Document) -> Result<WorkerRecord, ReadError> {
    let fields = Fields::new(COLLECTION, document);
    let last_seen_at = match fields.wall("last_seen_at")? {
        Some(at) => Some(at),
        // Zero is Go's "never".
        None => fields.wall("last_heartbeat")?.filter(|at| at.0 > 0),
    };
    Ok(WorkerRecord {
        worker: fields.must("worker_id", Fields::parsed)?,
        address: fields.must("worker_ip", Fields::parsed)?,
        capacity: capacity(&fields)?,
        version: fields.text("version")?,
        labels: fields.map("labels")?,
        registration: fields.count("registration")?.unwrap_or(0),
        registered_at: fields.wall("registered_at")?.unwrap_or(Wall(0)),
        last_seen_at,
        draining: fields.flag("draining")?.unwrap_or(false),
    })
}

fn capacity(fields: &Fields<'_>) -> Result<Option<Capacity>, ReadError> {
    let amounts = (
        fields.count("cpu_milli")?,
        fields.count("memory_bytes")?,
        fields.count("storage_bytes")?,
        fields.small("gpus")?,
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
        (None, None, None, None) => capacity_in_units(fields),
        _ => Err(fields.unreadable(
            "cpu_milli",
            "expected cpu, memory, storage and gpus, or none of them",
        )),
    }
}

/// As the Go master wrote it; zeros for a worker that it never saw.
fn capacity_in_units(fields: &Fields<'_>) -> Result<Option<Capacity>, ReadError> {
    let amount = |field| Ok(fields.real(field)?.unwrap_or(0.0));
    let (cpu, memory) = (amount("total_cpu")?, amount("total_memory")?);
    if cpu == 0.0 && memory == 0.0 {
        return Ok(None);
    }
    let wrong = |field: &'static str| move |error| fields.unreadable(field, error);
    let gpus = amount("total_gpu")?.floor().clamp(0.0, f64::from(u16::MAX));
    Ok(Some(Capacity {
        cpu_milli: milli_cores(cpu).map_err(wrong("total_cpu"))?,
        memory_bytes: gb_to_bytes(memory).map_err(wrong("total_memory"))?,
        storage_bytes: gb_to_bytes(amount("total_storage")?).map_err(wrong("total_storage"))?,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, and clamped to the type's range"
        )]
        gpus: gpus as u16,
    }))
}
