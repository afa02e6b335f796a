//! Results, one a task.

use cloudai_model::{
    AttemptId, ContainerEnd, Exit, PeakUsage, Wall, Whole, WorkerId, attempt::ExitKind,
    record::ResultRecord,
};
use mongodb::bson::{Document, doc};

use super::{Fields, ORDER, bits, date, if_any, nanos};
use crate::ReadError;

pub(crate) const COLLECTION: &str = "RESULTS";

pub(crate) fn write(record: &ResultRecord, order: u64) -> Document {
    let end = record.end.as_ref();
    let (number, reason) = match end.map(|end| &end.exit) {
        Some(Exit::Exited(number) | Exit::Signalled(number)) => (Some(*number), None),
        Some(Exit::NotStarted(reason) | Exit::Stopped(reason) | Exit::Interrupted(reason)) => {
            (None, Some(reason.as_str()))
        }
        Some(Exit::OutOfMemory | Exit::Cancelled) | None => (None, None),
    };
    doc! {
        "task_id": record.attempt.task.to_string(),
        ORDER: bits(order),
        "attempt": i64::from(record.attempt.number),
        "worker_id": record.worker.as_ref().map(WorkerId::as_str),
        "status": record.status.as_str(),
        "reason": &record.reason,
        "exit_kind": end.map(|end| end.exit.kind().as_str()),
        "exit_number": number.map(i64::from),
        "exit_reason": reason,
        "exit_code": end.and_then(|end| end.exit.code()).map(i64::from),
        "started_at": if_any(end.and_then(|end| end.started_at), date),
        "finished_at": if_any(end, |end| date(end.finished_at)),
        "peak_memory_bytes": if_any(end, |end| bits(end.usage.memory_bytes)),
        "cpu_time_ns": if_any(end, |end| nanos(end.usage.cpu_time)),
        "image_digest": end.and_then(|end| end.image_digest.as_deref()),
        "log_missing": record.log.reason(),
        "files_missing": record.files.reason(),
        "logs": &record.log_tail,
        "completed_at": date(record.completed_at),
        "sla_success": record.sla_success,
    }
}

pub(crate) fn read(document: &Document) -> Result<ResultRecord, ReadError> {
    let fields = Fields::new(COLLECTION, document);
    Ok(ResultRecord {
        attempt: AttemptId::new(
            fields.must("task_id", Fields::parsed)?,
            fields.small("attempt")?.unwrap_or(0),
        ),
        worker: fields.parsed("worker_id")?,
        status: fields.must("status", Fields::parsed)?,
        reason: fields.text("reason")?.unwrap_or_default(),
        end: end(&fields)?,
        log: whole(fields.text("log_missing")?),
        files: whole(fields.text("files_missing")?),
        log_tail: fields.text("logs")?.unwrap_or_default(),
        completed_at: fields.wall("completed_at")?.unwrap_or(Wall(0)),
        sla_success: fields.flag("sla_success")?,
    })
}

fn whole(missing: Option<String>) -> Whole {
    missing.map_or(Whole::Complete, Whole::Incomplete)
}

fn end(fields: &Fields<'_>) -> Result<Option<ContainerEnd>, ReadError> {
    let kind: Option<ExitKind> = fields.parsed("exit_kind")?;
    let number: Option<i32> = fields.small("exit_number")?;
    let reason = fields.text("exit_reason")?;
    let exit = match (kind, number, reason) {
        (None, None, None) => None,
        (Some(ExitKind::Exited), Some(code), None) => Some(Exit::Exited(code)),
        (Some(ExitKind::Signalled), Some(signal), None) => Some(Exit::Signalled(signal)),
        (Some(ExitKind::OutOfMemory), None, None) => Some(Exit::OutOfMemory),
        (Some(ExitKind::Cancelled), None, None) => Some(Exit::Cancelled),
        (Some(ExitKind::NotStarted), None, Some(reason)) => Some(Exit::NotStarted(reason)),
        (Some(ExitKind::Stopped), None, Some(reason)) => Some(Exit::Stopped(reason)),
        (Some(ExitKind::Interrupted), None, Some(reason)) => Some(Exit::Interrupted(reason)),
        _ => {
            let problem = "number and reason don't go with the exit kind";
            return Err(fields.unreadable("exit_kind", problem));
        }
    };
    let started_at = fields.wall("started_at")?;
    let known = fields
        .wall("finished_at")?
        .zip(fields.count("peak_memory_bytes")?)
        .zip(fields.span("cpu_time_ns")?);
    if known.is_some() != exit.is_some() {
        let problem = "expected all of a container's end, or none of it";
        return Err(fields.unreadable("finished_at", problem));
    }
    let image_digest = fields.text("image_digest")?;
    Ok(exit.zip(known).map(
        |(exit, ((finished_at, memory_bytes), cpu_time))| ContainerEnd {
            exit,
            started_at,
            finished_at,
            usage: PeakUsage {
                memory_bytes,
                cpu_time,
            },
            image_digest,
        },
    ))
}
