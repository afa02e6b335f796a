//! Brings workers' logs to the master's disk: one follower for each attempt that runs.
//!
//! After a break a follower goes on at the byte it has. It ends when the worker has said that the
//! log is complete, or when nobody wants it any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloudai_files::log::{LogError, LogStore, OpenLog};
use cloudai_model::{AttemptId, Whole, WorkerId};
use cloudai_proto::LogPiece;
use futures_util::StreamExt as _;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use crate::workers::{LogStreamError, Workers};

/// How long a finished attempt's report waits for the rest of its log before the worker is told
/// to report again.
const WAIT_FOR_REST: Duration = Duration::from_secs(20);
/// After so many such waits the result is taken without the rest of the log, and says so.
const MOST_WAITS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The rest of a log is not here yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{have} of {want} bytes of its log have arrived; report again in a moment")]
pub struct LogPending {
    have: u64,
    want: u64,
}

struct Follower {
    abort: AbortHandle,
    complete: watch::Receiver<bool>,
    waits: u32,
}

struct Shared {
    store: Arc<LogStore>,
    workers: Arc<Workers>,
    followers: Mutex<HashMap<AttemptId, Follower>>,
}

/// See the module.
#[derive(Clone)]
pub struct LogFollowers(Arc<Shared>);

impl LogFollowers {
    /// Followers that write to this store.
    #[must_use]
    pub fn new(store: Arc<LogStore>, workers: Arc<Workers>) -> Self {
        Self(Arc::new(Shared {
            store,
            workers,
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
        let (done, complete) = watch::channel(false);
        let (shared, of) = (self.0.clone(), attempt.clone());
        let task = tokio::spawn(async move { shared.bring(&worker, &of, &done).await });
        let follower = Follower {
            abort: task.abort_handle(),
            complete,
            waits: 0,
        };
        followers.insert(attempt, follower);
    }

    /// Nothing more of this log is wanted; what has come stays.
    pub fn leave(&self, attempt: &AttemptId) {
        let follower = self.take(attempt);
        if let Some(follower) = follower {
            follower.abort.abort();
        }
        if let Err(error) = self.0.store.close(attempt) {
            warn!(%attempt, error = &error as &dyn std::error::Error, "log not closed");
        }
    }

    /// Makes sure that all `length` bytes of a finished attempt's log are on this disk.
    ///
    /// # Errors
    /// If they have not come yet; the worker shall report again.
    pub async fn complete(
        &self,
        worker: &WorkerId,
        attempt: &AttemptId,
        length: u64,
    ) -> Result<Whole, LogPending> {
        if length > 0 {
            self.follow(worker.clone(), attempt.clone());
            let complete = {
                let followers = self
                    .0
                    .followers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                followers
                    .get(attempt)
                    .map(|follower| follower.complete.clone())
            };
            if let Some(mut complete) = complete {
                let waited = timeout(WAIT_FOR_REST, complete.wait_for(|done| *done)).await;
                debug!(%attempt, in_time = waited.is_ok(), "waited for the rest of the log");
            }
        }
        let have = self.length(attempt);
        if have < length && self.may_wait_again(attempt) {
            return Err(LogPending { have, want: length });
        }
        self.leave(attempt);
        Ok(if have >= length {
            Whole::Complete
        } else {
            Whole::Incomplete(format!("{have} of {length} bytes of the log could be read"))
        })
    }

    fn length(&self, attempt: &AttemptId) -> u64 {
        match std::fs::metadata(self.0.store.path(attempt)) {
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        }
    }

    fn may_wait_again(&self, attempt: &AttemptId) -> bool {
        let mut followers = self
            .0
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(follower) = followers.get_mut(attempt) else {
            return false;
        };
        follower.waits += 1;
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
    #[error("the worker ended the stream before the log was complete")]
    Early,
}

impl Shared {
    async fn bring(&self, worker: &WorkerId, attempt: &AttemptId, done: &watch::Sender<bool>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let before = self
                .store
                .writer(attempt)
                .map(|(log, _)| log.len())
                .unwrap_or(0);
            match self.read_stream(worker, attempt).await {
                Ok(()) => {
                    done.send_replace(true);
                    return;
                }
                Err(Break::Log(error @ (LogError::Gap { .. } | LogError::Differs { .. }))) => {
                    // The worker's copy is not the one that was followed; what is here stays.
                    warn!(%attempt, error = &error as &dyn std::error::Error, "log given up");
                    return;
                }
                Err(error) => {
                    debug!(%attempt, error = &error as &dyn std::error::Error, "log stream broke");
                }
            }
            let now = self
                .store
                .writer(attempt)
                .map(|(log, _)| log.len())
                .unwrap_or(0);
            pause = if now > before {
                FIRST_PAUSE
            } else {
                (pause * 2).min(LONGEST_PAUSE)
            };
            sleep(pause).await;
        }
    }

    async fn read_stream(&self, worker: &WorkerId, attempt: &AttemptId) -> Result<(), Break> {
        let (log, repair) = self.store.writer(attempt)?;
        if let Some(repair) = repair.filter(|repair| repair.cut > 0) {
            debug!(%attempt, cut = repair.cut, "the log ended within a frame, going on before it");
        }
        let mut stream = self.workers.log_stream(worker, attempt, log.len()).await?;
        while let Some(message) = stream.next().await {
            let message = message?;
            if let Some(LogPiece::Framed { offset, data }) = message.piece {
                append(&log, offset, data).await?;
            }
            if message.is_complete {
                return Ok(());
            }
        }
        Err(Break::Early)
    }
}

/// Appends off the async threads: a disk may be slow.
async fn append(log: &OpenLog, offset: u64, data: bytes::Bytes) -> Result<(), LogError> {
    let log = log.clone();
    let appended = tokio::task::spawn_blocking(move || log.append_at(offset, &data)).await;
    appended.expect("appending does not panic").map(|_| ())
}
