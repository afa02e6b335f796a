//! The log of a container, byte for byte: both outputs, in the order in which the engine wrote
//! them down. `attach` gives the same bytes while they are written.
//!
//! The engine hands its log out in messages: a line with its end, or a part of at most 16 KiB of
//! a line that is longer or never ends. With timestamps on, each message begins with the time at
//! which its line began and a space, which is taken off here. What is left, put together, is
//! exactly what the command wrote.
//!
//! A position is a count of bytes of each output. Times would not do: all parts of a line carry
//! the time at which the line began, the two outputs are written down by two threads, and a clock
//! may step back. So the log is read again from its start and what was had is passed over. The
//! engine itself reads from the start for any question, and it is asked only after a break.

mod attach;
mod lines;
mod thrown_away;

use std::pin::Pin;

use bollard::{
    container::LogOutput, errors::Error as BollardError, query_parameters::LogsOptionsBuilder,
};
use bytes::{Buf as _, Bytes};
use cloudai_model::rfc3339;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};

use self::lines::Lines;
use crate::{Engine, EngineError, plan::ContainerId};

const NANO_PER_MILLI: i64 = 1_000_000;

/// Which output of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl std::fmt::Display for LogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// How much of a log is had: the bytes of each output from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogPosition {
    /// Bytes of standard output.
    pub stdout_bytes: u64,
    /// Bytes of standard error.
    pub stderr_bytes: u64,
}

impl LogPosition {
    /// The start of the log.
    pub const START: Self = Self {
        stdout_bytes: 0,
        stderr_bytes: 0,
    };

    /// The position after `length` more bytes of an output.
    #[must_use]
    pub fn after(mut self, stream: LogStream, length: usize) -> Self {
        *self.of(stream) += length as u64;
        self
    }

    fn of(&mut self, stream: LogStream) -> &mut u64 {
        match stream {
            LogStream::Stdout => &mut self.stdout_bytes,
            LogStream::Stderr => &mut self.stderr_bytes,
        }
    }
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    /// Which output wrote it.
    pub stream: LogStream,
    /// When the engine read the beginning of its line, in Unix nanoseconds; of an attached output
    /// when it arrived here.
    pub at_ns: i64,
    /// The bytes as written. Empty only as a sign of life, while what was had is passed over.
    pub data: Bytes,
}

/// A log as it is read, to its end or its first error.
pub type LogPieces = Pin<Box<dyn Stream<Item = Result<LogPiece, LogError>> + Send>>;

/// Why a log ended before the container's did.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The connection broke, or the engine ended the log of a container that still runs; go on
    /// at the position that was reached.
    #[error("the log broke off; the Docker Engine is restarting or gone")]
    Interrupted(#[source] Option<EngineError>),
    /// The container is gone, and its log with it.
    #[error("the container was removed, and its log with it: {0}")]
    Gone(String),
    /// The engine can't read its own log.
    #[error("the Docker Engine could not read the container's log: {0}")]
    Unreadable(String),
    /// A message is not of the promised form; what follows can't be trusted.
    #[error("the Docker Engine's log is not of the expected form: {0}")]
    Malformed(&'static str),
    /// All of it was given, but for a newline at the very end, which may have been there or not.
    #[error(
        "whether the last line of {0} ended with a newline is not known: it is of 16 KiB or more, \
         and this Docker Engine (before 23.0) keeps no newline of so long a line"
    )]
    LastNewline(LogStream),
}

impl LogError {
    /// Whether the rest may be had by asking again from the position that was reached.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Interrupted(_))
    }
}

impl Engine {
    /// The log of a container from a position on, as it grows, until the container has ended and
    /// all of it was given. Ends after the first error.
    ///
    /// One thing can't be had from engines before API 1.42: whether an output whose last line is
    /// of 16 KiB or more ended with a newline. None is given then, and [`LogError::LastNewline`]
    /// ends the log, unless the position tells.
    pub fn logs(&self, id: &ContainerId, from: LogPosition) -> LogPieces {
        let reading = Reading {
            pass: Pass::new(self, id, true, from),
            engine: self.clone(),
            id: id.clone(),
            passes: 1,
            ended: false,
        };
        Box::pin(stream::unfold(reading, |mut reading| async move {
            let item = reading.next().await?;
            Some((item, reading))
        }))
    }
}

