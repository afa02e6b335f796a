//! Brings workers' logs to the master's disk: one follower for each attempt that runs.
//!
//! After a break a follower goes on at the byte it has. It ends when the worker has said that the
//! log is complete, or when nobody wants it any more. While the disk has no room it waits: what it
//! doesn't read the worker keeps.

mod old_nodes;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloudai_files::log::{LogError, LogStore, OpenLog};
use cloudai_metrics::Metrics;
use cloudai_model::{AttemptId, Whole, WorkerId, resources::most_kept_bytes};
use cloudai_proto::LogPiece;
use futures_util::StreamExt as _;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::Code;
use tracing::{debug, warn};

use crate::{
    room::Room,
    specs::{SpecError, Specs},
    workers::{LogStreamError, Workers},
};

/// How long a finished attempt's report waits for the rest of its log before the worker is told
/// to report again.
const WAIT_FOR_REST: Duration = Duration::from_secs(20);
/// After so many such waits the result is taken without the rest of the log, and says so.
const MOST_WAITS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The rest of a log is not here yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{have} of {want} bytes of its log have arrived; report again in a moment{}", reason(full.as_deref()))]
pub struct LogPending {
    have: u64,
    want: u64,
    /// Why the rest waits, if it is for want of room.
    full: Option<String>,
}

fn reason(full: Option<&str>) -> String {
    full.map_or_else(String::new, |why| format!(": {why}"))
}

/// How a follower stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    Following,
    /// There was no room for the last piece. It is asked for again.
    NoRoom,
    /// The worker has said that this is all.
    Complete,
    /// The worker's copy is not the one that was followed, or it is too long.
    GivenUp(String),
}

struct Follower {
    task: JoinHandle<()>,
    progress: watch::Receiver<Progress>,
    waits: u32,
    /// How long the log was at the last wait.
    length: u64,
}

struct Shared {
    store: Arc<LogStore>,
    specs: Specs,
    workers: Arc<Workers>,
    room: Room,
    metrics: Metrics,
    followers: Mutex<HashMap<AttemptId, Follower>>,
}

/// What followers are made from.
pub struct LogFollowersSetup {
    /// Where logs are written.
    pub store: Arc<LogStore>,
    /// Specs of tasks.
    pub specs: Specs,
    /// Where logs come from.
    pub workers: Arc<Workers>,
    /// Room on the disk.
    pub room: Room,
    /// What is written is counted here.
    pub metrics: Metrics,
}

/// See the module.
#[derive(Clone)]
pub struct LogFollowers(Arc<Shared>);

impl LogFollowers {
    /// Nothing is followed yet.
    #[must_use]
    pub fn new(setup: LogFollowersSetup) -> Self {
        Self(Arc::new(Shared {
            store: setup.store,
            specs: setup.specs,
            workers: setup.workers,
            room: setup.room,
            metrics: setup.metrics,
            followers: Mutex::default(),
        }))
    }

    /// Follows an attempt's log, unless it is being followed.
    pub fn follow(&self, worker: WorkerId, attempt: AttemptId) {
        let mut followers = self
            .0
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if followers.contains_key(&attempt) {
            return;
        }
        let (told, progress) = watch::channel(Progress::Following);
        let (shared, of) = (self.0.clone(), attempt.clone());
        let task = tokio::spawn(async move { shared.bring(&worker, &of, &told).await });
        let follower = Follower {
            task,
            progress,
            waits: 0,
            length: 0,
        };
        followers.insert(attempt, follower);
    }

    /// Nothing more of this log is wanted; what has come stays. Doesn't wait.
    pub fn leave(&self, attempt: &AttemptId) {
        let (this, attempt) = (self.clone(), attempt.clone());
        tokio::spawn(async move {
            if let Err(error) = this.close(&attempt).await {
                warn!(%attempt, error = &error as &dyn std::error::Error, "log not closed");
            }
        });
    }

    /// Ends the follower, then brings what has come to the disk and tells watchers that it is all.
    async fn close(&self, attempt: &AttemptId) -> Result<(), LogError> {
        self.end_follower(attempt).await;
        let (store, attempt) = (self.0.store.clone(), attempt.clone());
        let closed = tokio::task::spawn_blocking(move || store.close(&attempt)).await;
        closed.expect("closing a log does not panic")
    }

    /// Ends the follower, then brings what has come to the disk. Watchers still wait.
    async fn make_safe(&self, attempt: &AttemptId) -> Result<(), LogError> {
        self.end_follower(attempt).await;
        if self.length(attempt) == 0 {
            return Ok(());
        }
        let log = self.0.open(attempt).await?;
        let synced = tokio::task::spawn_blocking(move || log.sync()).await;
        synced.expect("flushing a log does not panic")
    }

