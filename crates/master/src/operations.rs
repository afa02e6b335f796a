//! What can be asked of this master: its side of [`Operator`].
//!
//! A submit, a cancel or a registration goes through the core and is answered when it is flushed;
//! readers get the snapshot and the store, and wait for nobody.

mod counting;
mod files;
mod logs;
mod submit;
mod submit_keys;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use cloudai_core::{
    AddWorkerError, Answer, CancelError, CancelOutcome, ChangeError, ChangeOutcome, Event, Input,
    Snapshot, Submitted, Taken, Which,
    inspect::{Inspection, Mended},
    registry::AlreadyRegistered,
};
use cloudai_files::{log::LogStore, output::OutputStore};
use cloudai_metrics::{
    HttpMetrics, Metrics,
    history::{History, Point, Resolution},
};
use cloudai_model::{
    Allowed, AttemptId, ChangeDraft, Now, SubmitKey, TaskDraft, TaskId, TaskStatus, UserName, Wall,
    WorkerAddress, WorkerId,
    record::{AssignmentRecord, Removed, TaskRecord, WorkerRecord},
};
use cloudai_operator::{
    About, CancelFailure, ChangeFailure, Degraded, Disks, DownloadFailure, DownloadProgress,
    Downloaded, DrainFailure, ExplainFailure, FilesFailure, FilesFilter, FrameSource,
    InspectFailure, LeftFiles, LogFailure, LogPart, MendFailure, NoAnswer, OpenFiles, Operator,
    PlaceFailure, QueueEntry, ReadFailure, RegisterFailure, Registered, RemoveFilesFailure,
    Standing, SubmitFailure, SubmitManyFailure, TaskFiles, TaskFilter, TaskView, UnregisterFailure,
};
use cloudai_store::{JournaledStore, ReadError, Store, TaskQuery};
use tokio::sync::{broadcast, watch};

pub use self::submit_keys::SubmitKeys;
use self::waiting::why;
use crate::{
    core_loop::{CoreHandle, Stopped},
    intake::Intake,
    live::LiveTasks,
    retention::Kept,
    room::Room,
    snapshot::Snapshots,
    token::{Tokens, random_registration},
    workers::Workers,
};

/// The master, as its front ends see it.
pub struct Master {
    /// The core.
    pub core: CoreHandle,
    /// What is stored.
    pub store: Arc<dyn Store>,
    /// The same, if its database may be out of reach.
    pub journaled: Option<Journaled>,
    /// What is live.
    pub live: LiveTasks,
    /// The registry as of the last flush.
    pub snapshots: Snapshots,
    /// Tasks' logs.
    pub logs: Arc<LogStore>,
    /// Tasks' files.
    pub files: Arc<OutputStore>,
    /// Calls to workers.
    pub workers: Arc<Workers>,
    /// Worker tokens.
    pub tokens: Tokens,
    /// What tasks may use of the engines by name.
    pub allowed: Allowed,
    /// Room on the disks.
    pub room: Room,
    /// What retention keeps and removed.
    pub kept: Kept,
    /// What is counted.
    pub metrics: Metrics,
    /// What workers used.
    pub history: Arc<History>,
    /// News.
    pub events: broadcast::Sender<Event>,
    /// What is listened on: a name, and the address.
    pub services: Vec<(String, String)>,
    /// Submits under keys, one at a time.
    pub submit_keys: SubmitKeys,
}

/// A store whose database may be out of reach, and what is submitted before it has been read.
pub struct Journaled {
    /// The store.
    pub store: Arc<JournaledStore>,
    /// The submits.
    pub intake: Arc<Intake>,
}

#[async_trait]
impl Operator for Master {
    fn now(&self) -> Now {
        cloudai_clock::now()
    }

    fn about(&self) -> About {
        About {
            version: crate::VERSION.to_owned(),
            store: self.store.describe(),
            services: self.services.clone(),
        }
    }

    fn degraded(&self) -> Option<Degraded> {
        self.journaled.as_ref()?.store.degraded()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.latest()
    }

    fn disks(&self) -> Disks {
        let sizes = self.store.disk_files().into_iter();
        let sizes = sizes.filter_map(|file| Some(std::fs::metadata(file).ok()?.len()));
        Disks {
            disks: self.room.disks(),
            store_bytes: sizes.reduce(|one, other| one + other),
            held_up: self.room.held_up(),
            ..self.kept.told()
        }
    }

    fn history(
        &self,
        worker: &WorkerId,
        resolution: Resolution,
        since: Option<Wall>,
    ) -> Option<Vec<Point>> {
        self.used_by(worker, resolution, since)
    }

