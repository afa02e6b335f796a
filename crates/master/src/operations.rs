//! What can be asked of this master: its side of [`Operator`].
//!
//! A submit, a cancel or a registration goes through the core and is answered when it is flushed;
//! readers get the snapshot and the store, and wait for nobody.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use async_trait::async_trait;
use cloudai_core::{
    AddWorkerError, Answer, CancelError, CancelOutcome, Event, Input, Snapshot, SubmitError,
    Submitted, TaskClass, WaitCause, Which,
    explain::{Explanation, Outlook, explain},
    registry::AlreadyRegistered,
};
use cloudai_files::{
    log::{Decoder, Frame, LogFollower, LogStore},
    output::OutputStore,
};
use cloudai_model::{
    Allowed, AttemptId, Now, TaskDraft, TaskId, TaskStatus, UserName, WorkerAddress, WorkerId,
    record::{FilesRecord, TaskRecord, WorkerRecord},
};
use cloudai_operator::{
    About, CancelFailure, DownloadFailure, Downloaded, FrameSource, LogFailure, Operator,
    PlaceFailure, QueueEntry, ReadFailure, RegisterFailure, Registered, ShuttingDown,
    SubmitFailure, TaskFilter, TaskView, UnregisterFailure,
};
use cloudai_store::{ReadError, Store, TaskQuery};
use tokio::sync::broadcast;

use crate::{
    core_loop::{CoreHandle, Stopped},
    live::LiveTasks,
    snapshot::Snapshots,
    token::{Tokens, random_registration},
    workers::Workers,
};

/// Log bytes read at a time.
const LOG_PIECE: usize = 64 << 10;

/// The master, as its front ends see it.
pub struct Master {
    /// The core.
    pub core: CoreHandle,
    /// What is stored.
    pub store: Arc<dyn Store>,
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
    /// News.
    pub events: broadcast::Sender<Event>,
    /// What is listened on: a name, and the address.
    pub services: Vec<(String, String)>,
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

    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.latest()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn submit(&self, draft: TaskDraft) -> Result<Submitted, SubmitFailure> {
        let (task, spec) = draft.check_allowed(&self.allowed)?;
        if let Some(task) = &task
            && self.store.task(task).await.map_err(read_failure)?.is_some()
        {
            return Err(SubmitError::IdTaken(task.clone()).into());
        }
        let spec = Arc::new(spec);
        let answer = self.call(|call| Input::Submit { call, task, spec }).await?;
        let Answer::Submitted(submitted) = answer else {
            mixed_up(&answer)
        };
        Ok(submitted?)
    }

