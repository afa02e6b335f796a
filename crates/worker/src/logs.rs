//! The logs of the attempts that are held: from the engine into the spool, and from there to
//! whoever follows.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cloudai_engine::{ContainerId, LogPiece, LogPosition};
use cloudai_files::log::{Frame, LogError, LogFollower, LogReader, LogStream, LogWatch, LogWriter};
use cloudai_model::{AttemptId, Whole};
use cloudai_worker_core::SealedLog;
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;

use crate::{backoff, context::blocking, engine_link::EngineLink, spool::Spool};

/// How many pieces are written to the spool at once, if as many are there.
const BATCH: usize = 256;
/// How often a disk that refuses a log is asked again, a second apart.
const DISK_TRIES: u32 = 60;
/// How long the rest of a log may take once its container has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);

type SharedWriter = Arc<Mutex<LogWriter>>;

struct Open {
    writer: SharedWriter,
    /// Takes the container's log in; says whether it got all of it.
    pump: Option<JoinHandle<Whole>>,
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

    /// Begins to take in the log of a container, from where the spool's ends.
    pub(crate) fn pump(&self, attempt: &AttemptId, container: ContainerId) {
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
        let pump = tokio::spawn(pump(writer, path, self.engine.clone(), container));
        if let Some(open) = lock(&self.open).get_mut(attempt) {
            open.pump = Some(pump);
        }
    }

    /// The container is gone, and with it whatever of its log the spool doesn't hold.
    pub(crate) fn lose(&self, attempt: &AttemptId) {
        if let Some(open) = lock(&self.open).get_mut(attempt) {
            let reason = "its container was removed before all of it was taken in".to_owned();
            open.pump = Some(tokio::spawn(async { Whole::Incomplete(reason) }));
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
            pump.abort();
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

async fn drained(mut pump: JoinHandle<Whole>) -> Whole {
    match tokio::time::timeout(DRAIN_LIMIT, &mut pump).await {
        Ok(Ok(whole)) => whole,
        Ok(Err(error)) => Whole::Incomplete(format!("it was not taken in: {error}")),
        Err(_) => {
            pump.abort();
            let seconds = DRAIN_LIMIT.as_secs();
            Whole::Incomplete(format!(
                "the Docker Engine did not hand the rest of it out within {seconds} s"
            ))
        }
    }
}

/// Takes in a container's log until its end, however often the engine breaks off.
async fn pump(
    writer: SharedWriter,
    path: PathBuf,
    engine: EngineLink,
    container: ContainerId,
) -> Whole {
    let mut position = match position(path).await {
        Ok(position) => position,
        Err(error) => return Whole::Incomplete(error.to_string()),
    };
    let mut tries = 0;
    loop {
        let before = position;
        match take_in(&writer, &engine, &container, &mut position).await {
            Ok(()) => return Whole::Complete,
            Err(Broken::Off) => {}
            Err(Broken::ForGood(reason)) => return Whole::Incomplete(reason),
        }
        tries = if position == before { tries + 1 } else { 1 };
        backoff::wait(tries).await;
    }
}

enum Broken {
    /// It may go on from here.
    Off,
    /// The rest is not to be had, and why.
    ForGood(String),
}

async fn take_in(
    writer: &SharedWriter,
    engine: &EngineLink,
    container: &ContainerId,
    position: &mut LogPosition,
) -> Result<(), Broken> {
    let engine = engine.ready().await;
    let mut pieces = engine.logs(container, *position).ready_chunks(BATCH);
    while let Some(batch) = pieces.next().await {
        let mut frames = Vec::with_capacity(batch.len());
        let mut reached = *position;
        let mut broken = None;
        for piece in batch {
            match piece {
                Ok(piece) => {
                    reached = reached.after(piece.stream, piece.data.len());
                    frames.push(frame(piece));
                }
                Err(error) if error.is_transient() => broken = Some(Broken::Off),
                Err(error) => broken = Some(Broken::ForGood(error.to_string())),
            }
        }
        append(writer, &frames).await?;
        *position = reached;
        if let Some(broken) = broken {
            return Err(broken);
        }
    }
    Ok(())
}

async fn append(writer: &SharedWriter, frames: &[Frame]) -> Result<(), Broken> {
    let mut tries = 0;
    loop {
        // Into the page cache, in one write: no reason to change threads.
        let appended = lock(writer).append(frames);
        let Err(error) = appended else {
            return Ok(());
        };
        tries += 1;
        if tries == DISK_TRIES || !matches!(error, LogError::Io { .. }) {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            return Err(Broken::ForGood(format!(
                "{error}: {}",
                why.unwrap_or_default()
            )));
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the log waits for the disk"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn frame(piece: LogPiece) -> Frame {
    Frame {
        stream: match piece.stream {
            cloudai_engine::LogStream::Stdout => LogStream::Stdout,
            cloudai_engine::LogStream::Stderr => LogStream::Stderr,
        },
        at_ns: piece.at_ns,
        data: piece.data,
    }
}

/// How much of each output the spool holds already.
async fn position(path: PathBuf) -> Result<LogPosition, LogError> {
    let counted = blocking(move || {
        let reader = LogReader::open(&path)?;
        let mut position = LogPosition::START;
        for frame in reader.frames_from(0) {
            let frame = frame?;
            let stream = match frame.stream {
                LogStream::Stdout => cloudai_engine::LogStream::Stdout,
                LogStream::Stderr => cloudai_engine::LogStream::Stderr,
            };
            position = position.after(stream, frame.data.len());
        }
        Ok(position)
    });
    counted.await
}
