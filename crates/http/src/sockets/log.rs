//! Watching a task's log: a message for each piece, as it was printed, and one before each attempt.
//!
//! It is read as it is taken: who reads slowly has no backlog here but a place in the file.

use std::{pin::Pin, sync::Arc};

use axum::extract::ws::Utf8Bytes;
use cloudai_core::Event;
use cloudai_files::log::{Frame, LogStream};
use cloudai_model::{AttemptId, TaskId, Wall};
use cloudai_operator::{FrameSource, LogFailure, LogPart, LogStart, Operator, with_causes};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tracing::warn;

use super::session::{Ended, Source};

/// A piece of a log.
#[derive(Serialize)]
struct Piece<'a> {
    r#type: &'static str,
    /// `stdout` or `stderr`.
    stream: &'static str,
    /// When it was printed.
    at: String,
    /// What; signs that are no UTF-8 are replaced.
    text: &'a str,
    /// Where the next piece begins.
    next: u64,
}

/// What follows is of this attempt.
#[derive(Serialize)]
struct Attempt {
    r#type: &'static str,
    attempt: u32,
}

/// Which log is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Of which task.
    pub(super) task: TaskId,
    /// Of which attempt; `None`: of the last there is, and of all that come after it.
    pub(super) attempt: Option<u32>,
    /// So many of the last lines that are there, and what comes; `None`: all of it.
    pub(super) tail: Option<usize>,
}

/// See the module.
pub(super) struct LogWatcher {
    operator: Arc<dyn Operator>,
    wanted: Wanted,
    /// The attempt that was read last, or is being read; 0 before the first.
    attempt: u32,
    reading: Reading,
}

/// What is done with the log.
enum Reading {
    /// The next one is opened. It is kept here, so that whoever asks for a message and doesn't wait for
    /// it interrupts nothing: a long log is searched for its last lines once.
    Opening(Pin<Box<dyn Future<Output = Result<Opened, Ended>> + Send>>),
    Frames(Box<dyn FrameSource>),
    /// Nothing yet, or one has ended.
    Between,
}

/// An attempt, and its log.
type Opened = (u32, Box<dyn FrameSource>);

impl LogWatcher {
    pub(super) fn new(operator: Arc<dyn Operator>, wanted: Wanted) -> Self {
        Self {
            operator,
            wanted,
            attempt: 0,
            reading: Reading::Between,
        }
    }
}

impl Source for LogWatcher {
    async fn next(&mut self) -> Result<Utf8Bytes, Ended> {
        let (attempt, frames) = loop {
            match &mut self.reading {
                Reading::Frames(frames) => match frames.next().await {
                    Ok(Some(frame)) => return Ok(told(&frame, frames.position())),
                    Ok(None) if self.wanted.attempt.is_some() => return Err(Ended::Complete),
                    // There may be a retry.
                    Ok(None) => self.reading = Reading::Between,
                    Err(failure) => return Err(failed(&failure)),
                },
                Reading::Opening(opening) => {
                    let opened = opening.await;
                    self.reading = Reading::Between;
                    break opened?;
                }
                Reading::Between => {
                    let (operator, wanted) = (self.operator.clone(), self.wanted.clone());
                    let after = self.attempt;
                    let opening = async move { open(&*operator, &wanted, after).await };
                    self.reading = Reading::Opening(Box::pin(opening));
                }
            }
        };
        self.attempt = attempt;
        self.reading = Reading::Frames(frames);
        let begins = Attempt {
            r#type: "attempt",
            attempt,
        };
        Ok(json(&begins))
    }
}

/// Opens the log of the attempt that is wanted; or else of the last one, to begin with, and then of each
/// that comes `after`, which it waits for while the task has not ended.
async fn open(operator: &dyn Operator, wanted: &Wanted, after: u32) -> Result<Opened, Ended> {
    let task = &wanted.task;
    let mut events = operator.events();
    loop {
        let view = operator.task(task).await;
        let view = view.map_err(|failure| unreadable(&failure))?;
        let state = view.ok_or(Ended::Gone)?.record.state;
        let next = match after {
            0 => state.attempt,
            // None of those between is left out.
            after => after + 1,
        };
        let there = Some(next).filter(|next| *next > after && *next <= state.attempt);
        if let Some(number) = wanted.attempt.or(there) {
            let start = match wanted.tail {
                Some(lines) if after == 0 => LogStart::Lines(lines),
                _ => LogStart::Byte(0),
            };
            let part = LogPart {
                start,
                follow: true,
            };
            let attempt = AttemptId::new(task.clone(), number);
            let frames = operator.read_log(&attempt, part).await;
            return Ok((number, frames.map_err(|failure| failed(&failure))?));
        }
        if state.status.is_final() {
            return Err(Ended::Complete);
        }
        loop {
            match events.recv().await {
                Ok(Event::Task(news)) if news.task == *task => break,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return Err(Ended::ShuttingDown),
            }
        }
    }
}

fn failed(failure: &LogFailure) -> Ended {
    match failure {
        LogFailure::Removed { .. } => Ended::Gone,
        failure => unreadable(failure),
    }
}

fn unreadable(failure: &(dyn std::error::Error + 'static)) -> Ended {
    warn!(error = with_causes(failure), "a log can't be read on");
    Ended::Failed
}

fn json(value: &impl Serialize) -> Utf8Bytes {
    // Texts and numbers have a form in JSON.
    serde_json::to_string(value).unwrap_or_default().into()
}

fn told(frame: &Frame, next: u64) -> Utf8Bytes {
    let text = String::from_utf8_lossy(&frame.data);
    let piece = Piece {
        r#type: "output",
        stream: match frame.stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        },
        at: Wall(frame.at_ns.div_euclid(1_000_000)).to_string(),
        text: &text,
        next,
    };
    json(&piece)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_piece_is_told_with_where_it_was_printed_and_when() {
        let frame = Frame {
            stream: LogStream::Stderr,
            at_ns: 1_697_123_456_789_000_000,
            data: Bytes::from_static(b"a \"b\"\n\xff"),
        };
        assert_eq!(
            told(&frame, 42).as_str(),
            "{\"type\":\"output\",\"stream\":\"stderr\",\"at\":\"2023-10-12T15:10:56.789Z\",\
             \"text\":\"a \\\"b\\\"\\n\u{fffd}\",\"next\":42}"
        );
    }
}
