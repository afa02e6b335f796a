//! Tasks: the spec, written once, and the state, which changes.

use std::collections::BTreeMap;

use cloudai_model::{
    Command, ContainerSpec, GpuRequest, Phase, Priority, Resources, Setting, SlaMultiplier,
    SubmitKey, TaskChange, TaskSpec, TaskStatus, TimeOut, UserName, Wall, WorkerId,
    record::{TaskRecord, TaskState},
    resources::{WHOLE_DEVICE, bytes_to_gb, gb_to_bytes, milli_cores},
};
use mongodb::bson::{Array, Binary, Bson, Document, doc, spec::BinarySubtype};

use super::{Fields, ORDER, bits, date, if_any, nanos, pairs};
use crate::{ReadError, SubmittedUnder};

pub(crate) const COLLECTION: &str = "TASKS";

pub(crate) fn write(record: &TaskRecord) -> Document {
    let spec = &record.spec;
    let resources = &spec.resources;
    let submit = spec.submit_key.as_ref();
    let (line, list) = match &spec.command {
        Command::Image => (None, None),
        Command::Shell(line) => (Some(line.as_str()), None),
        Command::Exec(words) => (None, Some(words.clone())),
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "for people; the exact number stands beside it"
    )]
    let cores = resources.cpu_milli as f64 / 1000.0;
    let mut document = doc! {
        "task_id": record.task.to_string(),
        ORDER: bits(record.order),
        "task_number": if_any(record.task.number(), bits),
        "user_id": spec.user.as_str(),
        "task_name": &spec.name,
        "docker_image": spec.image.as_str(),
        "command": line,
        "args": list,
        "req_cpu": cores,
        "req_memory": bytes_to_gb(resources.memory_bytes),
        "req_storage": bytes_to_gb(resources.storage_bytes),
        "req_gpu": resources.gpu.devices(),
        "cpu_milli": bits(resources.cpu_milli),
        "memory_bytes": bits(resources.memory_bytes),
        "storage_bytes": bits(resources.storage_bytes),
        "gpu_milli": i64::from(resources.gpu.milli()),
        "target_worker_id": spec.target.as_ref().map(WorkerId::as_str),
        "env": pairs(&spec.env),
        "priority": i64::from(spec.priority.level()),
        "deadline": if_any(spec.deadline, date),
        "timeout_ns": if_any(spec.timeout, nanos),
        "pull_timeout_ns": if_any(spec.pull_timeout, nanos),
        "queue_timeout_ns": if_any(spec.queue_timeout, nanos),
        "estimate_ns": if_any(spec.estimate, nanos),
        "max_retries": i64::from(spec.max_retries),
        "retry_on": spec.retry_on.to_string(),
        "labels": pairs(&spec.labels),
        "tag": &spec.tag,
        "task_type": spec.task_type.map(cloudai_model::TaskType::as_str),
        "sla_multiplier": spec.sla_multiplier.factor(),
        "container": container_words(&spec.container),
        "hold": spec.hold,
        "submit_key": submit.map(|submit| submit.key.as_str()),
        "submit_body": if_any(submit, |submit| Bson::Binary(Binary {
            subtype: BinarySubtype::Generic,
            bytes: submit.body.to_vec(),
        })),
        "submit_index": submit.map(|submit| i64::from(submit.index)),
        // The contract's Unix seconds; the exact time is the date.
        "submitted_at": record.submitted_at.0.div_euclid(1000),
        "created_at": date(record.submitted_at),
    };
    document.extend(write_state(&record.state));
    document
}

/// The fields of the state, all of them.
pub(crate) fn write_state(state: &TaskState) -> Document {
    doc! {
        "status": state.status.as_str(),
        "phase": state.phase.as_str(),
        "attempt": i64::from(state.attempt),
        "worker_id": state.worker.as_ref().map(WorkerId::as_str),
        "reason": &state.reason,
        "exit_code": state.exit_code.map(i64::from),
        "started_at": if_any(state.started_at, date),
        "completed_at": if_any(state.completed_at, date),
        "cancel_requested": state.cancel_requested,
        "failures": i64::from(state.failures),
        "retry_at": if_any(state.retry_at, date),
        "taken_down": state.taken_down.iter().map(WorkerId::as_str).collect::<Vec<_>>(),
        "first_started_at": if_any(state.first_started_at, date),
        "time_out": state.time_out.map(TimeOut::as_str),
    }
}

