//! Results, one a task.

use std::sync::LazyLock;

use cloudai_model::{
    AttemptId, ContainerEnd, Exit, PeakUsage, TaskId, Whole, attempt::ExitKind,
    record::ResultRecord,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    ReadError,
    sqlite::{
        columns::{Columns, LONGEST_SPAN, Table, bits, nanos},
        failure::{RowError, WriteError},
    },
};

pub(crate) static TABLE: Table = Table {
    name: "results",
    columns: &[
        "task_id",
        "attempt",
        "worker_id",
        "status",
        "reason",
        "exit_kind",
        "exit_number",
        "exit_reason",
        "started_at_ms",
        "finished_at_ms",
        "peak_memory_bytes",
        "cpu_time_ns",
        "image_digest",
        "log_missing",
        "files_missing",
        "logs",
        "completed_at_ms",
        "sla_success",
        "exit_code",
    ],
    key: 1,
};

static ADD: LazyLock<String> = LazyLock::new(|| TABLE.insert_for_task("ON CONFLICT DO NOTHING"));

static FIND: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM results WHERE order_number = \
         (SELECT order_number FROM tasks WHERE task_id = ?1)",
        TABLE.list("")
    )
});

/// Adds a result; the identical one may be there already.
pub(crate) fn add(db: &Connection, record: &ResultRecord) -> Result<(), WriteError> {
    let end = record.end.as_ref();
    let (number, reason) = match end.map(|end| &end.exit) {
        Some(Exit::Exited(number) | Exit::Signalled(number)) => (Some(*number), None),
        Some(Exit::NotStarted(reason) | Exit::Stopped(reason) | Exit::Interrupted(reason)) => {
            (None, Some(reason))
        }
        Some(Exit::OutOfMemory | Exit::Cancelled) | None => (None, None),
    };
    let rows = db.prepare_cached(&ADD)?.execute(params![
        record.attempt.task.to_string(),
        record.attempt.number,
        record.worker.as_ref().map(cloudai_model::WorkerId::as_str),
        record.status.as_str(),
        record.reason,
        end.map(|end| end.exit.kind().as_str()),
        number,
        reason,
        end.and_then(|end| end.started_at).map(|at| at.0),
        end.map(|end| end.finished_at.0),
        end.map(|end| bits(end.usage.memory_bytes)),
        end.map(|end| nanos(end.usage.cpu_time)),
        end.and_then(|end| end.image_digest.as_ref()),
        record.log.reason(),
        record.files.reason(),
        record.log_tail,
        record.completed_at.0,
        record.sla_success,
        end.and_then(|end| end.exit.code()),
    ])?;
    if rows == 1 {
        return Ok(());
    }
    match find(db, &record.attempt.task)? {
        Some(known) if known == as_stored(record) => Ok(()),
        Some(_) => Err(WriteError::Conflict {
            what: "result",
            key: record.attempt.task.to_string(),
        }),
        None => Err(WriteError::UnknownTask {
            record: "result",
            task: record.attempt.task.clone(),
        }),
    }
}

/// The record as it is read back: with a CPU time that fits its column. A worker may report any.
fn as_stored(record: &ResultRecord) -> ResultRecord {
    let mut stored = record.clone();
    if let Some(end) = &mut stored.end {
        end.usage.cpu_time = end.usage.cpu_time.min(LONGEST_SPAN);
    }
    stored
}

pub(crate) fn find(db: &Connection, task: &TaskId) -> Result<Option<ResultRecord>, RowError> {
    let found = db
        .prepare_cached(&FIND)?
        .query_row([task.to_string()], |row| Ok(read(row)))
        .optional()?;
    Ok(found.transpose()?)
}

pub(crate) fn read(row: &Row<'_>) -> Result<ResultRecord, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    Ok(ResultRecord {
        attempt: AttemptId::new(columns.parsed()?, columns.raw()?),
        worker: columns.parsed_if_any()?,
        status: columns.parsed()?,
        reason: columns.raw()?,
        end: end(&mut columns)?,
        log: whole(columns.raw()?),
        files: whole(columns.raw()?),
        log_tail: columns.raw()?,
        completed_at: columns.wall()?,
        sla_success: columns.raw()?,
    })
}

fn whole(missing: Option<String>) -> Whole {
    missing.map_or(Whole::Complete, Whole::Incomplete)
}

fn end(columns: &mut Columns<'_>) -> Result<Option<ContainerEnd>, ReadError> {
    let kind: Option<ExitKind> = columns.parsed_if_any()?;
    let number: Option<i32> = columns.raw()?;
    let reason: Option<String> = columns.raw()?;
    let exit = match (kind, number, reason) {
        (None, None, None) => None,
        (Some(ExitKind::Exited), Some(code), None) => Some(Exit::Exited(code)),
        (Some(ExitKind::Signalled), Some(signal), None) => Some(Exit::Signalled(signal)),
        (Some(ExitKind::OutOfMemory), None, None) => Some(Exit::OutOfMemory),
        (Some(ExitKind::Cancelled), None, None) => Some(Exit::Cancelled),
        (Some(ExitKind::NotStarted), None, Some(reason)) => Some(Exit::NotStarted(reason)),
        (Some(ExitKind::Stopped), None, Some(reason)) => Some(Exit::Stopped(reason)),
        (Some(ExitKind::Interrupted), None, Some(reason)) => Some(Exit::Interrupted(reason)),
        _ => return Err(columns.unreadable("number and reason don't go with the exit kind")),
    };
    let started_at = columns.wall_if_any()?;
    let finished_at = columns.wall_if_any()?;
    let memory_bytes = columns.count_if_any()?;
    let cpu_time = columns.span_if_any()?;
    let known = finished_at.zip(memory_bytes).zip(cpu_time);
    if known.is_some() != exit.is_some() {
        return Err(columns.unreadable("expected all of a container's end, or none of it"));
    }
    let image_digest = columns.raw()?;
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
