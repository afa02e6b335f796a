//! The logs of the attempts that are held: from the engine into the spool, and from there to
//! whoever follows.

mod pauses;
mod pump;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cloudai_engine::{ContainerId, LogPieces};
use cloudai_files::log::{LogError, LogFollower, LogWatch, LogWriter};
use cloudai_model::{AttemptId, Whole};
use cloudai_worker_core::SealedLog;
use tokio::{sync::Notify, task::JoinHandle, time::timeout};

use self::pump::Pump;
use crate::{context::blocking, engine_link::EngineLink, spool::Spool};

/// How long nothing more of a log may come once its container has ended, until it is asked for anew.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How often that is done before the rest counts as lost.
const ASK_ANEW: u32 = 4;

type SharedWriter = Arc<Mutex<LogWriter>>;

/// The log of one attempt. Its file is opened when first needed: that reads it through.
#[derive(Default)]
struct Lane {
    writer: Mutex<Option<SharedWriter>>,
    pump: Mutex<Option<Pumping>>,
    /// It was complete when this process began.
    ended: bool,
    /// The attempt is being deleted: its file must not come back.
    gone: AtomicBool,
}

/// A container's log that is being taken in.
struct Pumping {
    /// Says in the end whether it got all of it.
    task: JoinHandle<Whole>,
    signs: Signs,
}

/// What goes to and fro between one who takes a log in and one who waits for its end.
#[derive(Clone, Default)]
struct Signs {
    /// How often something has come.
    turns: Arc<AtomicU64>,
    /// What is being read may be dead: it is to be asked for anew.
    ask_anew: Arc<Notify>,
}