    async fn end_follower(&self, attempt: &AttemptId) {
        if let Some(follower) = self.take(attempt) {
            follower.task.abort();
            // Its end, or it might open the log once more.
            let _ = follower.task.await;
        }
    }

    /// Makes sure that all `length` bytes of a finished attempt's log are on this disk; with it the
    /// last `tail` bytes that the task printed. Watchers are told that it is all when the log is
    /// [left](Self::leave): not before its end is known to everyone.
    ///
    /// # Errors
    /// If they have not come, or are not safe, yet; the worker shall report again.
    pub async fn complete(
        &self,
        worker: &WorkerId,
        attempt: &AttemptId,
        length: u64,
        tail: usize,
    ) -> Result<(Whole, String), LogPending> {
        let mut given_up = None;
        if length > 0 {
            self.follow(worker.clone(), attempt.clone());
            if let Some(mut progress) = self.progress_of(attempt) {
                let over = progress.wait_for(|progress| *progress != Progress::Following);
                if let Ok(Ok(progress)) = timeout(WAIT_FOR_REST, over).await
                    && let Progress::GivenUp(why) = &*progress
                {
                    given_up = Some(why.clone());
                }
            }
        }
        let have = self.length(attempt);
        let full = self.waits_for_room(attempt);
        let pending = LogPending {
            have,
            want: length,
            full,
        };
        if pending.full.is_some() && have < length {
            // The worker has the rest, for as long as it takes.
            return Err(pending);
        }
        if given_up.is_none() && have < length && self.may_wait_again(attempt, have) {
            return Err(pending);
        }
        let tail = if have > 0 {
            self.0.tail_text(attempt, tail).await
        } else {
            Ok(String::new())
        };
        if let Err(error) = self.make_safe(attempt).await {
            warn!(%attempt, error = &error as &dyn std::error::Error, "log not flushed");
            return Err(pending);
        }
        let whole = match (given_up, &tail) {
            (Some(why), _) => Whole::Incomplete(why),
            (None, Err(error)) => Whole::Incomplete(format!("the log can't be read: {error}")),
            (None, Ok(_)) if have >= length => Whole::Complete,
            (None, Ok(_)) => {
                Whole::Incomplete(format!("{have} of {length} bytes of the log could be read"))
            }
        };
        Ok((whole, tail.unwrap_or_default()))
    }

    /// Why the rest of a log doesn't come, if it is for want of room.
    fn waits_for_room(&self, attempt: &AttemptId) -> Option<String> {
        let no_room = || {
            let progress = self.progress_of(attempt)?;
            let no_room = *progress.borrow() == Progress::NoRoom;
            no_room.then(|| "the master's disk for logs is full".to_owned())
        };
        self.0.room.logs_wait().or_else(no_room)
    }

    fn progress_of(&self, attempt: &AttemptId) -> Option<watch::Receiver<Progress>> {
        let followers = self
            .0
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let follower = followers.get(attempt)?;
        Some(follower.progress.clone())
    }

    fn length(&self, attempt: &AttemptId) -> u64 {
        match std::fs::metadata(self.0.store.path(attempt)) {
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        }
    }

    /// Only waits in which nothing came count.
    fn may_wait_again(&self, attempt: &AttemptId, have: u64) -> bool {
        let mut followers = self
            .0
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(follower) = followers.get_mut(attempt) else {
            return false;
        };
        follower.waits = if have > follower.length {
            0
        } else {
            follower.waits + 1
        };
        follower.length = have;
        follower.waits < MOST_WAITS
    }

    fn take(&self, attempt: &AttemptId) -> Option<Follower> {
        self.0
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(attempt)
    }
}

