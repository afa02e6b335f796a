//! Tasks and workers in JSON, by the contract's names: section 2, "A task in JSON".

mod disks;
mod explain;
mod files;
mod inspection;
mod stats;

use std::{collections::BTreeMap, time::Duration};

use cloudai_core::registry::Worker;
use cloudai_model::{
    AttemptId, Command, ContainerEnd, Now, TaskStatus, TimeOut, Wall,
    record::{Removed, ResultRecord, TaskRecord},
    resources::bytes_to_gb,
};
use serde::Serialize;

use super::status::{StoreStatus, Totals};
use cloudai_core::Snapshot;
use cloudai_operator::{About, Degraded, Disks, QueueEntry};

use self::{disks::DisksJson, files::RemovalJson};

pub(crate) use self::{
    explain::StandingJson,
    files::{TaskFilesJson, TaskWithFilesJson},
    inspection::InspectionJson,
    stats::StatsJson,
};

/// A task. Times are RFC 3339 in UTC with milliseconds. Its environment stays out: it may hold
/// secrets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct TaskJson {
    task_id: String,
    name: String,
    status: &'static str,
    phase: &'static str,
    attempt: u32,
    user_id: String,
    worker_id: Option<String>,
    docker_image: String,
    command: CommandJson,
    cpu_cores: f64,
    memory_gb: f64,
    storage_gb: f64,
    gpu_cores: f64,
    priority: u8,
    hold: bool,
    deadline: Option<String>,
    timeout_s: Option<f64>,
    pull_timeout_s: Option<f64>,
    queue_timeout_s: Option<f64>,
    estimate_s: Option<f64>,
    max_retries: u32,
    retry_on: String,
    retries_used: u32,
    retry_at: Option<String>,
    /// Workers that were lost or failed under it, one for each time.
    taken_down: Vec<String>,
    /// `queue`, `pull` or `run`, if that is what it is stopped for or ended with.
    time_out: Option<&'static str>,
    labels: BTreeMap<String, String>,
    tag: String,
    task_type: Option<&'static str>,
    sla_multiplier: f64,
    cancel_requested: bool,
    exit_code: Option<i32>,
    reason: String,
    submitted_at: String,
    started_at: Option<String>,
    completed_at: Option<String>,
    container: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    result: Option<TaskResultJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_removed: Option<RemovalJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files_removed: Option<RemovalJson>,
}

/// What the result of a task adds to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct TaskResultJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    image_digest: Option<String>,
    log_complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_reason: Option<String>,
    files_complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    files_reason: Option<String>,
    /// What the last attempt used, as far as it was seen while it ran; null where it wasn't.
    peak_memory_gb: Option<f64>,
    cpu_time_s: Option<f64>,
}

impl TaskResultJson {
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

/// Null for the image's own command, a string for the shell's, an array for one as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum CommandJson {
    Image(()),
    Shell(String),
    Exec(Vec<String>),
}

impl TaskJson {
    /// A task, and what its result adds once there is one.
    #[must_use]
    pub(crate) fn new(record: &TaskRecord, result: Option<&ResultRecord>) -> Self {
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
            cpu_cores: spec.resources.cpu_milli as f64 / 1000.0,
            memory_gb: gb(spec.resources.memory_bytes),
            storage_gb: gb(spec.resources.storage_bytes),
            gpu_cores: spec.resources.gpu.devices(),
            priority: spec.priority.level(),
            hold: spec.hold,
            deadline: instant(spec.effective_deadline(record.submitted_at)),
            timeout_s: seconds(spec.timeout),
            pull_timeout_s: seconds(spec.pull_timeout),
            queue_timeout_s: seconds(spec.queue_timeout),
            estimate_s: seconds(spec.estimate),
            max_retries: spec.max_retries,
            retry_on: spec.retry_on.to_string(),
            retries_used: state.failures,
            retry_at: instant(state.retry_at),
            taken_down: state.taken_down.iter().map(ToString::to_string).collect(),
            time_out: state.time_out.map(TimeOut::as_str),
            labels: spec.labels.clone(),
            tag: spec.tag.clone(),
            task_type: spec.task_type.map(cloudai_model::TaskType::as_str),
            sla_multiplier: spec.sla_multiplier.factor(),
            cancel_requested: state.cancel_requested,
            exit_code: state.exit_code,
            reason: state.reason.clone(),
            submitted_at: record.submitted_at.to_string(),
            started_at: instant(state.started_at),
            completed_at: instant(state.completed_at),
            container: spec.container.to_words(),
            result: result.map(TaskResultJson::new),
            log_removed: None,
            files_removed: None,
        }
    }

    /// The same, with what was removed of what it left.
    #[must_use]
    pub(crate) fn with_removed(mut self, removed: &Removed) -> Self {
        self.log_removed = RemovalJson::new(&removed.log);
        self.files_removed = RemovalJson::new(&removed.files);
        self
    }
}