/// The fields of the spec that a change is of; null where something is taken away.
pub(crate) fn write_change(change: &TaskChange) -> Document {
    let mut fields = Document::new();
    let mut set = |field: &str, value: Option<Bson>| {
        if let Some(value) = value {
            fields.insert(field, value);
        }
    };
    set(
        "task_name",
        field(&change.name, |name| Bson::from(name.as_str())),
    );
    set("priority", field(&change.priority, priority));
    set("deadline", field(&change.deadline, |at| date(*at)));
    set("timeout_ns", field(&change.timeout, |span| nanos(*span)));
    set("labels", field(&change.labels, pairs));
    set("hold", field(&change.hold, |hold| Bson::Boolean(*hold)));
    fields
}

/// The same for a task's document, in which what was taken away is what others find there.
pub(crate) fn write_changed(change: &TaskChange) -> Document {
    let mut fields = write_change(change);
    let empty = [
        ("task_name", Bson::from("")),
        ("priority", priority(&Priority::default())),
        ("labels", pairs(&BTreeMap::new())),
        ("hold", Bson::Boolean(false)),
    ];
    for (field, nothing) in empty {
        if fields.get(field) == Some(&Bson::Null) {
            fields.insert(field, nothing);
        }
    }
    fields
}

/// A change as [`write_change`] wrote it.
pub(crate) fn read_change(document: &Document) -> Result<TaskChange, ReadError> {
    let fields = Fields::new(COLLECTION, document);
    let level = |level| {
        let priority = Priority::new(level);
        priority.ok_or_else(|| fields.unreadable("priority", "expected 0 to 100"))
    };
    let labels = match fields.has("labels") {
        true => Some(fields.map("labels")?),
        false => None,
    };
    Ok(TaskChange {
        name: setting(document, "task_name", fields.text("task_name")?),
        priority: setting(
            document,
            "priority",
            fields.whole("priority")?.map(level).transpose()?,
        ),
        deadline: setting(document, "deadline", fields.wall("deadline")?),
        timeout: setting(document, "timeout_ns", fields.span("timeout_ns")?),
        labels: setting(document, "labels", labels),
        hold: setting(document, "hold", fields.flag("hold")?),
    })
}

fn field<T>(setting: &Setting<T>, write: impl FnOnce(&T) -> Bson) -> Option<Bson> {
    match setting {
        Setting::Keep => None,
        Setting::Clear => Some(Bson::Null),
        Setting::To(value) => Some(write(value)),
    }
}

fn setting<T>(document: &Document, field: &str, value: Option<T>) -> Setting<T> {
    match (document.contains_key(field), value) {
        (false, _) => Setting::Keep,
        (true, None) => Setting::Clear,
        (true, Some(value)) => Setting::To(value),
    }
}

fn priority(priority: &Priority) -> Bson {
    Bson::Int64(i64::from(priority.level()))
}

pub(crate) fn read(document: &Document) -> Result<TaskRecord, ReadError> {
    let fields = Fields::new(COLLECTION, document);
    let submitted_at = match fields.wall("created_at")? {
        Some(at) => at,
        None => fields.wall("submitted_at")?.unwrap_or(Wall(0)),
    };
    Ok(TaskRecord {
        task: fields.must("task_id", Fields::parsed)?,
        order: fields.must(ORDER, Fields::count)?,
        spec: spec(&fields)?,
        submitted_at,
        state: state(&fields)?,
    })
}

