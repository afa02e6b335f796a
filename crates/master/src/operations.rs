//! What can be asked of this master: its side of [`Operator`].
//!
//! A submit, a cancel or a registration goes through the core and is answered when it is flushed;
//! readers get the snapshot and the store, and wait for nobody.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use async_trait::async_trait;
use cloudai_core::{
    Answer, CancelError, CancelOutcome, Event, Input, Snapshot, SubmitError, Submitted, TaskClass,
    explain::{Explanation, Outlook, explain},
};
use cloudai_files::{
    log::{Decoder, Frame, LogFollower, LogStore},
    output::OutputStore,
};
use cloudai_model::{
    AttemptId, Now, TaskDraft, TaskId, TaskStatus, UserName, WorkerAddress, WorkerId,
    record::{FilesRecord, TaskRecord},
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

/// How many waiting tasks one look at the queue sorts at the most.
const LONGEST_QUEUE_LOOK: usize = 10_000;
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
        let (task, spec) = draft.check()?;
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
        let record = added?;
        let master_address = self.workers.address_towards(&record.address).await;
        Ok(Registered {
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
        let mut query = TaskQuery::newest(LONGEST_QUEUE_LOOK);
        query.statuses.insert(TaskStatus::Queued);
        let mut records = self.store.tasks(&query).await.map_err(read_failure)?;
        records.sort_by_key(|record| (std::cmp::Reverse(record.spec.priority), record.order));
        let waiting = records.into_iter().take(limit).enumerate();
        Ok(waiting
            .map(|(index, record)| QueueEntry {
                position: index + 1,
                why: self.why_waiting(&record),
                record,
            })
            .collect())
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
        let record = self.store.task(&attempt.task).await.map_err(read_failure)?;
        let is_live = record.is_some_and(|record| {
            record.state.attempt == attempt.number
                && !record.state.status.is_final()
                && record.state.status != TaskStatus::Queued
        });
        let (logs, attempt) = (self.logs.clone(), attempt.clone());
        // Opening reads a log through once: not on the threads that serve calls.
        let follower = tokio::task::spawn_blocking(move || {
            if is_live {
                // Without an open writer a follower would take what is there for the whole.
                logs.writer(&attempt)?;
            } else if !logs.path(&attempt).exists() {
                // It never wrote anything: its log is empty, and complete.
                logs.writer(&attempt)?;
                logs.close(&attempt)?;
            }
            logs.follow(&attempt, offset)
        });
        Ok(follower.await.expect("opening a log does not panic")?)
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

fn read_failure(error: ReadError) -> ReadFailure {
    ReadFailure(Box::new(error))
}

/// Each input is answered in its own kind; the core's tests hold it to that.
fn mixed_up(answer: &Answer) -> ! {
    unreachable!("an answer of another kind: {answer:?}")
}
