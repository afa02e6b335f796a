//! Attempts.

use cloudai_model::{AttemptId, DeviceShare, Grant, record::AssignmentRecord};
use mongodb::bson::{Array, Bson, Document, doc};

use super::{Fields, ORDER, bits, date, if_any};
use crate::ReadError;

pub(crate) const COLLECTION: &str = "ASSIGNMENTS";

/// An attempt's document. `open` is there while it has not ended: what a start looks for.
pub(crate) fn write(record: &AssignmentRecord, order: u64) -> Document {
    let share = |share: &DeviceShare| {
        Bson::Array(vec![
            i64::from(share.device).into(),
            i64::from(share.milli).into(),
        ])
    };
    let grant = &record.grant;
    let ended = record.ended.as_ref();
    let mut document = doc! {
        "ass_id": record.attempt.to_string(),
        "task_id": record.attempt.task.to_string(),
        ORDER: bits(order),
        "worker_id": record.worker.as_str(),
        "attempt": i64::from(record.attempt.number),
        "sequence": bits(record.sequence),
        "cpu_milli": bits(grant.cpu_milli),
        "memory_bytes": bits(grant.memory_bytes),
        "storage_bytes": bits(grant.storage_bytes),
        "devices": grant.devices.iter().map(share).collect::<Array>(),
        "assigned_at": date(record.assigned_at),
        "ended_at": if_any(ended, |(at, _)| date(*at)),
        "ended_reason": ended.map(|(_, reason)| reason.as_str()),
    };
    if ended.is_none() {
        document.insert("open", true);
    }
    document
}

pub(crate) fn read(document: &Document) -> Result<AssignmentRecord, ReadError> {
    let fields = Fields::new(COLLECTION, document);
    Ok(AssignmentRecord {
        attempt: AttemptId::new(
            fields.must("task_id", Fields::parsed)?,
            fields.must("attempt", Fields::small)?,
        ),
        worker: fields.must("worker_id", Fields::parsed)?,
        sequence: fields.must("sequence", Fields::count)?,
        grant: Grant {
            cpu_milli: fields.must("cpu_milli", Fields::count)?,
            memory_bytes: fields.must("memory_bytes", Fields::count)?,
            storage_bytes: fields.must("storage_bytes", Fields::count)?,
            devices: devices(&fields)?,
        },
        assigned_at: fields.must("assigned_at", Fields::wall)?,
        ended: match (fields.wall("ended_at")?, fields.text("ended_reason")?) {
            (Some(at), Some(reason)) => Some((at, reason)),
            (None, None) => None,
            _ => {
                let problem = "expected a time and a reason, or neither";
                return Err(fields.unreadable("ended_reason", problem));
            }
        },
    })
}

fn devices(fields: &Fields<'_>) -> Result<Vec<DeviceShare>, ReadError> {
    let narrow = |number: &Bson| {
        number
            .as_i64()
            .and_then(|number| u16::try_from(number).ok())
    };
    let share = |item: &Bson| {
        let share = match item.as_array().map(Vec::as_slice) {
            Some([device, milli]) => narrow(device).zip(narrow(milli)),
            _ => None,
        };
        share
            .map(|(device, milli)| DeviceShare { device, milli })
            .ok_or_else(|| fields.unreadable("devices", "expected pairs of device and share"))
    };
    let list = fields.list("devices")?.map(Vec::as_slice);
    list.unwrap_or_default().iter().map(share).collect()
}