/// All logs of attempts that are held. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Logs {
    spool: Spool,
    engine: EngineLink,
    lanes: Arc<Mutex<BTreeMap<AttemptId, Arc<Lane>>>>,
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
            lanes: Arc::default(),
        }
    }

    /// Takes up the log of an attempt that an earlier process left; one that has ended is complete.
    pub(crate) fn adopt(&self, attempt: &AttemptId, ended: bool) {
        let lane = Lane {
            ended,
            ..Lane::default()
        };
        lock(&self.lanes).insert(attempt.clone(), Arc::new(lane));
    }

    /// Follows a log from a framed byte on; with it, word of how far the log reaches.
    pub(crate) async fn follow(
        &self,
        attempt: &AttemptId,
        offset: u64,
    ) -> Result<(LogFollower, LogWatch), FollowError> {
        let held = self.lane(attempt);
        let held = held.ok_or_else(|| FollowError::NotHeld(attempt.clone()))?;
        let writer = held.open().await?;
        let writer = lock(&writer);
        Ok((writer.follow(offset)?, writer.watch()))
    }

    /// Word of how far a log reaches.
    pub(crate) async fn watch(&self, attempt: &AttemptId) -> Result<LogWatch, FollowError> {
        let held = self.lane(attempt);
        let held = held.ok_or_else(|| FollowError::NotHeld(attempt.clone()))?;
        let writer = held.open().await?;
        Ok(lock(&writer).watch())
    }

    /// Begins to take in the log of a container, from where the spool's ends: from its outputs, if
    /// they were attached before it began, and whatever they don't give from the engine's log. What
    /// comes after the spool has more than `limit` bytes of it is not kept.
    pub(crate) fn pump(
        &self,
        attempt: &AttemptId,
        container: ContainerId,
        attached: Option<LogPieces>,
        limit: Option<u64>,
    ) {
        let Some(held) = self.lane(attempt) else {
            return;
        };
        let signs = Signs::default();
        let (of, engine, told) = (held.clone(), self.engine.clone(), signs.clone());
        let task = tokio::spawn(async move {
            let writer = match of.open().await {
                Ok(writer) => writer,
                Err(error) => return Whole::Incomplete(error.to_string()),
            };
            let pump = Pump::new(writer, engine, container, &told, limit);
            pump.run(of.path, attached).await
        });
        held.pumped_by(Pumping { task, signs });
    }

    /// Whether anybody takes the attempt's log in, or has.
    pub(crate) fn is_pumped(&self, attempt: &AttemptId) -> bool {
        let held = self.lane(attempt);
        held.is_some_and(|held| lock(&held.lane.pump).is_some())
    }

    /// The container is gone, and with it whatever of its log the spool doesn't hold.
    pub(crate) fn lose(&self, attempt: &AttemptId) {
        let reason = "its container was removed before all of it was taken in".to_owned();
        if let Some(held) = self.lane(attempt) {
            held.pumped_by(Pumping {
                task: tokio::spawn(async { Whole::Incomplete(reason) }),
                signs: Signs::default(),
            });
        }
    }

    /// Waits until the rest of the log is in, and closes it.
    pub(crate) async fn seal(&self, attempt: &AttemptId) -> SealedLog {
        let Some(held) = self.lane(attempt) else {
            return incomplete(0, &FollowError::NotHeld(attempt.clone()));
        };
        let pump = lock(&held.lane.pump).take();
        let mut whole = match pump {
            Some(pump) => drained(pump, &self.engine).await,
            None => Whole::Complete,
        };
        let writer = match held.open().await {
            Ok(writer) => writer,
            Err(error) => return incomplete(0, &error),
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

    /// The attempt is about to be deleted.
    pub(crate) fn forget(&self, attempt: &AttemptId) {
        let lane = lock(&self.lanes)
            .entry(attempt.clone())
            .or_default()
            .clone();
        lane.gone.store(true, Ordering::Relaxed);
        if let Some(pump) = lock(&lane.pump).take() {
            pump.task.abort();
        }
        *lock(&lane.writer) = None;
    }

    /// The attempt has been deleted.
    pub(crate) fn let_go(&self, attempt: &AttemptId) {
        lock(&self.lanes).remove(attempt);
    }

    /// The log of an attempt that is held.
    fn lane(&self, attempt: &AttemptId) -> Option<HeldLane> {
        let path = self.spool.held(attempt)?.log();
        let lane = lock(&self.lanes)
            .entry(attempt.clone())
            .or_default()
            .clone();
        Some(HeldLane {
            attempt: attempt.clone(),
            lane,
            path,
        })
    }
}

/// A log, and where it lies.
#[derive(Clone)]
struct HeldLane {
    attempt: AttemptId,
    lane: Arc<Lane>,
    path: PathBuf,
}

impl HeldLane {
    /// The log's writer; opens the file if nobody has yet.
    async fn open(&self) -> Result<SharedWriter, FollowError> {
        let this = self.clone();
        blocking(move || this.open_now()).await
    }

    fn open_now(&self) -> Result<SharedWriter, FollowError> {
        let mut slot = lock(&self.lane.writer);
        if self.lane.gone.load(Ordering::Relaxed) {
            return Err(FollowError::NotHeld(self.attempt.clone()));
        }
        if let Some(writer) = &*slot {
            return Ok(writer.clone());
        }
        let (mut writer, repair) = LogWriter::open(&self.path)?;
        if repair.cut > 0 {
            let attempt = &self.attempt;
            tracing::info!(%attempt, bytes = repair.cut, "cut a torn end off the log");
        }
        if self.lane.ended {
            writer.seal();
        }
        let writer = Arc::new(Mutex::new(writer));
        *slot = Some(writer.clone());
        Ok(writer)
    }

    fn pumped_by(&self, pump: Pumping) {
        *lock(&self.lane.pump) = Some(pump);
    }
}

fn incomplete(length_bytes: u64, why: &dyn std::fmt::Display) -> SealedLog {
    SealedLog {
        length_bytes,
        whole: Whole::Incomplete(why.to_string()),
    }
}

async fn drained(mut pump: Pumping, engine: &EngineLink) -> Whole {
    let turns = || pump.signs.turns.load(Ordering::Relaxed);
    let mut asked_anew = 0;
    loop {
        let before = turns();
        match timeout(DRAIN_LIMIT, &mut pump.task).await {
            Ok(Ok(whole)) => return whole,
            Ok(Err(error)) => return Whole::Incomplete(format!("it was not taken in: {error}")),
            Err(_) if turns() > before => asked_anew = 0,
            Err(_) if engine.now().is_none() => {}
            Err(_) if asked_anew < ASK_ANEW => {
                asked_anew += 1;
                pump.signs.ask_anew.notify_one();
            }
            Err(_) => {
                pump.task.abort();
                let seconds = DRAIN_LIMIT.as_secs() * u64::from(ASK_ANEW + 1);
                return Whole::Incomplete(format!(
                    "the Docker Engine handed nothing more of it out for {seconds} s"
                ));
            }
        }
    }
}