/// One run of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct AttemptJson {
    task_id: String,
    attempt: u32,
}

impl AttemptJson {
    fn new(attempt: &AttemptId) -> Self {
        Self {
            task_id: attempt.task.to_string(),
            attempt: attempt.number,
        }
    }
}

/// A waiting task: its place, the task, and why it waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QueueEntryJson {
    position: usize,
    #[serde(flatten)]
    task: TaskJson,
    waiting_for: String,
}

impl QueueEntryJson {
    /// A waiting task.
    #[must_use]
    pub(crate) fn new(entry: &QueueEntry) -> Self {
        Self {
            position: entry.position,
            task: TaskJson::new(&entry.record, None),
            waiting_for: entry.why.summary.clone(),
        }
    }
}

/// A worker. What is not known yet is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct WorkerJson {
    worker_id: String,
    status: &'static str,
    address: String,
    version: Option<String>,
    labels: BTreeMap<String, String>,
    total_cpu: Option<f64>,
    total_memory: Option<f64>,
    total_storage: Option<f64>,
    total_gpu: Option<f64>,
    allocated_cpu: f64,
    allocated_memory: f64,
    allocated_storage: f64,
    allocated_gpu: f64,
    running_tasks: Vec<String>,
    draining: bool,
    held_off: Option<String>,
    set_aside: Option<String>,
    reason: String,
    registered_at: String,
    last_seen_at: Option<String>,
}

impl WorkerJson {
    /// A worker as it is `now`.
    #[must_use]
    pub(crate) fn new(worker: &Worker, now: Now) -> Self {
        let taken = &worker.allocated;
        let capacity = worker.capacity;
        // Heartbeats move the monotonic mark only; the wall's time follows from it.
        let seen = worker.last_heard.map_or(worker.last_seen_at, |heard| {
            let ago = i64::try_from(now.mono.since(heard).as_millis()).unwrap_or(i64::MAX);
            Some(Wall(now.wall.0.saturating_sub(ago)))
        });
        Self {
            worker_id: worker.id.to_string(),
            status: worker.status().as_str(),
            address: worker.address.to_string(),
            version: worker.version.clone(),
            labels: worker.labels.clone(),
            total_cpu: capacity.map(|all| all.cpu_milli as f64 / 1000.0),
            total_memory: capacity.map(|all| gb(all.memory_bytes)),
            total_storage: capacity.map(|all| gb(all.storage_bytes)),
            total_gpu: capacity.map(|all| f64::from(all.gpus)),
            allocated_cpu: taken.cpu_milli as f64 / 1000.0,
            allocated_memory: gb(taken.memory_bytes),
            allocated_storage: gb(taken.storage_bytes),
            allocated_gpu: f64::from(taken.gpu_milli()) / 1000.0,
            running_tasks: worker
                .attempts
                .iter()
                .map(|attempt| attempt.task.to_string())
                .collect(),
            draining: worker.draining,
            held_off: worker
                .hold_off
                .as_ref()
                .filter(|hold_off| hold_off.until > now.mono)
                .map(|hold_off| hold_off.reason.clone()),
            set_aside: worker
                .set_aside
                .as_ref()
                .filter(|aside| aside.until > now.mono)
                .map(|aside| aside.reason.clone()),
            reason: worker.unwell.clone().unwrap_or_default(),
            registered_at: worker.registered_at.to_string(),
            last_seen_at: instant(seen),
        }
    }
}

