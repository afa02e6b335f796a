//! What a store keeps. The core writes these, and reads them back after a start.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    account::AccountChange,
    attempt::{AttemptId, ContainerEnd, Whole},
    change::TaskChange,
    ids::{ClusterId, TaskId, UserName, WorkerId},
    resources::{Capacity, Grant},
    retry::{TimeOut, retry_words},
    spec::TaskSpec,
    status::{Phase, TaskStatus},
    time::Wall,
    worker::WorkerAddress,
};

/// One change to what is stored. A list of them is one transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The cluster as a whole.
    Cluster(ClusterRecord),
    /// A worker, new or changed, whole.
    Worker(WorkerRecord),
    /// A worker is no longer registered.
    WorkerRemoved(WorkerId),
    /// A new task, whole.
    TaskAdded(Box<TaskRecord>),
    /// A task's state has changed; its spec has not.
    TaskChanged(TaskId, TaskState),
    /// What was asked for has changed since the submit, in this.
    SpecChanged(TaskId, TaskChange),
    /// An attempt began or changed, whole.
    Assignment(AssignmentRecord),
    /// A task's result: one a task, written once.
    Result(Box<ResultRecord>),
    /// A task's output files are in; replaces those of an earlier attempt.
    Files(Box<FilesRecord>),
    /// Containers that a worker which was unregistered must still stop.
    StopOrder(StopOrder),
    /// A stop order is carried out.
    StopOrderDone(AttemptId),
    /// What was removed of what an ended task left, whole.
    Removed(RemovedRecord),
    /// An ended task is forgotten, with all that is stored of it.
    TaskForgotten(TaskId),
    /// Tasks with numbers up to these were forgotten; what a store says of them as a whole.
    Forgotten(ForgottenRecord),
    /// Of users, keys, tokens and the audit. None of the core's business: it neither writes nor
    /// reads these.
    Account(AccountChange),
}

/// The cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRecord {
    /// Made at the first start.
    pub cluster: ClusterId,
    /// Rises by one with each start of a master on this store.
    pub epoch: u64,
}

/// A registered worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerRecord {
    /// Its id.
    pub worker: WorkerId,
    /// Where it is dialled.
    pub address: WorkerAddress,
    /// What it offered when last seen; `None` if it never was.
    pub capacity: Option<Capacity>,
    /// Its program's version; `None` for an old node or one never seen.
    pub version: Option<String>,
    /// Labels, `name=value`.
    pub labels: BTreeMap<String, String>,
    /// Tells this registration from an earlier one of the same id; its token follows from it.
    pub registration: u64,
    /// When the admin registered it.
    pub registered_at: Wall,
    /// When it was last heard of, as of the last write.
    pub last_seen_at: Option<Wall>,
    /// Whether it is given nothing new, by an admin's wish.
    pub draining: bool,
}

/// A task, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRecord {
    /// Its id.
    pub task: TaskId,
    /// Rises with each submit; the age in the queue.
    pub order: u64,
    /// What was asked for.
    pub spec: TaskSpec,
    /// When it was submitted.
    pub submitted_at: Wall,
    /// Where it stands.
    pub state: TaskState,
}

/// Where a task stands: the part of its record that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskState {
    /// Status.
    pub status: TaskStatus,
    /// Phase.
    pub phase: Phase,
    /// The last attempt; 0 before the first.
    pub attempt: u32,
    /// The last attempt's worker.
    pub worker: Option<WorkerId>,
    /// What it waits for or died of; empty when there is nothing to say.
    pub reason: String,
    /// The exit code, once there is one.
    pub exit_code: Option<i32>,
    /// When its container first started in the last attempt.
    pub started_at: Option<Wall>,
    /// When it became final.
    pub completed_at: Option<Wall>,
    /// Whether a cancel was asked for.
    pub cancel_requested: bool,
    /// How many retries were taken: attempts that failed by themselves and were followed by
    /// another.
    pub failures: u32,
    /// When it is run again, while it waits out the pause after a failure.
    pub retry_at: Option<Wall>,
    /// The workers that were lost, or failed, while an attempt of it was there: one for each time.
    pub taken_down: Vec<WorkerId>,
    /// When its container first started in any attempt.
    pub first_started_at: Option<Wall>,
    /// The time-out for which its attempt is to stop, or with which it ended.
    pub time_out: Option<TimeOut>,
}

