//! A task by the contract's names: section 2, "A task in JSON".

use std::collections::BTreeMap;

use cloudai_core::Taken;
use cloudai_model::{
    Command, ContainerEnd, Phase, TaskStatus, TaskType, TimeOut,
    record::{Removed, ResultRecord, TaskRecord},
};
use serde::Serialize;
use utoipa::{ToSchema, openapi::Object};

use crate::{
    figures::{Time, gb, of_milli, seconds, words, words_or_null},
    files::Removal,
};

/// A task. Its environment stays out: it may hold secrets.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Task {
    /// Its id.
    #[schema(example = "task-1697123456000001")]
    task_id: String,
    /// Shown to people; may be empty.
    #[schema(example = "sum")]
    name: String,
    /// Where it stands; the last three are final.
    #[schema(schema_with = status_schema)]
    status: &'static str,
    /// How far it has come, finer than its status.
    #[schema(schema_with = phase_schema)]
    phase: &'static str,
    /// The last attempt; 0 before the first.
    attempt: u32,
    /// Whose it is.
    #[schema(example = "alice")]
    user_id: String,
    /// The last attempt's worker.
    #[schema(example = "worker-1")]
    worker_id: Option<String>,
    /// The image.
    #[schema(example = "python:3.13-slim")]
    docker_image: String,
    /// Null for the image's own command, a string for the shell's, an array for one as it is.
    #[schema(value_type = Option<crate::CommandText>)]
    command: CommandJson,
    /// Cores.
    cpu_cores: f64,
    /// GB of memory.
    memory_gb: f64,
    /// GB of disk.
    storage_gb: f64,
    /// GPUs.
    gpu_cores: f64,
    /// 0 to 100; higher goes first.
    priority: u8,
    /// When it should be done: as set, or as it follows from the estimate.
    deadline: Option<Time>,
    /// Longest run in seconds.
    timeout_s: Option<f64>,
    /// Longest pull of the image in seconds.
    pull_timeout_s: Option<f64>,
    /// Longest wait before it first runs in seconds.
    queue_timeout_s: Option<f64>,
    /// Estimated run in seconds.
    estimate_s: Option<f64>,
    /// Runs after a failure.
    max_retries: u32,
    /// After which failures.
    retry_on: String,
    /// How many of them were taken.
    retries_used: u32,
    /// When it is run again, while it waits out the pause after a failure.
    retry_at: Option<Time>,
    /// Workers that were lost or failed under it, one for each time.
    taken_down: Vec<String>,
    /// `queue`, `pull` or `run`, if that is what it is stopped for or ended with.
    time_out: Option<&'static str>,
    /// Words to find it by.
    labels: BTreeMap<String, String>,
    /// A free word.
    tag: String,
    /// What kind of work it is.
    #[schema(schema_with = task_type_schema)]
    task_type: Option<&'static str>,
    /// Makes a deadline of the estimate.
    sla_multiplier: f64,
    /// Whether it waits until somebody releases it.
    hold: bool,
    /// Whether its end was asked for.
    cancel_requested: bool,
    /// The exit code, once there is one.
    #[schema(example = 0)]
    exit_code: Option<i32>,
    /// What it waits for or died of; empty when there is nothing to say.
    reason: String,
    /// When it was submitted.
    submitted_at: Time,
    /// When its container first started in the last attempt.
    started_at: Option<Time>,
    /// When it became final.
    completed_at: Option<Time>,
    /// Settings of its container that are not the default, each as its texts.
    container: BTreeMap<String, Vec<String>>,
    /// What its result adds.
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    result: Option<TaskResult>,
    /// That its log was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_removed: Option<Removal>,
    /// That its files were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    files_removed: Option<Removal>,
}

/// What the result of a task adds to it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct TaskResult {
    /// The digest of the image that ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_digest: Option<String>,
    /// Whether the log is whole.
    #[schema(required = false)]
    log_complete: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_reason: Option<String>,
    /// Whether the files are all there.
    #[schema(required = false)]
    files_complete: bool,
    /// Why they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    files_reason: Option<String>,
    /// The most memory that the last attempt was seen to use; null if it wasn't seen.
    #[schema(required = false)]
    peak_memory_gb: Option<f64>,
    /// The CPU time that it was seen to use.
    #[schema(required = false)]
    cpu_time_s: Option<f64>,
}