    fn metrics(&self) -> String {
        self.metrics_text()
    }

    fn http_metrics(&self) -> HttpMetrics {
        self.metrics.http().clone()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn submit(&self, draft: TaskDraft) -> Result<Submitted, SubmitFailure> {
        self.take_in(draft).await
    }

    async fn submit_many(&self, drafts: Vec<TaskDraft>) -> Result<Vec<Taken>, SubmitManyFailure> {
        self.take_all_in(drafts).await
    }

    async fn submitted_before(
        &self,
        user: &UserName,
        key: &SubmitKey,
    ) -> Result<Vec<TaskId>, SubmitFailure> {
        Ok(self.submitted_under(user, key).await?)
    }

    async fn cancel(&self, task: &TaskId) -> Result<CancelOutcome, CancelFailure> {
        if let Some(journaled) = &self.journaled {
            let cancelled = journaled.intake.cancel(task).await;
            if cancelled.map_err(|error| ReadFailure(Box::new(error)))? {
                return Ok(CancelOutcome::Cancelled);
            }
        }
        let wanted = task.clone();
        let answer = self
            .call(|call| Input::Cancel { call, task: wanted })
            .await?;
        let Answer::Cancelled(outcome) = answer else {
            mixed_up(&answer)
        };
        match outcome {
            Ok(outcome) => Ok(outcome),
            Err(CancelError::NotReady(error)) => Err(error.into()),
            Err(CancelError::NotLive(task)) => {
                match self.store.task(&task).await.map_err(read_failure)? {
                    Some(record) => Err(CancelFailure::Final(task, record.state.status)),
                    None => Err(CancelFailure::Unknown(task)),
                }
            }
        }
    }

    async fn change(
        &self,
        task: &TaskId,
        change: ChangeDraft,
    ) -> Result<ChangeOutcome, ChangeFailure> {
        let (wanted, change) = (task.clone(), change.check()?);
        let input = move |call| Input::Change {
            call,
            task: wanted,
            change,
        };
        let answer = self.call(input).await?;
        let Answer::Changed(outcome) = answer else {
            mixed_up(&answer)
        };
        match outcome {
            Err(ChangeError::NotLive(task)) => {
                match self.store.task(&task).await.map_err(read_failure)? {
                    Some(record) => Err(ChangeFailure::Final(task, record.state.status)),
                    None => Err(ChangeFailure::Unknown(task)),
                }
            }
            outcome => Ok(outcome?),
        }
    }

    async fn place(&self, task: TaskId, worker: WorkerId) -> Result<AttemptId, PlaceFailure> {
        let answer = self
            .call(|call| Input::Place { call, task, worker })
            .await?;
        let Answer::Placed(placed) = answer else {
            mixed_up(&answer)
        };
        Ok(placed?)
    }

    async fn register(
        &self,
        worker: WorkerId,
        address: WorkerAddress,
    ) -> Result<Registered, RegisterFailure> {
        let registration = random_registration().map_err(RegisterFailure::Random)?;
        let at = address.clone();
        let input = move |call| Input::AddWorker {
            call,
            worker,
            address,
            registration,
        };
        let answer = self.call(input).await?;
        let Answer::WorkerAdded(added) = answer else {
            mixed_up(&answer)
        };
        let (record, already) = match added {
            Ok(record) => (record, false),
            Err(AddWorkerError::AlreadyRegistered(known)) => (self.known_at(known, &at)?, true),
            Err(error) => return Err(error.into()),
        };
        let master_address = self.workers.address_towards(&record.address).await;
        Ok(Registered {
            already,
            token: self.tokens.of(&record.worker, record.registration),
            // A name that this machine can't look up yet says nothing of the way back.
            master_address: master_address.unwrap_or_else(|_| self.workers.any_address()),
            record,
        })
    }

    async fn unregister(&self, worker: &WorkerId) -> Result<Vec<AttemptId>, UnregisterFailure> {
        let worker = worker.clone();
        let answer = self
            .call(|call| Input::RemoveWorker { call, worker })
            .await?;
        let Answer::WorkerRemoved(removed) = answer else {
            mixed_up(&answer)
        };
        Ok(removed?)
    }

    async fn drain(
        &self,
        worker: &WorkerId,
        draining: bool,
    ) -> Result<Vec<AttemptId>, DrainFailure> {
        let worker = worker.clone();
        let input = move |call| Input::Drain {
            call,
            worker,
            draining,
        };
        let answer = self.call(input).await?;
        let Answer::Drained(left) = answer else {
            mixed_up(&answer)
        };
        Ok(left?)
    }

    async fn inspect(&self) -> Result<Inspection, InspectFailure> {
        let answer = self.call(|call| Input::Inspect { call }).await?;
        let Answer::Inspected(inspection) = answer else {
            mixed_up(&answer)
        };
        Ok(inspection?)
    }

    async fn mend(&self) -> Result<Vec<Mended>, MendFailure> {
        let answer = self.call(|call| Input::Mend { call }).await?;
        let Answer::Mended(mended) = answer else {
            mixed_up(&answer)
        };
        Ok(mended?)
    }

    async fn counts(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadFailure> {
        self.store.count_by_status().await.map_err(read_failure)
    }

    async fn task(&self, task: &TaskId) -> Result<Option<TaskView>, ReadFailure> {
        let accepted = || self.journaled.as_ref()?.intake.task(task);
        let whole = match self.store.whole_task(task).await {
            Ok(Some(whole)) => whole,
            Ok(None) | Err(ReadError::OutOfReach { .. }) if accepted().is_some() => {
                return Ok(accepted().map(|record| TaskView {
                    record,
                    result: None,
                    removed: Removed::default(),
                }));
            }
            Ok(None) => return Ok(None),
            Err(error) => return Err(read_failure(error)),
        };
        Ok(Some(TaskView {
            record: self.brought_up_to_date(whole.record, &mut self.reasons()),
            result: whole.result,
            removed: whole.removed,
        }))
    }

    async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskRecord>, ReadFailure> {
        let query = TaskQuery {
            statuses: filter.statuses.clone(),
            user: filter.user.clone(),
            worker: filter.worker.clone(),
            before: filter.before,
            limit: filter.limit,
        };
        let stored = match (self.store.tasks(&query).await, &self.journaled) {
            (Err(ReadError::OutOfReach { .. }), Some(journaled)) => {
                journaled.store.journaled_tasks(&query).await
            }
            (stored, _) => stored,
        };
        let stored = stored.map_err(read_failure)?.into_iter();
        let mut reasons = self.reasons();
        let stored = stored.map(|record| self.brought_up_to_date(record, &mut reasons));
        Ok(self.with_accepted(stored.collect(), filter))
    }

    async fn queue(&self, limit: usize) -> Result<Vec<QueueEntry>, ReadFailure> {
        if let Some(journaled) = self.unread() {
            return Ok(journaled.intake.queue(limit));
        }
        let which = Which::First(limit);
        let answer = self.call(|call| Input::WhyWaiting { call, which }).await;
        let answer = answer.map_err(|error| ReadFailure(Box::new(error)))?;
        let Answer::Waiting(waiting) = answer else {
            mixed_up(&answer)
        };
        let waiting = waiting.map_err(|error| ReadFailure(Box::new(error)))?;
        let mut entries = Vec::with_capacity(waiting.len());
        for entry in waiting {
            // One that was started meanwhile waits no more.
            let record = match self.store.task(&entry.task).await {
                // What it is lies only there; how many there are the snapshot says.
                Err(ReadError::OutOfReach { .. }) => continue,
                record => record.map_err(read_failure)?,
            };
            if let Some(record) = record.filter(|record| record.state.status == TaskStatus::Queued)
            {
                entries.push(QueueEntry {
                    position: entry.position,
                    why: why(entry.cause, &record),
                    record,
                });
            }
        }
        Ok(entries)
    }

    async fn explain(&self, task: &TaskId) -> Result<Standing, ExplainFailure> {
        let unknown = || ExplainFailure::Unknown(task.clone());
        if let Some(journaled) = &self.journaled
            && let Some(entry) = journaled.intake.queued(task)
        {
            let workers = Vec::new();
            let entry = Box::new(entry);
            return Ok(Standing::Waiting { entry, workers });
        }
        // As stored: the reason for a pause after a failure must not be laid over.
        let record = self.store.task(task).await.map_err(read_failure)?;
        let record = record.ok_or_else(unknown)?;
        if record.state.status == TaskStatus::Queued {
            let which = Which::One(task.clone());
            let answer = self.call(|call| Input::WhyWaiting { call, which }).await?;
            let Answer::Waiting(waiting) = answer else {
                mixed_up(&answer)
            };
            // None: it was started since it was read.
            if let Some(entry) = waiting?.pop() {
                return Ok(self.standing_of_waiting(entry, record));
            }
        }
        let view = self.task(task).await?;
        let view = view.ok_or_else(unknown)?;
        let attempts = self.store.assignments(task).await.map_err(read_failure)?;
        Ok(Standing::Given {
            view: Box::new(view),
            assigned_at: attempts.last().map(|last| last.assigned_at),
        })
    }

    async fn attempts(&self, task: &TaskId) -> Result<Vec<AssignmentRecord>, ReadFailure> {
        self.store.assignments(task).await.map_err(read_failure)
    }

    async fn read_log(
        &self,
        attempt: &AttemptId,
        part: LogPart,
    ) -> Result<Box<dyn FrameSource>, LogFailure> {
        self.log_part(attempt, part).await
    }

    async fn files_of_user(&self, filter: &FilesFilter) -> Result<Vec<LeftFiles>, ReadFailure> {
        self.files_left(filter).await
    }

    async fn task_files(&self, task: &TaskId, user: &UserName) -> Result<TaskFiles, FilesFailure> {
        self.files_of_task(task, user).await
    }

    async fn open_files(&self, task: &TaskId, user: &UserName) -> Result<OpenFiles, FilesFailure> {
        self.files_to_read(task, user).await
    }

    async fn remove_files(
        &self,
        task: &TaskId,
        user: &UserName,
        by: &str,
    ) -> Result<(), RemoveFilesFailure> {
        self.remove_files_of(task, user, by).await
    }

    async fn download(
        &self,
        task: &TaskId,
        user: &UserName,
        destination: &Path,
        progress: watch::Sender<DownloadProgress>,
    ) -> Result<Downloaded, DownloadFailure> {
        self.copy_files(task, user, destination, progress).await
    }
}

impl Master {
    async fn call(
        &self,
        input: impl FnOnce(cloudai_core::Call) -> Input + Send + 'static,
    ) -> Result<Answer, NoAnswer> {
        self.answers()?;
        let answer = self.core.call(input).await;
        answer.map_err(|Stopped| NoAnswer::ShuttingDown)
    }

    /// Whether the core would answer in some time.
    fn answers(&self) -> Result<(), NoAnswer> {
        self.store_is_read()?;
        // Its answer would wait as long as the store does.
        let waits = self.room.store_waits();
        waits.map_or(Ok(()), |why| Err(NoAnswer::StoreWaits(why)))
    }

    /// The store, while it has not been read because its database is out of reach.
    fn unread(&self) -> Option<&Journaled> {
        let journaled = self.journaled.as_ref()?;
        let unread = !self.snapshots.latest().ready && journaled.store.degraded().is_some();
        unread.then_some(journaled)
    }

    /// Without the store nobody knows what there is to change.
    fn store_is_read(&self) -> Result<(), NoAnswer> {
        let unread = self.unread().and_then(|_| self.degraded());
        unread.map_or(Ok(()), |degraded| {
            Err(NoAnswer::StoreUnread(Box::new(degraded)))
        })
    }

    /// Lays what was accepted before the store was read before what is stored.
    fn with_accepted(&self, stored: Vec<TaskRecord>, filter: &TaskFilter) -> Vec<TaskRecord> {
        let Some(journaled) = &self.journaled else {
            return stored;
        };
        // They are newer than all that is stored, and no worker has one.
        if filter.before.is_some() || filter.worker.is_some() {
            return stored;
        }
        // One that has just been handed over is in both.
        let known: BTreeSet<_> = stored.iter().map(|task| &task.task).collect();
        let fits = |task: &TaskId, user: &UserName, status| {
            (filter.statuses.is_empty() || filter.statuses.contains(&status))
                && filter.user.as_ref().is_none_or(|wanted| wanted == user)
                && !known.contains(task)
        };
        let mut tasks = journaled.intake.newest_first(filter.limit, fits);
        tasks.extend(stored);
        tasks.truncate(filter.limit);
        tasks
    }

    /// The record of a worker that is registered at this address already.
    fn known_at(
        &self,
        known: AlreadyRegistered,
        address: &WorkerAddress,
    ) -> Result<WorkerRecord, RegisterFailure> {
        let snapshot = self.snapshots.latest();
        match snapshot.workers.get(&known.0) {
            Some(worker) if worker.address == *address => Ok(worker.to_record()),
            Some(worker) => Err(RegisterFailure::Elsewhere {
                worker: known.0,
                address: worker.address.clone(),
            }),
            // It was unregistered in this moment.
            None => Err(AddWorkerError::AlreadyRegistered(known).into()),
        }
    }
}

fn read_failure(error: ReadError) -> ReadFailure {
    ReadFailure(Box::new(error))
}

/// Each input is answered in its own kind; the core's tests hold it to that.
fn mixed_up(answer: &Answer) -> ! {
    unreachable!("an answer of another kind: {answer:?}")
}

#[cfg(test)]
mod tests;