/// The cluster as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StatusJson {
    cluster_id: String,
    version: String,
    ready: bool,
    store: String,
    listening: BTreeMap<String, String>,
    workers: usize,
    active_workers: usize,
    total_cpu: f64,
    total_memory: f64,
    total_storage: f64,
    total_gpu: f64,
    allocated_cpu: f64,
    allocated_memory: f64,
    allocated_storage: f64,
    allocated_gpu: f64,
    /// Null while the store can't be asked.
    tasks: Option<BTreeMap<&'static str, u64>>,
    /// Null while all is well.
    degraded: Option<DegradedJson>,
    #[serde(flatten)]
    disks: DisksJson,
}

/// The store's database is out of reach.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct DegradedJson {
    since: String,
    reason: String,
    store_read: bool,
    journaled_changes: usize,
    journaled_submits: usize,
    journal_bytes: u64,
}

impl DegradedJson {
    fn new(away: &Degraded) -> Self {
        Self {
            since: away.since.to_string(),
            reason: away.reason.clone(),
            store_read: away.read,
            journaled_changes: away.changes,
            journaled_submits: away.submitted,
            journal_bytes: away.journal_bytes,
        }
    }
}

impl StatusJson {
    /// The cluster as a whole.
    #[must_use]
    pub(crate) fn new(
        about: &About,
        snapshot: &Snapshot,
        disks: &Disks,
        store: &StoreStatus,
    ) -> Self {
        let totals = Totals::of(snapshot);
        Self {
            cluster_id: snapshot.cluster.to_string(),
            version: about.version.clone(),
            ready: snapshot.ready,
            store: about.store.clone(),
            listening: about.services.iter().cloned().collect(),
            workers: snapshot.workers.len(),
            active_workers: totals.active,
            total_cpu: totals.cpu_cores.1,
            total_memory: rounded(totals.memory_gb.1),
            total_storage: rounded(totals.storage_gb.1),
            total_gpu: totals.gpus.1,
            allocated_cpu: totals.cpu_cores.0,
            allocated_memory: rounded(totals.memory_gb.0),
            allocated_storage: rounded(totals.storage_gb.0),
            allocated_gpu: totals.gpus.0,
            tasks: store.counts.as_ref().map(|counts| {
                let count = |status| counts.get(status).copied().unwrap_or(0);
                let all = TaskStatus::ALL.iter();
                all.map(|status| (status.as_str(), count(status))).collect()
            }),
            degraded: store.degraded.as_ref().map(DegradedJson::new),
            disks: DisksJson::new(disks),
        }
    }
}

/// In GB, without the digits that only come of counting in bytes.
fn gb(bytes: u64) -> f64 {
    rounded(bytes_to_gb(bytes))
}

fn rounded(gb: f64) -> f64 {
    (gb * 1e9).round() / 1e9
}

fn seconds(span: Option<Duration>) -> Option<f64> {
    span.map(|span| span.as_secs_f64())
}

fn instant(at: Option<Wall>) -> Option<String> {
    at.map(|at| at.to_string())
}

#[cfg(test)]
mod tests {
    use cloudai_model::{ContainerEnd, Exit, PeakUsage, Whole};
    use serde_json::json;

    use super::*;
    use crate::testing::{NOW, finished, result_of, snapshot_of, task, waiting_for, worker};

