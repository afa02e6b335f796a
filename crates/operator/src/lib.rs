//! What can be asked of a master, whoever asks: the console and the servers of the master are thin
//! over this trait, and tests may fake it.
//!
//! One error type for each operation. Its text, followed by its causes, is what the caller reads.

mod disks;
mod error;
mod files;
mod logs;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use cloudai_core::{
    CancelOutcome, ChangeOutcome, Event, Snapshot, Submitted, Taken,
    explain::{Explanation, Obstacle},
    inspect::{Inspection, Mended},
};
use cloudai_files::output::CopySummary;
use cloudai_model::{
    AttemptId, ChangeDraft, Now, SubmitKey, TaskDraft, TaskId, TaskStatus, UserName, Wall, Whole,
    WorkerAddress, WorkerId,
    record::{
        AssignmentRecord, FileRecord, FilesRecord, Removal, Removed, ResultRecord, TaskRecord,
        WorkerRecord,
    },
};
use tokio::sync::{broadcast, watch};

pub use cloudai_metrics::{
    HttpMetrics,
    history::{Point, Resolution},
};
pub use cloudai_model::Degraded;
pub use disks::{Disk, Disks, KeptBytes, Sweep};
pub use error::{
    CancelFailure, ChangeFailure, DownloadFailure, DrainFailure, ExplainFailure, FilesFailure,
    InspectFailure, KeyReused, LogFailure, MendFailure, NoAnswer, PlaceFailure, ReadFailure,
    RegisterFailure, RemoveFilesFailure, SubmitFailure, SubmitManyFailure, UnregisterFailure,
    with_causes,
};
pub use files::OpenFiles;
pub use logs::{FrameSource, LogFrames, LogPart, LogStart};

/// So many tasks are taken in one submit.
pub const MOST_AT_ONCE: usize = 10_000;

/// The master, as its front ends see it.
#[async_trait]
pub trait Operator: Send + Sync {
    /// Both clocks.
    fn now(&self) -> Now;

    /// What does not change while the master runs.
    fn about(&self) -> About;

    /// How the store is out of reach; `None` while all is well. Never waits.
    fn degraded(&self) -> Option<Degraded>;

    /// The cluster as it was a moment ago. Never waits.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// What the disks hold and have room for, as of a moment ago. Never waits.
    fn disks(&self) -> Disks;

    /// What a worker's machine used, one point for each span in which it said so, from the span on
    /// that holds `since`; `None`: there is no such worker. Never waits.
    fn history(
        &self,
        worker: &WorkerId,
        resolution: Resolution,
        since: Option<Wall>,
    ) -> Option<Vec<Point>>;

    /// Everything that the master counts, as Prometheus reads it. Never waits.
    fn metrics(&self) -> String;

    /// Where the HTTP server counts.
    fn http_metrics(&self) -> HttpMetrics;

    /// What happens from now on. Losing some of it loses nothing but news.
    fn events(&self) -> broadcast::Receiver<Event>;

    /// Checks and keeps a task.
    ///
    /// A draft with a `submit_key` under which the same user submitted the same body less than 24
    /// hours ago is answered with that task, as it stands now, and nothing is kept anew; one with
    /// another body is refused.
    async fn submit(&self, draft: TaskDraft) -> Result<Submitted, SubmitFailure>;

    /// Checks and keeps several tasks, all or none: they are one commit, and no task of them is
    /// placed, or seen, before all are kept. The answers are in the order of the drafts.
    ///
    /// The `submit_key`s of a batch are alike but for their indexes, from 0; they hold for the batch
    /// as a whole, as that of [`Self::submit`] does for its task. A batch is counted as a whole
    /// against the limits of the queue and of its users.
    async fn submit_many(&self, drafts: Vec<TaskDraft>) -> Result<Vec<Taken>, SubmitManyFailure>;

    /// The tasks that a user submitted under a key less than 24 hours ago, with a body that has the key's
    /// digest; none: it is new. They stay taken, whatever would be said of the same body now.
    async fn submitted_before(
        &self,
        user: &UserName,
        key: &SubmitKey,
    ) -> Result<Vec<TaskId>, SubmitFailure>;

    /// Asks for a task's end.
    async fn cancel(&self, task: &TaskId) -> Result<CancelOutcome, CancelFailure>;

    /// Changes something of a task that has not ended.
    async fn change(
        &self,
        task: &TaskId,
        change: ChangeDraft,
    ) -> Result<ChangeOutcome, ChangeFailure>;

    /// Places a waiting task where an agent wants it.
    async fn place(&self, task: TaskId, worker: WorkerId) -> Result<AttemptId, PlaceFailure>;

    /// Makes a worker known. One that is known at this address already stays as it is.
    async fn register(
        &self,
        worker: WorkerId,
        address: WorkerAddress,
    ) -> Result<Registered, RegisterFailure>;

    /// Forgets a worker; answers the attempts that were taken from it.
    async fn unregister(&self, worker: &WorkerId) -> Result<Vec<AttemptId>, UnregisterFailure>;

    /// Gives a worker nothing new from now on, or lets it have tasks again, also one that was set
    /// aside; answers the attempts that it still has to run.
    async fn drain(
        &self,
        worker: &WorkerId,
        draining: bool,
    ) -> Result<Vec<AttemptId>, DrainFailure>;

    /// What is promised and what workers last said, side by side.
    async fn inspect(&self) -> Result<Inspection, InspectFailure>;

    /// Puts right what can be of the differences; answers every one, and what was done about it.
    async fn mend(&self) -> Result<Vec<Mended>, MendFailure>;

