//! Takes one container's log in, to its end, however often the engine breaks off.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cloudai_engine::{
    ContainerId, LogError as EngineLogError, LogPiece, LogPieces, LogPosition,
    LogStream as EngineStream,
};
use cloudai_files::log::{Frame, LogError, LogReader, LogStream};
use cloudai_model::{Mono, Whole};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::Notify;

use super::{SharedWriter, Signs, lock, pauses::Pauses};
use crate::{backoff, context::blocking, engine_link::EngineLink};

/// How much is written to the spool at once, if as much is there: it bounds the memory that a log
/// takes, whatever its container writes.
const BATCH_BYTES: usize = 512 * 1024;
const BATCH_PIECES: usize = 1024;
/// How often a disk that refuses a log is asked again, a second apart.
const DISK_TRIES: u32 = 60;

pub(super) struct Pump {
    writer: SharedWriter,
    engine: EngineLink,
    container: ContainerId,
    turns: Arc<AtomicU64>,
    /// Told when what is being read may be dead.
    ask_anew: Arc<Notify>,
    /// When the spool has more than so many framed bytes, the rest is not taken in.
    limit: u64,
    /// How much of each output is in the spool.
    position: LogPosition,
}

enum Broken {
    /// It may go on from here.
    Off,
    /// The rest is not to be had, and why.
    ForGood(String),
}

/// What was there at once, and what ended it.
struct Batch {
    frames: Vec<Frame>,
    reached: LogPosition,
    ended: Option<Result<(), Broken>>,
}

impl Pump {
    pub(super) fn new(
        writer: SharedWriter,
        engine: EngineLink,
        container: ContainerId,
        signs: &Signs,
        limit: Option<u64>,
    ) -> Self {
        Self {
            writer,
            engine,
            container,
            turns: signs.turns.clone(),
            ask_anew: signs.ask_anew.clone(),
            limit: limit.unwrap_or(u64::MAX),
            position: LogPosition::START,
        }
    }

    /// Runs to the log's end; whether all of it was got.
    pub(super) async fn run(mut self, path: PathBuf, attached: Option<LogPieces>) -> Whole {
        match position(path).await {
            Ok(position) => self.position = position,
            Err(error) => return Whole::Incomplete(error.to_string()),
        }
        // What an attached output gives is its beginning, and nothing else.
        let mut pauses = Pauses::default();
        if let Some(attached) = attached.filter(|_| self.position == LogPosition::START) {
            match self.take_in(attached, Some(&mut pauses)).await {
                Ok(()) => return self.end_is_here(&pauses).await,
                Err(Broken::ForGood(reason)) => return Whole::Incomplete(reason),
                Err(Broken::Off) => {
                    pauses.over(cloudai_clock::now().mono, self.position);
                    let container = &self.container;
                    tracing::debug!(%container, "its outputs broke off; going on with its log");
                }
            }
        }
        let mut tries = 0;
        loop {
            let before = self.position;
            let engine = self.engine.ready().await;
            let log = engine.logs(&self.container, before);
            match self.take_in(log, None).await {
                Ok(()) => return self.end_is_here(&pauses).await,
                Err(Broken::Off) => {}
                Err(Broken::ForGood(reason)) => return Whole::Incomplete(reason),
            }
            tries = if self.position == before {
                tries + 1
            } else {
                1
            };
            backoff::wait(tries).await;
        }
    }

    async fn take_in(
        &mut self,
        mut pieces: LogPieces,
        mut pauses: Option<&mut Pauses>,
    ) -> Result<(), Broken> {
        loop {
            let first = tokio::select! {
                biased;
                first = pieces.next() => first,
                () = self.ask_anew.notified() => return Err(Broken::Off),
            };
            if let Some(pauses) = &mut pauses {
                pauses.over(cloudai_clock::now().mono, self.position);
            }
            self.turns.fetch_add(1, Ordering::Relaxed);
            let batch = gather(first, &mut pieces, self.position);
            if !batch.frames.is_empty() {
                self.append(batch.frames).await?;
                self.position = batch.reached;
            }
            if let Some(ended) = batch.ended {
                return ended;
            }
        }
    }

