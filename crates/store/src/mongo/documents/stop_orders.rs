//! Containers that unregistered workers must still stop.

use cloudai_model::{AttemptId, record::StopOrder};
use mongodb::bson::{Document, doc};

use super::{Fields, bits};
use crate::ReadError;

pub(crate) const COLLECTION: &str = "STOP_ORDERS";

pub(crate) fn write(record: &StopOrder) -> Document {
    doc! {
        "task_id": record.attempt.task.to_string(),
        "attempt": i64::from(record.attempt.number),
        "worker_id": record.worker.as_str(),
        "worker_ip": record.address.to_string(),
        "registration": bits(record.registration),
    }
}

pub(crate) fn read(document: &Document) -> Result<StopOrder, ReadError> {
    let fields = Fields::new(COLLECTION, document);
    Ok(StopOrder {
        attempt: AttemptId::new(
            fields.must("task_id", Fields::parsed)?,
            fields.must("attempt", Fields::small)?,
        ),
        worker: fields.must("worker_id", Fields::parsed)?,
        address: fields.must("worker_ip", Fields::parsed)?,
        registration: fields.must("registration", Fields::count)?,
    })
}
