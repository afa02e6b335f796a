//! The logs of the attempts that are held: from the engine into the spool, and from there to
//! whoever follows.

mod pauses;
mod pump;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cloudai_engine::{ContainerId, LogPieces};
use cloudai_files::log::{LogError, LogFollower, LogWatch, LogWriter};
use cloudai_model::{AttemptId, Whole};
use cloudai_worker_core::SealedLog;
use tokio::task::JoinHandle;

use self::pump::Pump;
use crate::{context::blocking, engine_link::EngineLink, spool::Spool};

/// How long nothing more of a log may come once its container has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);

type SharedWriter = Arc<Mutex<LogWriter>>;

struct Open {
    writer: SharedWriter,
    pump: Option<Pumping>,
}

/// A container's log that is being taken in.
struct Pumping {
    /// Says in the end whether it got all of it.
    task: JoinHandle<Whole>,
    /// How often something has come.
    turns: Arc<AtomicU64>,
}

/// All logs of attempts that are held. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Logs {
    spool: Spool,
    engine: EngineLink,
    open: Arc<Mutex<BTreeMap<AttemptId, Open>>>,
}

/// Why a log can't be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// There is no such attempt here.
    #[error("this worker does not hold attempt {0}")]
    NotHeld(AttemptId),
    /// It can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Logs {
    pub(crate) fn new(spool: Spool, engine: EngineLink) -> Self {
        Self {
            spool,
            engine,
            open: Arc::default(),
        }
    }

    /// Opens the log of an attempt that an earlier process left; one that has ended is complete.
    pub(crate) fn adopt(&self, attempt: &AttemptId, ended: bool) -> Result<(), FollowError> {
        let writer = self.writer(attempt)?;
        if ended {
            lock(&writer).seal();
        }
        Ok(())
    }

    /// Follows a log from a framed byte on; with it, word of how far the log reaches.
    pub(crate) fn follow(
        &self,
        attempt: &AttemptId,
        offset: u64,
    ) -> Result<(LogFollower, LogWatch), FollowError> {
        let writer = self.writer(attempt)?;
        let writer = lock(&writer);
        Ok((writer.follow(offset)?, writer.watch()))
    }

    /// Begins to take in the log of a container, from where the spool's ends: from its outputs, if
    /// they were attached before it began, and whatever they don't give from the engine's log.
    pub(crate) fn pump(
        &self,
        attempt: &AttemptId,
        container: ContainerId,
        attached: Option<LogPieces>,
    ) {
        let writer = match self.writer(attempt) {
            Ok(writer) => writer,
            Err(error) => {
                tracing::warn!(%attempt, %error, "the log can't be opened");
                return;
            }
        };
        let Some(path) = self.spool.held(attempt).map(|place| place.log()) else {
            return;
        };
        let turns = Arc::new(AtomicU64::new(0));
        let pump = Pump::new(writer, self.engine.clone(), container, turns.clone());
        let task = tokio::spawn(pump.run(path, attached));
        self.pumped_by(attempt, Pumping { task, turns });
    }

    /// The container is gone, and with it whatever of its log the spool doesn't hold.
    pub(crate) fn lose(&self, attempt: &AttemptId) {
        let reason = "its container was removed before all of it was taken in".to_owned();
        let pump = Pumping {
            task: tokio::spawn(async { Whole::Incomplete(reason) }),
            turns: Arc::default(),
        };
        self.pumped_by(attempt, pump);
    }

    fn pumped_by(&self, attempt: &AttemptId, pump: Pumping) {
        if let Some(open) = lock(&self.open).get_mut(attempt) {
            open.pump = Some(pump);
        }
    }

    /// Waits until the rest of the log is in, and closes it.
    pub(crate) async fn seal(&self, attempt: &AttemptId) -> SealedLog {
        let writer = match self.writer(attempt) {
            Ok(writer) => writer,
            Err(error) => return incomplete(0, &error),
        };
        let pump = lock(&self.open)
            .get_mut(attempt)
            .and_then(|open| open.pump.take());
        let mut whole = match pump {
            Some(pump) => drained(pump).await,
            None => Whole::Complete,
        };
        let (length_bytes, synced) = blocking(move || {
            let mut writer = lock(&writer);
            let synced = writer.sync();
            writer.seal();
            (writer.len(), synced)
        })
        .await;
        if let (Err(error), true) = (synced, whole.is_complete()) {
            whole = Whole::Incomplete(format!("its end may be lost: {error}"));
        }
        SealedLog {
            length_bytes,
            whole,
        }
    }

    /// The attempt is no longer held.
    pub(crate) fn forget(&self, attempt: &AttemptId) {
        if let Some(open) = lock(&self.open).remove(attempt)
            && let Some(pump) = open.pump
        {
            pump.task.abort();
        }
    }

    fn writer(&self, attempt: &AttemptId) -> Result<SharedWriter, FollowError> {
        let mut all = lock(&self.open);
        if let Some(open) = all.get(attempt) {
            return Ok(open.writer.clone());
        }
        let place = self.spool.held(attempt);
        let place = place.ok_or_else(|| FollowError::NotHeld(attempt.clone()))?;
        let (writer, repair) = LogWriter::open(&place.log())?;
        if repair.cut > 0 {
            tracing::info!(%attempt, bytes = repair.cut, "cut a torn end off the log");
        }
        let writer = Arc::new(Mutex::new(writer));
        let open = Open {
            writer: writer.clone(),
            pump: None,
        };
        all.insert(attempt.clone(), open);
        Ok(writer)
    }
}

fn incomplete(length_bytes: u64, why: &dyn std::fmt::Display) -> SealedLog {
    SealedLog {
        length_bytes,
        whole: Whole::Incomplete(why.to_string()),
    }
}

async fn drained(mut pump: Pumping) -> Whole {
    loop {
        let before = pump.turns.load(Ordering::Relaxed);
        match tokio::time::timeout(DRAIN_LIMIT, &mut pump.task).await {
            Ok(Ok(whole)) => return whole,
            Ok(Err(error)) => return Whole::Incomplete(format!("it was not taken in: {error}")),
            Err(_) if pump.turns.load(Ordering::Relaxed) > before => {}
            Err(_) => {
                pump.task.abort();
                let seconds = DRAIN_LIMIT.as_secs();
                return Whole::Incomplete(format!(
                    "the Docker Engine handed nothing more of it out for {seconds} s"
                ));
            }
        }
    }
}