/// Why a follower stopped reading one stream.
#[derive(Debug, thiserror::Error)]
enum Break {
    #[error(transparent)]
    Stream(#[from] LogStreamError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("it is cut after {0} bytes, which is what the task's storage allows")]
    TooLong(u64),
    #[error("the worker ended the stream before the log was complete")]
    Early,
    /// An old node's text doesn't begin as what was read of it before.
    #[error("after a break {0}")]
    Unlike(&'static str),
}

impl Shared {
    async fn bring(&self, worker: &WorkerId, attempt: &AttemptId, told: &watch::Sender<Progress>) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.room.until_logs_are_taken().await;
            let before = self.open(attempt).await.map_or(0, |log| log.len());
            // That there was no room is true until something is written again.
            if *told.borrow() != Progress::NoRoom {
                told.send_replace(Progress::Following);
            }
            match self.read_stream(worker, attempt).await {
                Ok(()) => {
                    told.send_replace(Progress::Complete);
                    let here = self.open(attempt).await.map_or(0, |log| log.len());
                    // An old worker may say so of a container that it has not started yet.
                    if here > 0 || !self.workers.is_old_node(worker) {
                        return;
                    }
                }
                Err(Break::Log(error)) if error.is_no_room() => {
                    debug!(%attempt, error = &error as &dyn std::error::Error, "log waits for room");
                    self.room.found_full();
                    told.send_replace(Progress::NoRoom);
                }
                Err(Break::Log(error @ (LogError::Gap { .. } | LogError::Differs { .. }))) => {
                    // The worker's copy is not the one that was followed; what is here stays.
                    warn!(%attempt, error = &error as &dyn std::error::Error, "log given up");
                    told.send_replace(Progress::GivenUp(error.to_string()));
                    return;
                }
                Err(Break::Stream(LogStreamError::Call(status)))
                    if status.code() == Code::OutOfRange =>
                {
                    // It would be the same each time.
                    warn!(%attempt, %status, "log given up");
                    let why = format!("a piece of it is too large: {}", status.message());
                    told.send_replace(Progress::GivenUp(why));
                    return;
                }
                Err(error @ (Break::Unlike(_) | Break::TooLong(_))) => {
                    warn!(%attempt, error = &error as &dyn std::error::Error, "log given up");
                    told.send_replace(Progress::GivenUp(error.to_string()));
                    return;
                }
                Err(error) => {
                    debug!(%attempt, error = &error as &dyn std::error::Error, "log stream broke");
                }
            }
            let now = self.open(attempt).await.map_or(0, |log| log.len());
            if now > before && *told.borrow() == Progress::NoRoom {
                told.send_replace(Progress::Following);
            }
            pause = if now > before {
                FIRST_PAUSE
            } else {
                (pause * 2).min(LONGEST_PAUSE)
            };
            sleep(pause).await;
        }
    }

    /// Opens the log, which reads it through once: off the threads that serve calls.
    async fn open(&self, attempt: &AttemptId) -> Result<OpenLog, LogError> {
        let (store, of) = (self.store.clone(), attempt.clone());
        let opened = tokio::task::spawn_blocking(move || store.writer(&of)).await;
        let (log, repair) = opened.expect("opening a log does not panic")?;
        if let Some(repair) = repair.filter(|repair| repair.cut > 0) {
            debug!(%attempt, cut = repair.cut, "the log ended within a frame, going on before it");
        }
        Ok(log)
    }

    async fn tail_text(&self, attempt: &AttemptId, limit: usize) -> Result<String, LogError> {
        let log = self.open(attempt).await?;
        let read = tokio::task::spawn_blocking(move || log.tail_text(limit)).await;
        read.expect("reading a log does not panic")
    }

    async fn read_stream(&self, worker: &WorkerId, attempt: &AttemptId) -> Result<(), Break> {
        let log = self.open(attempt).await?;
        let spec = self.specs.get(&attempt.task).await?;
        let limit = most_kept_bytes(spec.resources.storage_bytes);
        let is_old = self.workers.is_old_node(worker);
        let mut stream = self.workers.log_stream(worker, attempt, log.len()).await?;
        if is_old {
            return old_nodes::take_in(
                &log,
                &self.store.path(attempt),
                stream,
                limit,
                &self.metrics,
            )
            .await;
        }
        while let Some(message) = stream.next().await {
            let message = message?;
            if let Some(LogPiece::Framed { offset, data }) = message.piece {
                check_length(&log, data.len(), limit)?;
                // The stream stands still meanwhile: the worker keeps what isn't read.
                self.room.until_logs_are_taken().await;
                append(&log, offset, data, &self.metrics).await?;
            }
            if message.is_complete {
                return Ok(());
            }
        }
        Err(Break::Early)
    }
}

/// A worker that stops its task at the storage limit never gets here.
fn check_length(log: &OpenLog, more: usize, limit: u64) -> Result<(), Break> {
    if log.len().saturating_add(more as u64) > limit {
        return Err(Break::TooLong(limit));
    }
    Ok(())
}

/// Appends off the async threads: a disk may be slow.
async fn append(
    log: &OpenLog,
    offset: u64,
    data: bytes::Bytes,
    metrics: &Metrics,
) -> Result<(), LogError> {
    let (log, metrics) = (log.clone(), metrics.clone());
    let appended = tokio::task::spawn_blocking(move || {
        let before = log.len();
        let length = log.append_at(offset, &data)?;
        metrics.log_written(length.saturating_sub(before));
        Ok(())
    });
    appended.await.expect("appending does not panic")
}