    #[test]
    fn a_task_has_the_contracts_names_and_times() {
        let mut record = finished(task(7, "training"), TaskStatus::Failed, 3);
        record.spec.command = Command::Exec(vec!["python".to_owned(), "train.py".to_owned()]);
        record
            .spec
            .env
            .insert("TOKEN".to_owned(), "secret".to_owned());
        record.spec.container.network = "none".parse().unwrap();
        let mut result = result_of(&record);
        result.end = Some(ContainerEnd {
            exit: Exit::Exited(3),
            started_at: None,
            finished_at: Wall(0),
            usage: PeakUsage::default(),
            image_digest: Some("sha256:abc".to_owned()),
        });
        assert_eq!(
            serde_json::to_value(TaskJson::new(&record, Some(&result))).unwrap(),
            json!({
                "task_id": "task-7", "name": "training", "status": "failed", "phase": "done",
                "attempt": 1, "user_id": "admin", "worker_id": "worker-1",
                "docker_image": "docker.io/username/gpu-task:latest",
                "command": ["python", "train.py"],
                "cpu_cores": 4.0, "memory_gb": 8.0, "storage_gb": 1.0, "gpu_cores": 0.0,
                "priority": 50, "hold": false, "deadline": null, "timeout_s": null,
                "pull_timeout_s": null, "queue_timeout_s": null, "estimate_s": null, "max_retries": 0, "retry_on": "any",
                "retries_used": 0, "retry_at": null, "taken_down": [], "time_out": null,
                "labels": {}, "tag": "", "task_type": null,
                "sla_multiplier": 2.0, "cancel_requested": false,
                "exit_code": 3, "reason": "exit code 3",
                "submitted_at": "2023-10-12T15:10:50.000Z",
                "started_at": "2023-10-12T15:10:51.000Z",
                "completed_at": "2023-10-12T15:10:52.500Z",
                "container": {"network": ["none"]}, "image_digest": "sha256:abc",
                "log_complete": true, "files_complete": true,
                "peak_memory_gb": null, "cpu_time_s": null,
            })
        );
    }

    #[test]
    fn a_result_says_what_the_container_used_and_what_is_missing() {
        let record = finished(task(7, ""), TaskStatus::Completed, 0);
        let mut result = result_of(&record);
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
        let value = serde_json::to_value(TaskJson::new(&record, Some(&result))).unwrap();
        assert_eq!(value["peak_memory_gb"], 1.5);
        assert_eq!(value["cpu_time_s"], 2.25);
        assert_eq!(value["files_complete"], false);
        assert_eq!(value["files_reason"], "left out pipe: is a FIFO");
    }

    #[test]
    fn a_command_is_null_a_string_or_an_array() {
        let mut record = task(7, "");
        let command = |record: &TaskRecord| {
            serde_json::to_value(TaskJson::new(record, None)).unwrap()["command"].clone()
        };
        assert_eq!(command(&record), json!(null));
        // What was asked for, and not what became of it in bytes.
        record.spec.resources.memory_bytes = cloudai_model::resources::gb_to_bytes(0.1).unwrap();
        let value = serde_json::to_value(TaskJson::new(&record, None)).unwrap();
        assert_eq!(value["memory_gb"], 0.1);
        record.spec.command = Command::Shell("echo hi".to_owned());
        assert_eq!(command(&record), json!("echo hi"));
    }

    #[test]
    fn a_waiting_task_has_its_place_and_why_it_waits() {
        let entry = QueueEntry {
            position: 1,
            record: task(7, ""),
            why: waiting_for("no worker is registered"),
        };
        let value = serde_json::to_value(QueueEntryJson::new(&entry)).unwrap();
        assert_eq!(value["position"], 1);
        assert_eq!(value["task_id"], "task-7");
        assert_eq!(value["waiting_for"], "no worker is registered");
        assert_eq!(value.get("files_complete"), None);
    }

    #[test]
    fn an_unseen_worker_has_an_unknown_capacity_and_not_none() {
        let mut unseen = worker("worker-2", "10.0.0.2");
        unseen.capacity = None;
        let value = serde_json::to_value(WorkerJson::new(&unseen, NOW)).unwrap();
        assert_eq!(value["total_cpu"], json!(null));
        assert_eq!(value["status"], "inactive");
        assert_eq!(value["address"], "10.0.0.2:50052");
        assert_eq!(value["last_seen_at"], "2023-10-12T15:10:58.000Z");
    }

    #[test]
    fn the_cluster_counts_only_what_is_there_to_be_used() {
        let mut active = worker("worker-1", "localhost");
        active.active = true;
        let snapshot = snapshot_of([active, worker("worker-2", "10.0.0.2")]);
        let store = StoreStatus {
            counts: Some(BTreeMap::from([(TaskStatus::Running, 2)])),
            degraded: None,
        };
        let value = serde_json::to_value(StatusJson::new(
            &crate::testing::about(),
            &snapshot,
            &Disks::default(),
            &store,
        ))
        .unwrap();
        assert_eq!(
            (&value["workers"], &value["active_workers"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(value["total_cpu"], 4.0);
        assert_eq!(value["tasks"]["running"], 2);
        assert_eq!(value["listening"]["HTTP"], ":8080");
    }
}