    async fn append(&self, mut frames: Vec<Frame>) -> Result<(), Broken> {
        for _ in 1..DISK_TRIES {
            let writer = self.writer.clone();
            let appended;
            (appended, frames) = blocking(move || {
                let appended = lock(&writer).append(&frames);
                (appended, frames)
            })
            .await;
            match appended {
                Ok(length) if length > self.limit => return Err(too_long()),
                Ok(_) => return Ok(()),
                Err(error @ LogError::Io { .. }) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the log waits for the disk");
                }
                Err(error) => return Err(refused(&error)),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let last = lock(&self.writer).append(&frames);
        last.map(drop).map_err(|error| refused(&error))
    }

    /// Whether the engine can have thrown away the end of what the container wrote: it is in its own log
    /// no more, either. The engine tells; where it has forgotten, what this worker saw does.
    async fn end_is_here(&self, pauses: &Pauses) -> Whole {
        let engine = self.engine.ready().await;
        let late = match engine.may_lack_the_end(&self.container).await {
            Ok(Some(late)) => late,
            Ok(None) | Err(_) => self.was_held_up(pauses).await,
        };
        if !late {
            return Whole::Complete;
        }
        Whole::Incomplete(
            "its last bytes may be missing: the Docker Engine was held up while the container ended, and \
             throws away what it can't hand out within two seconds"
                .to_owned(),
        )
    }

    /// Whether nothing came for long enough, beyond the container's end, for the engine to have thrown
    /// something away.
    async fn was_held_up(&self, pauses: &Pauses) -> bool {
        if !pauses.were_long(self.position) {
            return false;
        }
        let finished_at = self.finished_at().await;
        finished_at.is_none_or(|at| pauses.reach_beyond(at, self.position))
    }

    /// When the container ended, by this process' own clock: the engine's may be another one.
    async fn finished_at(&self) -> Option<Mono> {
        let engine = self.engine.ready().await;
        let state = engine.inspect(&self.container).await.ok()?;
        let ago = engine.ago(state.end?.finished_at?).await.ok()??;
        let Mono(now) = cloudai_clock::now().mono;
        Some(Mono(now.saturating_sub(ago.as_millis() as u64)))
    }
}

fn too_long() -> Broken {
    Broken::ForGood("it is cut where it went over the task's storage limit".to_owned())
}

fn refused(error: &LogError) -> Broken {
    let why = std::error::Error::source(error).map(ToString::to_string);
    Broken::ForGood(format!("{error}: {}", why.unwrap_or_default()))
}

/// Takes what is there already, up to a bound.
fn gather(
    first: Option<Result<LogPiece, EngineLogError>>,
    pieces: &mut LogPieces,
    from: LogPosition,
) -> Batch {
    let mut batch = Batch {
        frames: Vec::new(),
        reached: from,
        ended: None,
    };
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(piece) = next {
        match piece {
            Some(Ok(piece)) => {
                bytes += piece.data.len();
                batch.reached = batch.reached.after(piece.stream, piece.data.len());
                batch.frames.push(frame(piece));
            }
            Some(Err(error)) if error.is_transient() => batch.ended = Some(Err(Broken::Off)),
            Some(Err(error)) => {
                batch.ended = Some(Err(Broken::ForGood(error.to_string())));
            }
            None => batch.ended = Some(Ok(())),
        }
        let full = bytes >= BATCH_BYTES || batch.frames.len() >= BATCH_PIECES;
        if full || batch.ended.is_some() {
            break;
        }
        next = pieces.next().now_or_never();
    }
    batch
}

fn frame(piece: LogPiece) -> Frame {
    Frame {
        stream: match piece.stream {
            EngineStream::Stdout => LogStream::Stdout,
            EngineStream::Stderr => LogStream::Stderr,
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
                LogStream::Stdout => EngineStream::Stdout,
                LogStream::Stderr => EngineStream::Stderr,
            };
            position = position.after(stream, frame.data.len());
        }
        Ok(position)
    });
    counted.await
}