fn spec(fields: &Fields<'_>) -> Result<TaskSpec, ReadError> {
    let task_type = fields.text("task_type")?.filter(|word| !word.is_empty());
    let priority = match fields.whole("priority")? {
        Some(level) => Priority::new(level)
            .ok_or_else(|| fields.unreadable("priority", "expected 0 to 100"))?,
        None => Priority::default(),
    };
    let sla_multiplier = match fields.real("sla_multiplier")? {
        // Zero is Go's "not said".
        Some(factor) if factor != 0.0 => SlaMultiplier::new(factor)
            .ok_or_else(|| fields.unreadable("sla_multiplier", "expected 1.5 to 2.5"))?,
        _ => SlaMultiplier::default(),
    };
    Ok(TaskSpec {
        name: fields.text("task_name")?.unwrap_or_default(),
        user: match fields.text("user_id")? {
            Some(user) if !user.is_empty() => user
                .parse()
                .map_err(|error| fields.unreadable("user_id", error))?,
            _ => UserName::admin(),
        },
        image: fields.must("docker_image", Fields::parsed)?,
        command: command(fields)?,
        resources: resources(fields)?,
        target: fields.parsed("target_worker_id")?,
        env: fields.map("env")?,
        priority,
        deadline: fields.wall("deadline")?,
        timeout: fields.span("timeout_ns")?,
        pull_timeout: fields.span("pull_timeout_ns")?,
        queue_timeout: fields.span("queue_timeout_ns")?,
        estimate: fields.span("estimate_ns")?,
        max_retries: fields.small("max_retries")?.unwrap_or(0),
        retry_on: fields.parsed("retry_on")?.unwrap_or_default(),
        labels: fields.map("labels")?,
        tag: fields.text("tag")?.unwrap_or_default(),
        task_type: task_type
            .map(|word| word.parse())
            .transpose()
            .map_err(|error| fields.unreadable("task_type", error))?,
        sla_multiplier,
        container: container(fields)?,
        hold: fields.flag("hold")?.unwrap_or(false),
        submit_key: submit_key(fields)?,
    })
}

fn submit_key(fields: &Fields<'_>) -> Result<Option<SubmitKey>, ReadError> {
    let key = fields.text("submit_key")?;
    let (body, index) = (fields.bytes("submit_body")?, fields.small("submit_index")?);
    match (key, body, index) {
        (None, None, None) => Ok(None),
        (Some(key), Some(body), Some(index)) => Ok(Some(SubmitKey { key, body, index })),
        _ => Err(fields.unreadable(
            "submit_key",
            "expected key, body and place, or none of them",
        )),
    }
}

/// What of a task tells under which key it was submitted.
pub(crate) fn submit_fields() -> Document {
    doc! {
        "task_id": 1, "submit_key": 1, "submit_body": 1, "submit_index": 1, "created_at": 1,
    }
}

/// Under which key it was submitted, of a document that has these fields.
pub(crate) fn read_submit(document: &Document) -> Result<SubmittedUnder, ReadError> {
    let fields = Fields::new(COLLECTION, document);
    let key = submit_key(&fields)?;
    Ok(SubmittedUnder {
        task: fields.must("task_id", Fields::parsed)?,
        key: key.ok_or_else(|| fields.unreadable("submit_key", "it is missing"))?,
        submitted_at: fields.wall("created_at")?.unwrap_or(Wall(0)),
    })
}

/// The state alone, of a document that has its fields.
pub(crate) fn read_state(document: &Document) -> Result<TaskState, ReadError> {
    state(&Fields::new(COLLECTION, document))
}

fn state(fields: &Fields<'_>) -> Result<TaskState, ReadError> {
    let status = fields.must("status", Fields::parsed)?;
    let phase = fields.parsed("phase")?.unwrap_or(match status {
        TaskStatus::Queued => Phase::Queued,
        TaskStatus::Pending => Phase::Assigned,
        TaskStatus::Running => Phase::Running,
        TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled => Phase::Done,
    });
    Ok(TaskState {
        status,
        phase,
        attempt: fields.small("attempt")?.unwrap_or(0),
        worker: fields.parsed("worker_id")?,
        reason: fields.text("reason")?.unwrap_or_default(),
        exit_code: fields.small("exit_code")?,
        started_at: fields.wall("started_at")?,
        completed_at: fields.wall("completed_at")?,
        cancel_requested: fields.flag("cancel_requested")?.unwrap_or(false),
        failures: fields.small("failures")?.unwrap_or(0),
        retry_at: fields.wall("retry_at")?,
        taken_down: workers(fields)?,
        first_started_at: fields.wall("first_started_at")?,
        time_out: fields.parsed("time_out")?,
    })
}