/// After how many bytes that are passed over a piece without any says that there is progress.
const SIGN_OF_LIFE: usize = 4 << 20;
/// How often a log is read from its start at most, before its end is doubted.
const MOST_PASSES: u32 = 3;

/// A log that is being read, in as many passes as it takes.
///
/// Following alone is not enough: engines end it when the container ends, and what was written
/// last may not have been read by then.
struct Reading {
    engine: Engine,
    id: ContainerId,
    pass: Pass,
    passes: u32,
    ended: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<LogPiece, LogError>> {
        while !self.ended {
            match self.pass.next().await {
                Some(Ok(piece)) => return Some(Ok(piece)),
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                None => match self.is_whole().await {
                    Ok(true) => {
                        self.ended = true;
                        return self.pass.finish().err().map(Err);
                    }
                    Ok(false) => {
                        self.pass = Pass::new(&self.engine, &self.id, false, self.pass.reached);
                        self.passes += 1;
                    }
                    Err(error) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                },
            }
        }
        None
    }

    /// Whether the pass that has come to its end has given all there is. An engine that shuts
    /// down ends its answers in good order, so an end counts only if the container has ended, too;
    /// from then on nothing is added to its log, and its last message is the last one seen.
    async fn is_whole(&mut self) -> Result<bool, LogError> {
        match self.engine.inspect(&self.id).await {
            Ok(state) if state.running => return Err(LogError::Interrupted(None)),
            Ok(_) => {}
            Err(EngineError::NoSuchContainer(message)) => return Err(LogError::Gone(message)),
            Err(error) => return Err(LogError::Interrupted(Some(error))),
        }
        let options = options().follow(false).tail("1").build();
        let mut last = self.engine.docker.logs(self.id.as_str(), Some(options));
        let last = last.next().await.transpose().map_err(log_error)?;
        let last = last.map(piece_of).transpose()?;
        if last == self.pass.last {
            // Equal full parts of one line can't be told apart, so they need a pass that didn't
            // follow.
            let is_full_part = last.is_some_and(|piece| piece.data.len() == lines::FULL_PART);
            if !is_full_part || self.passes > 1 {
                return Ok(true);
            }
        }
        if self.passes == MOST_PASSES {
            return Err(LogError::Interrupted(None));
        }
        Ok(false)
    }
}

/// One way through a log from its start, with what is had already passed over.
struct Pass {
    messages: Pin<Box<dyn Stream<Item = Result<LogOutput, BollardError>> + Send>>,
    lines: Lines,
    /// What is still to be passed over of each output.
    to_skip: LogPosition,
    /// What has been given by this pass and those before it.
    reached: LogPosition,
    /// The last message, as it came.
    last: Option<LogPiece>,
    /// A piece whose turn is next: at most one, behind a newline that was put back.
    waiting: Option<LogPiece>,
    /// Bytes passed over since the last sign of life.
    passed_over: usize,
}

impl Pass {
    fn new(engine: &Engine, id: &ContainerId, follow: bool, from: LogPosition) -> Self {
        let options = options().follow(follow).build();
        Self {
            messages: Box::pin(engine.docker.logs(id.as_str(), Some(options))),
            lines: Lines::new(engine.loses_newlines),
            to_skip: from,
            reached: from,
            last: None,
            waiting: None,
            passed_over: 0,
        }
    }

