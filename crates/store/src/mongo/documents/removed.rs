//! What was removed of what ended tasks left; and the highest numbers of tasks that are forgotten.

use cloudai_model::record::{ForgottenRecord, Removal, Removed, RemovedRecord};
use mongodb::bson::{Bson, Document, doc};

use super::{Fields, ORDER, bits, date, if_any};
use crate::ReadError;

pub(crate) const COLLECTION: &str = "REMOVED";

/// Of forgotten tasks the numbers alone, in one document.
pub(crate) const FORGOTTEN: &str = "FORGOTTEN";

/// The id of the one document.
pub(crate) const HIGHEST: &str = "highest";

pub(crate) fn write(record: &RemovedRecord, order: u64) -> Document {
    let Removed { log, files } = &record.removed;
    doc! {
        "task_id": record.task.to_string(),
        ORDER: bits(order),
        "log_removed_at": if_any(log.as_ref(), |removal| date(removal.at)),
        "log_removed_by": log.as_ref().map(|removal| removal.by.as_str()),
        "files_removed_at": if_any(files.as_ref(), |removal| date(removal.at)),
        "files_removed_by": files.as_ref().map(|removal| removal.by.as_str()),
    }
}

pub(crate) fn read(document: &Document) -> Result<RemovedRecord, ReadError> {
    let fields = Fields::new(COLLECTION, document);
    let removal = |at: &'static str, by: &'static str| match (fields.wall(at)?, fields.text(by)?) {
        (None, None) => Ok(None),
        (Some(at), Some(by)) => Ok(Some(Removal { at, by })),
        _ => Err(fields.unreadable(at, "expected when and by what, or neither")),
    };
    let removed = Removed {
        log: removal("log_removed_at", "log_removed_by")?,
        files: removal("files_removed_at", "files_removed_by")?,
    };
    Ok(RemovedRecord {
        task: fields.must("task_id", Fields::parsed)?,
        removed,
    })
}

pub(crate) fn write_forgotten(numbers: ForgottenRecord) -> Document {
    doc! {
        ORDER: bits(numbers.order),
        "task_number": numbers.task_number.map_or(Bson::Null, bits),
    }
}

pub(crate) fn read_forgotten(document: &Document) -> Result<ForgottenRecord, ReadError> {
    let fields = Fields::new(FORGOTTEN, document);
    Ok(ForgottenRecord {
        order: fields.must(ORDER, Fields::count)?,
        task_number: fields.count("task_number")?,
    })
}