/// The workers that failed under it; none in documents of before.
fn workers(fields: &Fields<'_>) -> Result<Vec<WorkerId>, ReadError> {
    let names = fields.texts("taken_down")?.unwrap_or_default();
    let ids = names.iter().map(|name| name.parse());
    ids.collect::<Result<_, cloudai_model::IdError>>()
        .map_err(|error| fields.unreadable("taken_down", error))
}

fn command(fields: &Fields<'_>) -> Result<Command, ReadError> {
    // A list that is there makes an empty line a mistake; without one it is Go's "none".
    let list = fields.texts("args")?;
    match (fields.text("command")?, list) {
        (None, None) => Ok(Command::Image),
        (Some(line), None) if line.is_empty() && !fields.has("cpu_milli") => Ok(Command::Image),
        (Some(line), None) => Ok(Command::Shell(line)),
        (None, Some(list)) => Ok(Command::Exec(list)),
        (Some(_), Some(_)) => Err(fields.unreadable("args", "expected a line or a list, not both")),
    }
}

fn resources(fields: &Fields<'_>) -> Result<Resources, ReadError> {
    let amount = |field| Ok(fields.real(field)?.unwrap_or(0.0));
    let wrong = |field: &'static str| move |error| fields.unreadable(field, error);
    Ok(Resources {
        cpu_milli: match fields.count("cpu_milli")? {
            Some(milli) => milli,
            None => milli_cores(amount("req_cpu")?).map_err(wrong("req_cpu"))?,
        },
        memory_bytes: match fields.count("memory_bytes")? {
            Some(bytes) => bytes,
            None => gb_to_bytes(amount("req_memory")?).map_err(wrong("req_memory"))?,
        },
        storage_bytes: match fields.count("storage_bytes")? {
            Some(bytes) => bytes,
            None => gb_to_bytes(amount("req_storage")?).map_err(wrong("req_storage"))?,
        },
        gpu: match fields.small("gpu_milli")? {
            Some(milli) => gpu(fields, milli)?,
            None => GpuRequest::from_devices(amount("req_gpu")?).map_err(wrong("req_gpu"))?,
        },
    })
}

fn gpu(fields: &Fields<'_>, milli: u32) -> Result<GpuRequest, ReadError> {
    let request = match milli {
        0 => Some(GpuRequest::None),
        1..WHOLE_DEVICE => u16::try_from(milli).ok().map(GpuRequest::Share),
        _ if milli.is_multiple_of(WHOLE_DEVICE) => u16::try_from(milli / WHOLE_DEVICE)
            .ok()
            .map(GpuRequest::Whole),
        _ => None,
    };
    let problem = "is neither a share of one device nor whole devices";
    request.ok_or_else(|| fields.unreadable("gpu_milli", format!("{milli} {problem}")))
}

/// As texts by field; null if nothing was asked for.
fn container_words(spec: &ContainerSpec) -> Bson {
    if spec.is_default() {
        return Bson::Null;
    }
    let texts = |texts: Vec<String>| texts.into_iter().map(Bson::String).collect::<Array>();
    let words = spec.to_words().into_iter();
    let document: Document = words
        .map(|(field, words)| (field, Bson::Array(texts(words))))
        .collect();
    document.into()
}

fn container(fields: &Fields<'_>) -> Result<ContainerSpec, ReadError> {
    let Some(document) = fields.document("container")? else {
        return Ok(ContainerSpec::default());
    };
    let text = |item: &Bson| item.as_str().map(str::to_owned);
    let words: Option<BTreeMap<String, Vec<String>>> = document
        .iter()
        .map(|(field, list)| {
            let texts: Option<_> = list.as_array()?.iter().map(text).collect();
            Some((field.clone(), texts?))
        })
        .collect();
    let words = words.ok_or_else(|| fields.unreadable("container", "expected lists of texts"))?;
    ContainerSpec::from_words(words).map_err(|error| fields.unreadable("container", error))
}