    /// How many tasks there are in each status; a status without any may be missing.
    async fn counts(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadFailure>;

    /// A task, its state as it is now: phase and reason are those of the live task.
    async fn task(&self, task: &TaskId) -> Result<Option<TaskView>, ReadFailure>;

    /// Tasks, the newest first.
    async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskRecord>, ReadFailure>;

    /// The first `limit` of the waiting, in order, and why each waits.
    async fn queue(&self, limit: usize) -> Result<Vec<QueueEntry>, ReadFailure>;

    /// Why a task waits, or else where it stands.
    async fn explain(&self, task: &TaskId) -> Result<Standing, ExplainFailure>;

    /// A task's attempts, by number.
    async fn attempts(&self, task: &TaskId) -> Result<Vec<AssignmentRecord>, ReadFailure>;

    /// The log of an attempt from its first byte to its end, live. Ends when nothing more of that
    /// attempt's log will come, and at once if there is none of it. One that was removed is an error
    /// that says so.
    async fn follow_log(&self, attempt: &AttemptId) -> Result<Box<dyn FrameSource>, LogFailure> {
        self.read_log(attempt, LogPart::WHOLE).await
    }

    /// A part of the log of an attempt; otherwise as [`Self::follow_log`].
    async fn read_log(
        &self,
        attempt: &AttemptId,
        part: LogPart,
    ) -> Result<Box<dyn FrameSource>, LogFailure>;

    /// The output files of a user's tasks, the newest task first.
    async fn files_of_user(&self, filter: &FilesFilter) -> Result<Vec<LeftFiles>, ReadFailure>;

    /// The output files of one task of `user`.
    async fn task_files(&self, task: &TaskId, user: &UserName) -> Result<TaskFiles, FilesFailure>;

    /// The same, to be read one by one. Retention leaves them for as long as this is held.
    async fn open_files(&self, task: &TaskId, user: &UserName) -> Result<OpenFiles, FilesFailure>;

    /// Removes the output files of an ended task of `user`. That they were, when and `by` whom, is
    /// written down first, and is what is told of them from then on; whoever reads them just now
    /// reads on, and they go when that has ended.
    async fn remove_files(
        &self,
        task: &TaskId,
        user: &UserName,
        by: &str,
    ) -> Result<(), RemoveFilesFailure>;

    /// Copies the task's output files of `user` into the folder `destination`, which is made if
    /// need be. Checksums are verified; a file that is there and differs is not overwritten. How
    /// far it is can be watched meanwhile.
    async fn download(
        &self,
        task: &TaskId,
        user: &UserName,
        destination: &Path,
        progress: watch::Sender<DownloadProgress>,
    ) -> Result<Downloaded, DownloadFailure>;
}

/// What does not change while the master runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The program's version.
    pub version: String,
    /// The store, such as `sqlite ./cloudai-data/cloudai.db`.
    pub store: String,
    /// What is listened on: a name such as `gRPC`, and the address.
    pub services: Vec<(String, String)>,
}

/// A worker is known now.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// What is kept.
    pub record: WorkerRecord,
    /// Whether it was so before.
    pub already: bool,
    /// What it shows to be let in from another machine.
    pub token: String,
    /// Where it finds this master, `host:port`.
    pub master_address: String,
}

/// A task and, once it is final, its result.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    /// The task.
    pub record: TaskRecord,
    /// Its result.
    pub result: Option<ResultRecord>,
    /// What was removed of what it left.
    pub removed: Removed,
}

/// Which tasks are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// In one of these; empty: in any.
    pub statuses: BTreeSet<TaskStatus>,
    /// Of this user alone.
    pub user: Option<UserName>,
    /// Whose last attempt was given to this worker.
    pub worker: Option<WorkerId>,
    /// Submitted before the one of this [`TaskRecord::order`]: where the page before ended.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Whose output files are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesFilter {
    /// This user's.
    pub user: UserName,
    /// Of tasks submitted before the one of this [`TaskRecord::order`]: where the page before ended.
    pub before: Option<u64>,
    /// Of so many tasks at most.
    pub limit: usize,
}

/// A waiting task.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueEntry {
    /// Its place, from 1.
    pub position: usize,
    /// The task.
    pub record: TaskRecord,
    /// Why it waits.
    pub why: Explanation,
}

/// Where a task stands, as `explain` tells it.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It waits.
    Waiting {
        /// Its place, and why it waits.
        entry: Box<QueueEntry>,
        /// Everything that stands against it, worker by worker; nothing: it fits there.
        workers: Vec<(WorkerId, Vec<Obstacle>)>,
    },
    /// A worker has it, or it has ended.
    Given {
        /// The task.
        view: Box<TaskView>,
        /// When its last attempt was sent; `None` if it never had one.
        assigned_at: Option<Wall>,
    },
}

/// That a task left files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftFiles {
    /// The task's [`TaskRecord::order`].
    pub order: u64,
    /// What is known of them; without the files themselves if they were removed.
    pub record: FilesRecord,
    /// Whether they were.
    pub removed: Option<Removal>,
}

/// What a task left in `/output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFiles {
    /// The files, by path.
    pub files: Vec<FileRecord>,
    /// Whether these are all of them.
    pub whole: Whole,
    /// Whether there were some that were removed.
    pub removed: Option<Removal>,
}

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DownloadProgress {
    /// The file being copied.
    pub path: String,
    /// Bytes of all files so far.
    pub done_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
}

/// What a download brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// What there was to bring.
    pub left: TaskFiles,
    /// How many of the files were written, and how many were there already.
    pub summary: CopySummary,
}
