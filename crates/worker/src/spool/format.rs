//! The spool's files as JSON. Each carries the version of its form; a form that this program
//! doesn't know is refused, not guessed at.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use cloudai_files::output::LeftOut;
use cloudai_model::{
    AttemptId, Command, ContainerEnd, ContainerSpec, DeviceShare, Exit, Grant, PeakUsage, Wall,
    Whole,
};
use cloudai_worker_core::{EndRecord, HostRun, Job, Order, SealedLog, SpoolRecord, StopCause};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::SpoolError;

/// The version of all forms here.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    content: T,
}

#[derive(Deserialize)]
struct VersionForm {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct OrderForm {
    task: String,
    attempt: u32,
    sequence: u64,
    cluster: String,
    cpu_milli: u64,
    memory_bytes: u64,
    storage_bytes: u64,
    devices: Vec<DeviceForm>,
    stop_grace_ms: u64,
    user: String,
    name: String,
    image: String,
    command: CommandForm,
    env: BTreeMap<String, String>,
    #[serde(default)]
    container: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct DeviceForm {
    device: u16,
    milli: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CommandForm {
    Image,
    Shell(String),
    Exec(Vec<String>),
}

#[derive(Serialize, Deserialize)]
struct StateForm {
    revision: u64,
    started: bool,
    /// Not of an attempt that an earlier program started; so with the engine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    engine_run: Option<String>,
    image_digest: Option<String>,
    stop: Option<StopForm>,
    end: Option<EndForm>,
    /// For the day when the file of the order is damaged.
    order: Option<OrderForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StopForm {
    Cancel(String),
    Shutdown,
    OverLimit(String),
}

#[derive(Serialize, Deserialize)]
struct EndForm {
    exit: ExitForm,
    started_at_ms: Option<i64>,
    finished_at_ms: i64,
    peak_memory_bytes: u64,
    cpu_time_ns: u64,
    image_digest: Option<String>,
    log_length_bytes: u64,
    log_incomplete: Option<String>,
    had_container: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ExitForm {
    Exited(i32),
    Signalled(i32),
    OutOfMemory,
    Cancelled,
    NotStarted(String),
    Stopped(String),
    Interrupted(String),
}

#[derive(Serialize, Deserialize)]
struct TombstonesForm {
    attempts: Vec<(String, u32)>,
}

#[derive(Serialize, Deserialize)]
struct LeftOutForm {
    notes: Vec<String>,
    left_out: u64,
}

fn to_json<T: Serialize>(content: T) -> Vec<u8> {
    let version = VERSION;
    serde_json::to_vec_pretty(&Versioned { version, content })
        .expect("these forms have text keys and no foreign code")
}

fn from_json<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, SpoolError> {
    // First alone: what else a later program writes may be of any form.
    let VersionForm { version } =
        serde_json::from_slice(text).map_err(|error| malformed(path, &error))?;
    if version != VERSION {
        return Err(SpoolError::Version {
            path: path.to_owned(),
            version,
            known: VERSION,
        });
    }
    let read: Versioned<T> =
        serde_json::from_slice(text).map_err(|error| malformed(path, &error))?;
    Ok(read.content)
}

fn malformed(path: &Path, problem: &dyn std::fmt::Display) -> SpoolError {
    SpoolError::Malformed {
        path: path.to_owned(),
        problem: in_a_line(problem),
    }
}

/// What a parser says of a damaged file: it may quote all of it, as it is.
pub(crate) fn in_a_line(problem: &dyn std::fmt::Display) -> String {
    let mut line = String::new();
    for c in problem.to_string().chars().take(400) {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

pub(super) fn order_to_json(order: &Order) -> Vec<u8> {
    to_json(order_form(order))
}

fn order_form(order: &Order) -> OrderForm {
    let job = &order.job;
    OrderForm {
        task: order.attempt.task.to_string(),
        attempt: order.attempt.number,
        sequence: order.sequence,
        cluster: order.cluster.to_string(),
        cpu_milli: order.grant.cpu_milli,
        memory_bytes: order.grant.memory_bytes,
        storage_bytes: order.grant.storage_bytes,
        devices: order
            .grant
            .devices
            .iter()
            .map(|share| DeviceForm {
                device: share.device,
                milli: share.milli,
            })
            .collect(),
        stop_grace_ms: u64::try_from(order.stop_grace.as_millis()).unwrap_or(u64::MAX),
        user: job.user.to_string(),
        name: job.name.clone(),
        image: job.image.to_string(),
        command: match &job.command {
            Command::Image => CommandForm::Image,
            Command::Shell(line) => CommandForm::Shell(line.clone()),
            Command::Exec(words) => CommandForm::Exec(words.clone()),
        },
        env: job.env.clone(),
        container: job.container.to_words(),
    }
}

pub(super) fn order_from_json(path: &Path, text: &[u8]) -> Result<Order, SpoolError> {
    order_of(path, from_json(path, text)?)
}

fn order_of(path: &Path, form: OrderForm) -> Result<Order, SpoolError> {
    Ok(Order {
        attempt: AttemptId::new(
            form.task.parse().map_err(|e| malformed(path, &e))?,
            form.attempt,
        ),
        sequence: form.sequence,
        cluster: form.cluster.parse().map_err(|e| malformed(path, &e))?,
        grant: Grant {
            cpu_milli: form.cpu_milli,
            memory_bytes: form.memory_bytes,
            storage_bytes: form.storage_bytes,
            devices: form
                .devices
                .into_iter()
                .map(|share| DeviceShare {
                    device: share.device,
                    milli: share.milli,
                })
                .collect(),
        },
        stop_grace: Duration::from_millis(form.stop_grace_ms),
        job: Arc::new(Job {
            user: form.user.parse().map_err(|e| malformed(path, &e))?,
            name: form.name,
            image: form.image.parse().map_err(|e| malformed(path, &e))?,
            command: match form.command {
                CommandForm::Image => Command::Image,
                CommandForm::Shell(line) => Command::Shell(line),
                CommandForm::Exec(words) => Command::Exec(words),
            },
            env: form.env,
            container: ContainerSpec::from_words(form.container)
                .map_err(|e| malformed(path, &e))?,
        }),
    })
}

pub(super) fn state_to_json(record: &SpoolRecord) -> Vec<u8> {
    to_json(StateForm {
        revision: record.revision,
        started: record.started,
        boot: record.host_run.boot.clone(),
        engine_run: record.host_run.engine.clone(),
        image_digest: record.image_digest.clone(),
        stop: record.stop.as_ref().map(|stop| match stop {
            StopCause::Cancel(reason) => StopForm::Cancel(reason.clone()),
            StopCause::Shutdown => StopForm::Shutdown,
            StopCause::OverLimit(reason) => StopForm::OverLimit(reason.clone()),
        }),
        end: record.end.as_ref().map(|end| EndForm {
            exit: match end.end.exit.clone() {
                Exit::Exited(code) => ExitForm::Exited(code),
                Exit::Signalled(signal) => ExitForm::Signalled(signal),
                Exit::OutOfMemory => ExitForm::OutOfMemory,
                Exit::Cancelled => ExitForm::Cancelled,
                Exit::NotStarted(reason) => ExitForm::NotStarted(reason),
                Exit::Stopped(reason) => ExitForm::Stopped(reason),
                Exit::Interrupted(reason) => ExitForm::Interrupted(reason),
            },
            started_at_ms: end.end.started_at.map(|at| at.0),
            finished_at_ms: end.end.finished_at.0,
            peak_memory_bytes: end.end.usage.memory_bytes,
            cpu_time_ns: u64::try_from(end.end.usage.cpu_time.as_nanos()).unwrap_or(u64::MAX),
            image_digest: end.end.image_digest.clone(),
            log_length_bytes: end.log.length_bytes,
            log_incomplete: end.log.whole.reason().map(str::to_owned),
            had_container: end.had_container,
        }),
        order: Some(order_form(&record.order)),
    })
}

/// All that is known of an attempt but its order, and that, too, unless an earlier program wrote it.
pub(super) struct State {
    revision: u64,
    started: bool,
    host_run: HostRun,
    image_digest: Option<String>,
    stop: Option<StopCause>,
    end: Option<EndRecord>,
    pub(super) order: Option<Order>,
}

impl State {
    pub(super) fn with(self, order: Order) -> SpoolRecord {
        SpoolRecord {
            revision: self.revision,
            order,
            started: self.started,
            host_run: self.host_run,
            image_digest: self.image_digest,
            stop: self.stop,
            end: self.end,
        }
    }
}

pub(super) fn state_from_json(path: &Path, text: &[u8]) -> Result<State, SpoolError> {
    let form: StateForm = from_json(path, text)?;
    let order = form.order.map(|order| order_of(path, order)).transpose()?;
    Ok(State {
        revision: form.revision,
        order,
        started: form.started,
        host_run: HostRun {
            boot: form.boot,
            engine: form.engine_run,
        },
        image_digest: form.image_digest,
        stop: form.stop.map(|stop| match stop {
            StopForm::Cancel(reason) => StopCause::Cancel(reason),
            StopForm::Shutdown => StopCause::Shutdown,
            StopForm::OverLimit(reason) => StopCause::OverLimit(reason),
        }),
        end: form.end.map(|end| EndRecord {
            end: ContainerEnd {
                exit: match end.exit {
                    ExitForm::Exited(code) => Exit::Exited(code),
                    ExitForm::Signalled(signal) => Exit::Signalled(signal),
                    ExitForm::OutOfMemory => Exit::OutOfMemory,
                    ExitForm::Cancelled => Exit::Cancelled,
                    ExitForm::NotStarted(reason) => Exit::NotStarted(reason),
                    ExitForm::Stopped(reason) => Exit::Stopped(reason),
                    ExitForm::Interrupted(reason) => Exit::Interrupted(reason),
                },
                started_at: end.started_at_ms.map(Wall),
                finished_at: Wall(end.finished_at_ms),
                usage: PeakUsage {
                    memory_bytes: end.peak_memory_bytes,
                    cpu_time: Duration::from_nanos(end.cpu_time_ns),
                },
                image_digest: end.image_digest,
            },
            log: SealedLog {
                length_bytes: end.log_length_bytes,
                whole: end
                    .log_incomplete
                    .map_or(Whole::Complete, Whole::Incomplete),
            },
            had_container: end.had_container,
        }),
    })
}

/// The attempt that a folder of the spool is named after.
pub(super) fn attempt_of_folder(name: &str) -> Option<AttemptId> {
    let (task, number) = name.rsplit_once('-')?;
    let attempt = AttemptId::new(task.parse().ok()?, number.parse().ok()?);
    // `a-02` is no second name of attempt 2.
    (attempt.to_string() == name).then_some(attempt)
}

pub(super) fn tombstones_to_json(attempts: &[AttemptId]) -> Vec<u8> {
    let attempts = attempts
        .iter()
        .map(|attempt| (attempt.task.to_string(), attempt.number))
        .collect();
    to_json(TombstonesForm { attempts })
}

pub(super) fn tombstones_from_json(path: &Path, text: &[u8]) -> Result<Vec<AttemptId>, SpoolError> {
    let form: TombstonesForm = from_json(path, text)?;
    form.attempts
        .into_iter()
        .map(|(task, number)| {
            let task = task.parse().map_err(|error| malformed(path, &error))?;
            Ok(AttemptId::new(task, number))
        })
        .collect()
}

pub(super) fn left_out_to_json(left_out: &LeftOut) -> Vec<u8> {
    to_json(LeftOutForm {
        notes: left_out.notes.clone(),
        left_out: left_out.count,
    })
}

pub(super) fn left_out_from_json(path: &Path, text: &[u8]) -> Result<LeftOut, SpoolError> {
    let form: LeftOutForm = from_json(path, text)?;
    Ok(LeftOut {
        notes: form.notes,
        count: form.left_out,
    })
}