impl TaskRecord {
    /// How long it still waits out the pause after a failure; `None` if it doesn't.
    #[must_use]
    pub fn pause_left(&self, now: Wall) -> Option<Duration> {
        let until = self.state.retry_at.filter(|until| *until > now)?;
        (self.state.status == TaskStatus::Queued).then(|| until.since(now))
    }

    /// What it waits for while it is between two attempts: `retry 2 of 3 in 8s: exit code 1`.
    #[must_use]
    pub fn retry_words(&self, left: Duration) -> String {
        let (state, most) = (&self.state, self.spec.max_retries);
        retry_words(state.failures, most, Some(left), &state.reason)
    }
}

impl TaskState {
    /// A task just submitted.
    #[must_use]
    pub fn queued(reason: impl Into<String>) -> Self {
        Self {
            status: TaskStatus::Queued,
            phase: Phase::Queued,
            attempt: 0,
            worker: None,
            reason: reason.into(),
            exit_code: None,
            started_at: None,
            completed_at: None,
            cancel_requested: false,
            failures: 0,
            retry_at: None,
            taken_down: Vec::new(),
            first_started_at: None,
            time_out: None,
        }
    }
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentRecord {
    /// Task and number.
    pub attempt: AttemptId,
    /// Where it was sent.
    pub worker: WorkerId,
    /// The number that rises with each assignment to that worker.
    pub sequence: u64,
    /// What it was given.
    pub grant: Grant,
    /// When it was sent.
    pub assigned_at: Wall,
    /// When it ended, and how in words; `None` while it has not.
    pub ended: Option<(Wall, String)>,
}

/// A task's one result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultRecord {
    /// The attempt that gave it.
    pub attempt: AttemptId,
    /// Where it ran; `None` if it never did.
    pub worker: Option<WorkerId>,
    /// Final status.
    pub status: TaskStatus,
    /// What it died of; empty for success.
    pub reason: String,
    /// The container's end; `None` if there was no container.
    pub end: Option<ContainerEnd>,
    /// Whether the log is whole.
    pub log: Whole,
    /// Whether the files are.
    pub files: Whole,
    /// The last 64 KiB of the log, as text.
    pub log_tail: String,
    /// When it became final.
    pub completed_at: Wall,
    /// Whether it was done by its deadline; `None` without one.
    pub sla_success: Option<bool>,
}

/// A task's output files, as the master keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesRecord {
    /// The attempt that left them.
    pub attempt: AttemptId,
    /// Whose they are.
    pub user: UserName,
    /// The task's name.
    pub task_name: String,
    /// Folder that holds them, relative to the files directory: `<user>/<task>`.
    pub storage_path: String,
    /// The files, by path.
    pub files: Vec<FileRecord>,
    /// When they were in.
    pub uploaded_at: Wall,
}

impl FilesRecord {
    /// What they take together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let sizes = self.files.iter().map(|file| file.size);
        sizes.fold(0, u64::saturating_add)
    }
}

/// One output file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileRecord {
    /// Path within the task's folder, `/` between parts, percent-encoded where not UTF-8.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
}

/// What was removed of what an ended task left. Written before it is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedRecord {
    /// The task.
    pub task: TaskId,
    /// What of it.
    pub removed: Removed,
}

/// What is there no more of what an ended task left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// The logs of all its attempts.
    pub log: Option<Removal>,
    /// Its output files.
    pub files: Option<Removal>,
}

/// When something was removed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// When.
    pub at: Wall,
    /// By what, such as `retention after 30 d`.
    pub by: String,
}

impl std::fmt::Display for Removal {
    /// To be put behind `the log was` or `its files were`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "removed on {} by {}", self.at, self.by)
    }
}

/// The highest numbers of tasks that are forgotten: they are not given out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForgottenRecord {
    /// The highest [`TaskRecord::order`].
    pub order: u64,
    /// The highest [`TaskId::number`]; `None` if none of them had one.
    pub task_number: Option<u64>,
}

/// A container that an unregistered worker must still stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopOrder {
    /// Which.
    pub attempt: AttemptId,
    /// Where.
    pub worker: WorkerId,
    /// Where that worker is dialled.
    pub address: WorkerAddress,
    /// The registration whose token that worker has.
    pub registration: u64,
}