impl TaskResult {
    fn new(result: &ResultRecord) -> Self {
        // One that was never seen running says 0.
        let seen = |end: &&ContainerEnd| end.usage.memory_bytes > 0;
        let ran = result.end.as_ref().filter(seen);
        Self {
            image_digest: result.end.as_ref().and_then(|end| end.image_digest.clone()),
            log_complete: result.log.is_complete(),
            log_reason: result.log.reason().map(str::to_owned),
            files_complete: result.files.is_complete(),
            files_reason: result.files.reason().map(str::to_owned),
            peak_memory_gb: ran.map(|end| gb(end.usage.memory_bytes)),
            cpu_time_s: ran.map(|end| end.usage.cpu_time.as_secs_f64()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum CommandJson {
    Image(()),
    Shell(String),
    Exec(Vec<String>),
}

fn status_schema() -> Object {
    words(TaskStatus::ALL.iter().map(|word| word.as_str())).into()
}

fn phase_schema() -> Object {
    words(Phase::ALL.iter().map(|word| word.as_str())).into()
}

fn task_type_schema() -> Object {
    words_or_null(TaskType::ALL.iter().map(|word| word.as_str())).into()
}

impl Task {
    /// A task, and what its result adds once there is one.
    #[must_use]
    pub fn new(record: &TaskRecord, result: Option<&ResultRecord>) -> Self {
        let (spec, state) = (&record.spec, &record.state);
        Self {
            task_id: record.task.to_string(),
            name: spec.name.clone(),
            status: state.status.as_str(),
            phase: state.phase.as_str(),
            attempt: state.attempt,
            user_id: spec.user.to_string(),
            worker_id: state.worker.as_ref().map(ToString::to_string),
            docker_image: spec.image.to_string(),
            command: match &spec.command {
                Command::Image => CommandJson::Image(()),
                Command::Shell(line) => CommandJson::Shell(line.clone()),
                Command::Exec(words) => CommandJson::Exec(words.clone()),
            },
            cpu_cores: of_milli(spec.resources.cpu_milli),
            memory_gb: gb(spec.resources.memory_bytes),
            storage_gb: gb(spec.resources.storage_bytes),
            gpu_cores: spec.resources.gpu.devices(),
            priority: spec.priority.level(),
            deadline: Time::of(spec.effective_deadline(record.submitted_at)),
            timeout_s: seconds(spec.timeout),
            pull_timeout_s: seconds(spec.pull_timeout),
            queue_timeout_s: seconds(spec.queue_timeout),
            estimate_s: seconds(spec.estimate),
            max_retries: spec.max_retries,
            retry_on: spec.retry_on.to_string(),
            retries_used: state.failures,
            retry_at: Time::of(state.retry_at),
            taken_down: state.taken_down.iter().map(ToString::to_string).collect(),
            time_out: state.time_out.map(TimeOut::as_str),
            labels: spec.labels.clone(),
            tag: spec.tag.clone(),
            task_type: spec.task_type.map(TaskType::as_str),
            sla_multiplier: spec.sla_multiplier.factor(),
            hold: spec.hold,
            cancel_requested: state.cancel_requested,
            exit_code: state.exit_code,
            reason: state.reason.clone(),
            submitted_at: record.submitted_at.into(),
            started_at: Time::of(state.started_at),
            completed_at: Time::of(state.completed_at),
            container: spec.container.to_words(),
            result: result.map(TaskResult::new),
            log_removed: None,
            files_removed: None,
        }
    }

    /// The same, with what was removed of what it left.
    #[must_use]
    pub fn with_removed(mut self, removed: &Removed) -> Self {
        self.log_removed = removed.log.as_ref().map(Removal::from);
        self.files_removed = removed.files.as_ref().map(Removal::from);
        self
    }
}

/// A waiting task: its place, the task, and why it waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueueEntry {
    position: usize,
    #[serde(flatten)]
    task: Task,
    waiting_for: String,
}

impl From<&cloudai_operator::QueueEntry> for QueueEntry {
    fn from(entry: &cloudai_operator::QueueEntry) -> Self {
        Self {
            position: entry.position,
            task: Task::new(&entry.record, None),
            waiting_for: entry.why.summary.clone(),
        }
    }
}

/// A task of a batch that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Accepted {
    /// Its id.
    task_id: String,
    /// Queued, or pending if it could be placed at once.
    #[schema(schema_with = status_schema)]
    status: &'static str,
    /// Where it was sent, if it was.
    worker_id: Option<String>,
    /// Why it waits; empty if it doesn't.
    reason: String,
}

impl From<&Taken> for Accepted {
    fn from(taken: &Taken) -> Self {
        Self {
            task_id: taken.task.to_string(),
            status: taken.status.as_str(),
            worker_id: taken.worker.as_ref().map(ToString::to_string),
            reason: taken.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::{Exit, PeakUsage, TaskDraft, TaskId, Wall, Whole, record::TaskState};
    use serde_json::{Value, json};

    use super::*;

    const SUBMITTED: Wall = Wall(1_697_123_450_000);

    fn task() -> TaskRecord {
        let draft = TaskDraft {
            docker_image: "docker.io/username/gpu-task:latest".to_owned(),
            name: Some("training".to_owned()),
            cpu_cores: Some(4.0),
            memory_gb: Some(8.0),
            ..TaskDraft::default()
        };
        TaskRecord {
            task: TaskId::numbered(7),
            order: 7,
            spec: draft.check().unwrap().1,
            submitted_at: SUBMITTED,
            state: TaskState::queued(""),
        }
    }

    fn finished(code: i32, end: Option<ContainerEnd>) -> (TaskRecord, ResultRecord) {
        let mut record = task();
        let worker = Some("worker-1".parse().unwrap());
        record.state = TaskState {
            status: TaskStatus::Failed,
            phase: Phase::Done,
            attempt: 1,
            worker: worker.clone(),
            reason: format!("exit code {code}"),
            exit_code: Some(code),
            started_at: Some(Wall(SUBMITTED.0 + 1000)),
            completed_at: Some(Wall(SUBMITTED.0 + 2500)),
            ..TaskState::queued("")
        };
        let result = ResultRecord {
            attempt: cloudai_model::AttemptId::new(record.task.clone(), 1),
            worker,
            status: TaskStatus::Failed,
            reason: record.state.reason.clone(),
            end,
            log: Whole::Complete,
            files: Whole::Complete,
            log_tail: String::new(),
            completed_at: Wall(SUBMITTED.0 + 2500),
            sla_success: None,
        };
        (record, result)
    }

    fn json_of(record: &TaskRecord, result: Option<&ResultRecord>) -> Value {
        serde_json::to_value(Task::new(record, result)).unwrap()
    }

    #[test]
    fn a_task_has_the_contracts_names_and_times() {
        let end = ContainerEnd {
            exit: Exit::Exited(3),
            started_at: None,
            finished_at: Wall(0),
            usage: PeakUsage::default(),
            image_digest: Some("sha256:abc".to_owned()),
        };
        let (mut record, result) = finished(3, Some(end));
        record.spec.command = Command::Exec(vec!["python".to_owned(), "train.py".to_owned()]);
        record
            .spec
            .env
            .insert("TOKEN".to_owned(), "secret".to_owned());
        record.spec.container.network = "none".parse().unwrap();
        assert_eq!(
            json_of(&record, Some(&result)),
            serde_json::from_str::<Value>(
                r#"{
                "task_id": "task-7", "name": "training", "status": "failed", "phase": "done",
                "attempt": 1, "user_id": "admin", "worker_id": "worker-1",
                "docker_image": "docker.io/username/gpu-task:latest",
                "command": ["python", "train.py"],
                "cpu_cores": 4.0, "memory_gb": 8.0, "storage_gb": 1.0, "gpu_cores": 0.0,
                "priority": 50, "deadline": null, "timeout_s": null, "pull_timeout_s": null,
                "queue_timeout_s": null, "estimate_s": null, "max_retries": 0, "retry_on": "any",
                "retries_used": 0, "retry_at": null, "taken_down": [], "time_out": null,
                "labels": {}, "tag": "", "task_type": null,
                "sla_multiplier": 2.0, "hold": false, "cancel_requested": false,
                "exit_code": 3, "reason": "exit code 3",
                "submitted_at": "2023-10-12T15:10:50.000Z",
                "started_at": "2023-10-12T15:10:51.000Z",
                "completed_at": "2023-10-12T15:10:52.500Z",
                "container": {"network": ["none"]}, "image_digest": "sha256:abc",
                "log_complete": true, "files_complete": true,
                "peak_memory_gb": null, "cpu_time_s": null
            }"#
            )
            .unwrap()
        );
    }

    #[test]
    fn a_result_says_what_the_container_used_and_what_is_missing() {
        let (record, mut result) = finished(0, None);
        result.files = Whole::Incomplete("left out pipe: is a FIFO".to_owned());
        result.end = Some(ContainerEnd {
            exit: Exit::Exited(0),
            started_at: record.state.started_at,
            finished_at: result.completed_at,
            usage: PeakUsage {
                memory_bytes: 3 << 29,
                cpu_time: std::time::Duration::from_millis(2250),
            },
            image_digest: None,
        });
        let value = json_of(&record, Some(&result));
        assert_eq!(value["peak_memory_gb"], 1.5);
        assert_eq!(value["cpu_time_s"], 2.25);
        assert_eq!(value["files_complete"], false);
        assert_eq!(value["files_reason"], "left out pipe: is a FIFO");
    }

    #[test]
    fn a_command_is_null_a_string_or_an_array() {
        let mut record = task();
        assert_eq!(json_of(&record, None)["command"], json!(null));
        record.spec.command = Command::Shell("echo hi".to_owned());
        assert_eq!(json_of(&record, None)["command"], json!("echo hi"));
    }

    #[test]
    fn amounts_are_those_that_were_asked_for_and_not_what_became_of_them_in_bytes() {
        let mut record = task();
        record.spec.resources.memory_bytes = cloudai_model::resources::gb_to_bytes(0.1).unwrap();
        assert_eq!(json_of(&record, None)["memory_gb"], 0.1);
    }
}