    async fn next(&mut self) -> Option<Result<LogPiece, LogError>> {
        loop {
            if let Some(piece) = self.waiting.take().and_then(|piece| self.skipped(piece)) {
                return Some(Ok(piece));
            }
            if self.passed_over >= SIGN_OF_LIFE {
                self.passed_over = 0;
                return self.last.clone().map(|last| {
                    let data = Bytes::new();
                    Ok(LogPiece { data, ..last })
                });
            }
            let piece = match self.messages.next().await? {
                Ok(message) => match piece_of(message) {
                    Ok(piece) => piece,
                    Err(error) => return Some(Err(error)),
                },
                Err(error) => return Some(Err(log_error(error))),
            };
            self.last = Some(piece.clone());
            let lost = self.lines.take(&piece);
            self.waiting = Some(piece);
            if let Some(newline) = lost.and_then(|newline| self.skipped(newline)) {
                return Some(Ok(newline));
            }
        }
    }

    /// The log has come to its end: whether it is known to be all of it.
    fn finish(&mut self) -> Result<(), LogError> {
        for stream in self.lines.lost_last() {
            let to_skip = self.to_skip.of(stream);
            // Whoever had a byte more than the log has had the newline.
            if *to_skip == 0 {
                return Err(LogError::LastNewline(stream));
            }
            *to_skip -= 1;
        }
        if self.to_skip == LogPosition::START {
            return Ok(());
        }
        Err(LogError::Malformed(
            "it is shorter than what was read of it before",
        ))
    }

    /// What of a piece is new.
    fn skipped(&mut self, mut piece: LogPiece) -> Option<LogPiece> {
        let to_skip = self.to_skip.of(piece.stream);
        if *to_skip > 0 {
            let had = piece
                .data
                .len()
                .min(usize::try_from(*to_skip).unwrap_or(usize::MAX));
            piece.data.advance(had);
            *to_skip -= had as u64;
            self.passed_over += had;
        }
        if piece.data.is_empty() {
            return None;
        }
        self.reached = self.reached.after(piece.stream, piece.data.len());
        Some(piece)
    }
}

/// Reads these messages as those of an engine, up to their end or the first error.
pub(crate) fn read_messages(
    messages: Vec<LogOutput>,
    loses_newlines: bool,
    from: LogPosition,
) -> (Vec<LogPiece>, Result<(), LogError>) {
    let mut pass = Pass {
        messages: Box::pin(stream::iter(messages.into_iter().map(Ok))),
        lines: Lines::new(loses_newlines),
        to_skip: from,
        reached: from,
        last: None,
        waiting: None,
        passed_over: 0,
    };
    let mut pieces = Vec::new();
    // Messages that are all there are never waited for.
    while let Some(Some(piece)) = pass.next().now_or_never() {
        match piece {
            Ok(piece) => pieces.push(piece),
            Err(error) => return (pieces, Err(error)),
        }
    }
    let end = pass.finish();
    (pieces, end)
}

fn options() -> LogsOptionsBuilder {
    LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .timestamps(true)
}

fn piece_of(message: LogOutput) -> Result<LogPiece, LogError> {
    let (stream, mut data) = match message {
        LogOutput::StdOut { message } => (LogStream::Stdout, message),
        LogOutput::StdErr { message } => (LogStream::Stderr, message),
        LogOutput::StdIn { .. } => return Err(LogError::Malformed("it holds input")),
        // Bollard's word for a frame of another kind, header and all: the engine's own errors
        // are frames of kind 3.
        LogOutput::Console { message } => {
            let text = message
                .strip_prefix(b"\x03")
                .map_or(&message[..], |rest| rest.get(7..).unwrap_or_default());
            let text = String::from_utf8_lossy(text).trim().to_owned();
            return Err(LogError::Unreadable(text));
        }
    };
    let space = data.iter().take(40).position(|byte| *byte == b' ');
    let space = space.ok_or(LogError::Malformed("a message has no time"))?;
    let at_ns =
        rfc3339::unix_ns(&data[..space]).ok_or(LogError::Malformed("a message has no time"))?;
    data.advance(space + 1);
    Ok(LogPiece {
        stream,
        at_ns,
        data,
    })
}

fn log_error(error: BollardError) -> LogError {
    match EngineError::from_bollard(error) {
        EngineError::NoSuchContainer(message) => LogError::Gone(message),
        EngineError::Refused { status, message } if status < 500 => LogError::Unreadable(message),
        error => LogError::Interrupted(Some(error)),
    }
}