    async fn cancel(&self, task: &TaskId) -> Result<CancelOutcome, CancelFailure> {
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

    async fn counts(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadFailure> {
        self.store.count_by_status().await.map_err(read_failure)
    }

    async fn task(&self, task: &TaskId) -> Result<Option<TaskView>, ReadFailure> {
        let Some(record) = self.store.task(task).await.map_err(read_failure)? else {
            return Ok(None);
        };
        let result = self.store.result(task).await.map_err(read_failure)?;
        Ok(Some(TaskView {
            record: self.brought_up_to_date(record),
            result,
        }))
    }

    async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskRecord>, ReadFailure> {
        let query = TaskQuery {
            statuses: filter.status.into_iter().collect(),
            user: filter.user.clone(),
            ..TaskQuery::newest(filter.limit)
        };
        let records = self.store.tasks(&query).await.map_err(read_failure)?;
        Ok(records
            .into_iter()
            .map(|record| self.brought_up_to_date(record))
            .collect())
    }

    async fn queue(&self, limit: usize) -> Result<Vec<QueueEntry>, ReadFailure> {
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
            let record = self.store.task(&entry.task).await.map_err(read_failure)?;
            if let Some(record) = record.filter(|record| record.state.status == TaskStatus::Queued)
            {
                entries.push(QueueEntry {
                    position: entry.position,
                    why: why(entry.cause, &record.state.reason),
                    record,
                });
            }
        }
        Ok(entries)
    }

    async fn follow_log(&self, attempt: &AttemptId) -> Result<Box<dyn FrameSource>, LogFailure> {
        let follower = self.log_from(attempt, 0).await?;
        Ok(Box::new(FramesOf {
            follower,
            decoder: Decoder::new(),
        }))
    }

    async fn download(
        &self,
        task: &TaskId,
        user: &UserName,
        destination: &Path,
    ) -> Result<Downloaded, DownloadFailure> {
        let record = self.store.task(task).await.map_err(read_failure)?;
        let record = record
            .filter(|record| record.spec.user == *user)
            .ok_or_else(|| DownloadFailure::Unknown {
                task: task.clone(),
                user: user.clone(),
            })?;
        let files = self.store.files(task).await.map_err(read_failure)?;
        let status = record.state.status;
        let of_last = |files: &FilesRecord| files.attempt.number == record.state.attempt;
        let files = match files.filter(of_last) {
            Some(stored) => stored.files,
            None if status.is_final() => Vec::new(),
            None => {
                return Err(DownloadFailure::NotFinal {
                    task: task.clone(),
                    status,
                });
            }
        };
        let (store, destination) = (self.files.clone(), destination.to_owned());
        let (user, task) = (user.clone(), task.clone());
        let copied = tokio::task::spawn_blocking(move || {
            let summary = store.copy_out(&user, &task, &files, &destination, |_| {})?;
            Ok(Downloaded { files, summary })
        });
        copied
            .await
            .expect("copying does not panic")
            .map_err(DownloadFailure::Copy)
    }
}

impl Master {
    async fn call(
        &self,
        input: impl FnOnce(cloudai_core::Call) -> Input + Send + 'static,
    ) -> Result<Answer, ShuttingDown> {
        self.core.call(input).await.map_err(|Stopped| ShuttingDown)
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

    fn why_waiting(&self, record: &TaskRecord) -> Explanation {
        let snapshot = self.snapshots.latest();
        let workers = snapshot.workers.values().map(Arc::as_ref);
        explain(
            &TaskClass::of(&record.spec),
            workers,
            cloudai_clock::now().mono,
        )
    }

    /// Lays what is live over what is stored.
    fn brought_up_to_date(&self, mut record: TaskRecord) -> TaskRecord {
        self.live.overlay(&record.task, &mut record.state);
        if record.state.status == TaskStatus::Queued {
            let why = self.why_waiting(&record);
            // It could start, and doesn't: then what was stored says why, such as a back-off.
            if why.outlook != Outlook::Now {
                record.state.reason = why.summary;
            }
        }
        record
    }

    /// Follows the framed log of an attempt from a byte on.
    ///
    /// # Errors
    /// If it can't be read.
    pub async fn log_from(
        &self,
        attempt: &AttemptId,
        offset: u64,
    ) -> Result<LogFollower, LogFailure> {
        let is_live = self.is_live(attempt).await?;
        let (logs, of) = (self.logs.clone(), attempt.clone());
        // Opening reads a log through once: not on the threads that serve calls.
        let follower = tokio::task::spawn_blocking(move || {
            if is_live {
                // Without an open writer a follower would take what is there for the whole.
                logs.writer(&of)?;
            } else if !logs.path(&of).exists() {
                // It never wrote anything: its log is empty, and complete.
                logs.writer(&of)?;
                logs.close(&of)?;
            }
            logs.follow(&of, offset)
        });
        let follower = follower.await.expect("opening a log does not panic")?;
        if is_live && !self.is_live(attempt).await? {
            // It ended meanwhile: its log may have been closed before it was opened here.
            let (logs, of) = (self.logs.clone(), attempt.clone());
            let closed = tokio::task::spawn_blocking(move || logs.close(&of)).await;
            closed.expect("closing a log does not panic")?;
        }
        Ok(follower)
    }

    /// Whether a worker has this attempt, so that more of its log may come.
    async fn is_live(&self, attempt: &AttemptId) -> Result<bool, ReadFailure> {
        let record = self.store.task(&attempt.task).await.map_err(read_failure)?;
        Ok(record.is_some_and(|record| {
            record.state.attempt == attempt.number
                && !record.state.status.is_final()
                && record.state.status != TaskStatus::Queued
        }))
    }
}

/// A log's frames as they come.
struct FramesOf {
    follower: LogFollower,
    decoder: Decoder,
}

#[async_trait]
impl FrameSource for FramesOf {
    async fn next(&mut self) -> Result<Option<Frame>, LogFailure> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            if !self.follower.wait().await {
                return Ok(None);
            }
            let bytes = self.follower.read(LOG_PIECE)?;
            self.decoder.feed(&bytes);
        }
    }
}

/// Why a task waits; `reason` is what was stored when it began to.
fn why(cause: WaitCause, reason: &str) -> Explanation {
    match cause {
        WaitCause::Room(why) => why,
        WaitCause::BackOff(left) => Explanation {
            outlook: Outlook::Later,
            verdicts: Vec::new(),
            summary: format!("{reason}; tried again in {} s", left.as_secs() + 1),
        },
    }
}

fn read_failure(error: ReadError) -> ReadFailure {
    ReadFailure(Box::new(error))
}

/// Each input is answered in its own kind; the core's tests hold it to that.
fn mixed_up(answer: &Answer) -> ! {
    unreachable!("an answer of another kind: {answer:?}")
}
