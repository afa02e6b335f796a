//! Tasks: the spec, written once, and the state, which changes.

use std::{collections::BTreeMap, sync::LazyLock};

use cloudai_model::{
    Command, ContainerSpec, GpuRequest, Priority, Resources, RetryOn, Setting, SlaMultiplier,
    TaskChange, TaskId, TaskSpec, TimeOut, WorkerId,
    record::{TaskRecord, TaskState},
    resources::WHOLE_DEVICE,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::written;
use crate::{
    HIGHEST_ORDER, Highest, ReadError, same_submit,
    sqlite::{
        columns::{Columns, Table, bits, json, nanos},
        failure::{RowError, WriteError},
    },
};

pub(crate) static TABLE: Table = Table {
    name: "tasks",
    columns: &[
        "task_id",
        "order_number",
        "user_id",
        "task_name",
        "docker_image",
        "command",
        "args",
        "cpu_milli",
        "memory_bytes",
        "storage_bytes",
        "gpu_milli",
        "target_worker_id",
        "env",
        "priority",
        "deadline_ms",
        "timeout_ns",
        "pull_timeout_ns",
        "queue_timeout_ns",
        "estimate_ns",
        "max_retries",
        "retry_on",
        "labels",
        "tag",
        "task_type",
        "sla_multiplier",
        "container",
        "submitted_at_ms",
        "status",
        "phase",
        "attempt",
        "worker_id",
        "reason",
        "exit_code",
        "started_at_ms",
        "completed_at_ms",
        "cancel_requested",
        "failures",
        "retry_at_ms",
        "taken_down",
        "first_started_at_ms",
        "time_out",
        "hold",
        "submit_key",
        "submit_body",
        "submit_index",
        "task_number",
    ],
    key: 1,
};

static ADD: LazyLock<String> = LazyLock::new(|| TABLE.insert("ON CONFLICT DO NOTHING"));

static FIND: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM tasks WHERE task_id = ?1", TABLE.list("")));

const CHANGE: &str = "UPDATE tasks SET status = ?2, phase = ?3, attempt = ?4, worker_id = ?5, \
     reason = ?6, exit_code = ?7, started_at_ms = ?8, completed_at_ms = ?9, \
     cancel_requested = ?10, failures = ?11, retry_at_ms = ?12, taken_down = ?13, \
     first_started_at_ms = ?14, time_out = ?15 WHERE task_id = ?1";

/// Adds a task; one that is there already stays as it is.
pub(crate) fn add(db: &Connection, record: &TaskRecord) -> Result<(), WriteError> {
    if record.order > HIGHEST_ORDER {
        return Err(WriteError::OrderTooHigh {
            task: record.task.clone(),
            order: record.order,
        });
    }
    let (spec, state) = (&record.spec, &record.state);
    let (line, list) = match &spec.command {
        Command::Image => (None, None),
        Command::Shell(line) => (Some(line), None),
        Command::Exec(words) => (None, Some(json(words)?)),
    };
    let submit = spec.submit_key.as_ref();
    let rows = db.prepare_cached(&ADD)?.execute(params![
        record.task.to_string(),
        bits(record.order),
        spec.user.as_str(),
        spec.name,
        spec.image.as_str(),
        line,
        list,
        bits(spec.resources.cpu_milli),
        bits(spec.resources.memory_bytes),
        bits(spec.resources.storage_bytes),
        spec.resources.gpu.milli(),
        spec.target.as_ref().map(WorkerId::as_str),
        json(&spec.env)?,
        spec.priority.level(),
        spec.deadline.map(|at| at.0),
        spec.timeout.map(nanos),
        spec.pull_timeout.map(nanos),
        spec.queue_timeout.map(nanos),
        spec.estimate.map(nanos),
        spec.max_retries,
        retry_list(&spec.retry_on),
        json(&spec.labels)?,
        spec.tag,
        spec.task_type.map(cloudai_model::TaskType::as_str),
        spec.sla_multiplier.factor(),
        container_words(&spec.container)?,
        record.submitted_at.0,
        state.status.as_str(),
        state.phase.as_str(),
        state.attempt,
        state.worker.as_ref().map(WorkerId::as_str),
        state.reason,
        state.exit_code,
        state.started_at.map(|at| at.0),
        state.completed_at.map(|at| at.0),
        state.cancel_requested,
        state.failures,
        state.retry_at.map(|at| at.0),
        names(&state.taken_down)?,
        state.first_started_at.map(|at| at.0),
        state.time_out.map(TimeOut::as_str),
        spec.hold,
        submit.map(|submit| &submit.key),
        submit.map(|submit| submit.body),
        submit.map(|submit| submit.index),
        record.task.number().map(bits),
    ])?;
    if rows == 1 {
        return Ok(());
    }
    match find(db, &record.task)? {
        Some(known) if same_submit(&known, record) => Ok(()),
        Some(_) => Err(WriteError::Conflict {
            what: "task",
            key: record.task.to_string(),
        }),
        None => Err(WriteError::Conflict {
            what: "order",
            key: record.order.to_string(),
        }),
    }
}

pub(crate) fn change(db: &Connection, task: &TaskId, state: &TaskState) -> Result<(), WriteError> {
    let rows = db.prepare_cached(CHANGE)?.execute(params![
        task.to_string(),
        state.status.as_str(),
        state.phase.as_str(),
        state.attempt,
        state.worker.as_ref().map(WorkerId::as_str),
        state.reason,
        state.exit_code,
        state.started_at.map(|at| at.0),
        state.completed_at.map(|at| at.0),
        state.cancel_requested,
        state.failures,
        state.retry_at.map(|at| at.0),
        names(&state.taken_down)?,
        state.first_started_at.map(|at| at.0),
        state.time_out.map(TimeOut::as_str),
    ])?;
    written(rows, "task change", task)
}

const CHANGE_SPEC: &str = "UPDATE tasks SET task_name = iif(?2, ?3, task_name), \
     priority = iif(?4, ?5, priority), deadline_ms = iif(?6, ?7, deadline_ms), \
     timeout_ns = iif(?8, ?9, timeout_ns), labels = iif(?10, ?11, labels), \
     hold = iif(?12, ?13, hold) WHERE task_id = ?1";

/// Changes what may be changed of a spec.
pub(crate) fn change_spec(
    db: &Connection,
    task: &TaskId,
    change: &TaskChange,
) -> Result<(), WriteError> {
    let labels = match &change.labels {
        Setting::To(labels) => json(labels)?,
        Setting::Keep | Setting::Clear => json(&BTreeMap::<String, String>::new())?,
    };
    let rows = db.prepare_cached(CHANGE_SPEC)?.execute(params![
        task.to_string(),
        !change.name.is_kept(),
        to(&change.name).map_or("", String::as_str),
        !change.priority.is_kept(),
        to(&change.priority).copied().unwrap_or_default().level(),
        !change.deadline.is_kept(),
        to(&change.deadline).map(|at| at.0),
        !change.timeout.is_kept(),
        to(&change.timeout).copied().map(nanos),
        !change.labels.is_kept(),
        labels,
        !change.hold.is_kept(),
        to(&change.hold).copied().unwrap_or_default(),
    ])?;
    written(rows, "spec change", task)
}

/// What it is from now on, if it is anything.
fn to<T>(setting: &Setting<T>) -> Option<&T> {
    match setting {
        Setting::Keep | Setting::Clear => None,
        Setting::To(value) => Some(value),
    }
}

pub(crate) fn find(db: &Connection, task: &TaskId) -> Result<Option<TaskRecord>, RowError> {
    let found = db
        .prepare_cached(&FIND)?
        .query_row([task.to_string()], |row| Ok(read(row)))
        .optional()?;
    Ok(found.transpose()?)
}

/// The highest numbers, each from the end of an index; those of forgotten tasks count.
pub(crate) fn highest(db: &Connection) -> Result<Highest, RowError> {
    let one = |sql: &str| db.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
    // Numbers beyond 2^63 are kept as negative ones: if there are any, the highest is among them.
    let number = match one("SELECT max(task_number) FROM tasks WHERE task_number < 0")? {
        Some(number) => Some(number),
        None => one("SELECT max(task_number) FROM tasks WHERE task_number IS NOT NULL")?,
    };
    let order = one("SELECT max(order_number) FROM tasks")?;
    let stored = Highest {
        task_number: number.map(i64::cast_unsigned),
        order: order.map_or(0, i64::cast_unsigned),
    };
    Ok(stored.and(super::forgotten::highest(db)?))
}

pub(crate) fn read(row: &Row<'_>) -> Result<TaskRecord, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    let task = columns.parsed()?;
    let order = columns.count()?;
    let user = columns.parsed()?;
    let mut spec = TaskSpec {
        user,
        name: columns.raw()?,
        image: columns.parsed()?,
        command: command(&mut columns)?,
        resources: Resources {
            cpu_milli: columns.count()?,
            memory_bytes: columns.count()?,
            storage_bytes: columns.count()?,
            gpu: gpu(&mut columns)?,
        },
        target: columns.parsed_if_any()?,
        env: columns.map()?,
        priority: Priority::new(columns.raw()?)
            .ok_or_else(|| columns.unreadable("expected 0 to 100"))?,
        deadline: columns.wall_if_any()?,
        timeout: columns.span_if_any()?,
        pull_timeout: columns.span_if_any()?,
        queue_timeout: columns.span_if_any()?,
        estimate: columns.span_if_any()?,
        max_retries: columns.raw()?,
        retry_on: columns.parsed_if_any()?.unwrap_or_default(),
        labels: columns.map()?,
        tag: columns.raw()?,
        task_type: columns.parsed_if_any()?,
        sla_multiplier: SlaMultiplier::new(columns.raw()?)
            .ok_or_else(|| columns.unreadable("expected 1.5 to 2.5"))?,
        container: container(&mut columns)?,
        // Columns of a later version, behind the others.
        hold: false,
        submit_key: None,
    };
    let submitted_at = columns.wall()?;
    let state = TaskState {
        status: columns.parsed()?,
        phase: columns.parsed()?,
        attempt: columns.raw()?,
        worker: columns.parsed_if_any()?,
        reason: columns.raw()?,
        exit_code: columns.raw()?,
        started_at: columns.wall_if_any()?,
        completed_at: columns.wall_if_any()?,
        cancel_requested: columns.raw()?,
        failures: columns.raw()?,
        retry_at: columns.wall_if_any()?,
        taken_down: workers(&mut columns)?,
        first_started_at: columns.wall_if_any()?,
        time_out: columns.parsed_if_any()?,
    };
    spec.hold = columns.raw()?;
    spec.submit_key = super::submits::key(&mut columns)?;
    Ok(TaskRecord {
        task,
        order,
        spec,
        submitted_at,
        state,
    })
}

/// The list, unless it is the one that nobody asked for.
fn retry_list(on: &RetryOn) -> Option<String> {
    (*on != RetryOn::default()).then(|| on.to_string())
}

/// Ids as a list; none for none, as nearly every task has.
fn names(workers: &[WorkerId]) -> rusqlite::Result<Option<String>> {
    let names: Vec<_> = workers.iter().map(WorkerId::as_str).collect();
    (!names.is_empty()).then(|| json(&names)).transpose()
}

fn workers(columns: &mut Columns<'_>) -> Result<Vec<WorkerId>, ReadError> {
    let text: Option<String> = columns.raw()?;
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    let names: Vec<String> =
        serde_json::from_str(&text).map_err(|error| columns.unreadable(error))?;
    let ids = names.iter().map(|name| name.parse());
    ids.collect::<Result<_, cloudai_model::IdError>>()
        .map_err(|error| columns.unreadable(error))
}

fn command(columns: &mut Columns<'_>) -> Result<Command, ReadError> {
    let line: Option<String> = columns.raw()?;
    let list: Option<String> = columns.raw()?;
    match (line, list) {
        (None, None) => Ok(Command::Image),
        (Some(line), None) => Ok(Command::Shell(line)),
        (None, Some(list)) => serde_json::from_str(&list)
            .map(Command::Exec)
            .map_err(|error| columns.unreadable(error)),
        (Some(_), Some(_)) => Err(columns.unreadable("expected a line or a list, not both")),
    }
}

fn container_words(spec: &ContainerSpec) -> rusqlite::Result<Option<String>> {
    (!spec.is_default())
        .then(|| json(&spec.to_words()))
        .transpose()
}

fn container(columns: &mut Columns<'_>) -> Result<ContainerSpec, ReadError> {
    let text: Option<String> = columns.raw()?;
    let Some(text) = text else {
        return Ok(ContainerSpec::default());
    };
    let words = serde_json::from_str(&text).map_err(|error| columns.unreadable(error))?;
    ContainerSpec::from_words(words).map_err(|error| columns.unreadable(error))
}

fn gpu(columns: &mut Columns<'_>) -> Result<GpuRequest, ReadError> {
    let milli: u32 = columns.raw()?;
    let request = match milli {
        0 => Some(GpuRequest::None),
        1..WHOLE_DEVICE => u16::try_from(milli).ok().map(GpuRequest::Share),
        _ if milli.is_multiple_of(WHOLE_DEVICE) => u16::try_from(milli / WHOLE_DEVICE)
            .ok()
            .map(GpuRequest::Whole),
        _ => None,
    };
    request.ok_or_else(|| {
        columns.unreadable(format!(
            "{milli} is neither a share of one device nor whole devices"
        ))
    })
}
