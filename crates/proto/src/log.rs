//! Logs: `TaskLogRequest` and [`LogRequest`], `LogChunk` and [`LogMessage`].
//!
//! Between new nodes a log travels framed, as it lies on disk, so that a broken stream goes on at
//! the byte it has. Clients get the output's own bytes, with a rendering as text for old ones,
//! which can't be sent bytes that aren't UTF-8. What a frame looks like is not known here.

use bytes::Bytes;
use cloudai_model::{AttemptId, TaskId, TaskStatus, Wall};

use crate::{cluster, error::WireError, field, old_node};

/// Asks for the log of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRequest {
    /// Which task.
    pub task: TaskId,
    /// Which attempt; the last if `None`.
    pub attempt: Option<u32>,
    /// Who asks; unchecked.
    pub user: Option<String>,
    /// Whether to go on until the attempt has ended.
    pub follow: bool,
    /// Whether framed bytes are wanted, not the output's own.
    pub framed: bool,
    /// The first byte wanted of the framed log.
    pub offset: u64,
    /// Whether output is wanted as bytes alone, without the text that old clients read.
    pub without_text: bool,
}

impl LogRequest {
    /// As the wire has it.
    #[must_use]
    pub fn into_wire(self) -> cluster::TaskLogRequest {
        cluster::TaskLogRequest {
            task_id: self.task.to_string(),
            user_id: self.user.unwrap_or_default(),
            follow: self.follow,
            attempt: self.attempt.unwrap_or(0),
            framed: self.framed,
            offset: self.offset,
            without_text: self.without_text,
        }
    }

    /// For an old worker: by the id under which it got this attempt.
    #[must_use]
    pub fn into_old_wire(self) -> cluster::TaskLogRequest {
        let attempt = AttemptId::new(self.task.clone(), self.attempt.unwrap_or(1));
        cluster::TaskLogRequest {
            task_id: old_node::task_id(&attempt),
            ..self.into_wire()
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If the task's id is none.
    pub fn from_wire(wire: cluster::TaskLogRequest) -> Result<Self, WireError> {
        Ok(Self {
            task: field::parsed("task_id", &wire.task_id)?,
            attempt: Some(wire.attempt).filter(|number| *number != 0),
            user: field::text_if_any(wire.user_id),
            follow: wire.follow,
            framed: wire.framed,
            offset: wire.offset,
            without_text: wire.without_text,
        })
    }
}

/// Where a container wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One message of a log stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMessage {
    /// Which task; as the sender names it, which of an old worker may be an attempt's own id.
    pub task_text: String,
    /// A piece of the log; a last message may have none.
    pub piece: Option<LogPiece>,
    /// Whether nothing follows.
    pub is_complete: bool,
    /// The task's status, if it was told in a word known here.
    pub status: Option<TaskStatus>,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPiece {
    /// Framed bytes, from this offset on. Frames may be cut anywhere.
    Framed {
        /// Of the first byte, in the framed log.
        offset: u64,
        /// The bytes; not empty.
        data: Bytes,
    },
    /// What the container wrote.
    Output {
        /// Where it wrote.
        stream: OutputStream,
        /// When, if known.
        at: Option<Wall>,
        /// The bytes, which may not be UTF-8; not empty.
        data: Bytes,
    },
    /// Text from an old node.
    Text {
        /// The text; not empty.
        content: String,
        /// ISO 8601, unchecked; may be empty.
        timestamp: String,
    },
}

impl LogMessage {
    /// A piece in the middle of a stream.
    #[must_use]
    pub fn piece(task: &TaskId, piece: LogPiece) -> Self {
        Self {
            task_text: task.to_string(),
            piece: Some(piece),
            is_complete: false,
            status: None,
        }
    }

    /// The end of a stream.
    #[must_use]
    pub fn end(task: &TaskId, status: Option<TaskStatus>) -> Self {
        Self {
            task_text: task.to_string(),
            piece: None,
            is_complete: true,
            status,
        }
    }

    /// As the wire has it. Output is rendered as text as well, for old clients: what isn't UTF-8
    /// becomes U+FFFD.
    #[must_use]
    pub fn into_wire(self) -> cluster::LogChunk {
        let chunk = cluster::LogChunk {
            task_id: self.task_text,
            is_complete: self.is_complete,
            status: self
                .status
                .map_or_else(String::new, |status| status.to_string()),
            ..Default::default()
        };
        match self.piece {
            None => chunk,
            Some(LogPiece::Framed { offset, data }) => cluster::LogChunk {
                offset,
                data,
                ..chunk
            },
            Some(LogPiece::Output { stream, at, data }) => cluster::LogChunk {
                content: String::from_utf8_lossy(&data).into_owned(),
                timestamp: at.map_or_else(String::new, |at| at.to_string()),
                data,
                stream: stream.as_str().to_owned(),
                at_ms: at.map(|at| at.0),
                ..chunk
            },
            Some(LogPiece::Text { content, timestamp }) => cluster::LogChunk {
                content,
                timestamp,
                ..chunk
            },
        }
    }

    /// As the wire has it for whoever asked for bytes alone. The text is half of what is sent and
    /// most of the work.
    #[must_use]
    pub fn into_wire_without_text(mut self) -> cluster::LogChunk {
        match self.piece.take() {
            Some(LogPiece::Output { stream, at, data }) => cluster::LogChunk {
                data,
                stream: stream.as_str().to_owned(),
                at_ms: at.map(|at| at.0),
                ..self.into_wire()
            },
            piece => Self { piece, ..self }.into_wire(),
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If the name of the output stream can't be meant.
    pub fn from_wire(wire: cluster::LogChunk) -> Result<Self, WireError> {
        let piece = if wire.data.is_empty() {
            field::text_if_any(wire.content).map(|content| LogPiece::Text {
                content,
                timestamp: wire.timestamp,
            })
        } else if wire.stream.is_empty() {
            Some(LogPiece::Framed {
                offset: wire.offset,
                data: wire.data,
            })
        } else {
            Some(LogPiece::Output {
                stream: stream(&wire.stream)?,
                at: wire.at_ms.map(Wall),
                data: wire.data,
            })
        };
        Ok(Self {
            task_text: wire.task_id,
            piece,
            is_complete: wire.is_complete,
            status: wire.status.parse().ok(),
        })
    }
}

fn stream(word: &str) -> Result<OutputStream, WireError> {
    [OutputStream::Stdout, OutputStream::Stderr]
        .into_iter()
        .find(|stream| stream.as_str() == word)
        .ok_or_else(|| {
            let shown: String = word.chars().take(80).collect();
            let message = format!("{shown:?} is not valid: expected stdout or stderr");
            WireError::new("stream", message)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> TaskId {
        "task-7".parse().unwrap()
    }

    #[test]
    fn a_request_survives_the_wire_and_names_an_old_workers_attempt_by_id() {
        let request = LogRequest {
            task: task(),
            attempt: Some(2),
            user: Some("ann".to_owned()),
            follow: true,
            framed: true,
            offset: 1 << 40,
            without_text: true,
        };
        assert_eq!(
            LogRequest::from_wire(request.clone().into_wire()),
            Ok(request.clone())
        );
        assert_eq!(request.into_old_wire().task_id, "task-7-2");
    }

    #[test]
    fn messages_survive_the_wire() {
        let framed = LogPiece::Framed {
            offset: 4096,
            data: Bytes::from_static(b"\x01\xff"),
        };
        let output = LogPiece::Output {
            stream: OutputStream::Stderr,
            at: Some(Wall(1_700_000_000_250)),
            data: Bytes::from_static(b"\xff!"),
        };
        let text = LogPiece::Text {
            content: "hello".to_owned(),
            timestamp: "2026-01-31T08:00:00Z".to_owned(),
        };
        for message in [
            LogMessage::piece(&task(), framed),
            LogMessage::piece(&task(), output),
            LogMessage::piece(&task(), text),
            LogMessage::end(&task(), Some(TaskStatus::Completed)),
            LogMessage::end(&task(), None),
        ] {
            assert_eq!(
                LogMessage::from_wire(message.clone().into_wire()),
                Ok(message.clone())
            );
            assert_eq!(
                LogMessage::from_wire(message.clone().into_wire_without_text()),
                Ok(message)
            );
        }
    }

    #[test]
    fn an_old_client_reads_output_as_text_with_its_time() {
        let wire = LogMessage::piece(
            &task(),
            LogPiece::Output {
                stream: OutputStream::Stdout,
                at: Some(Wall(0)),
                data: Bytes::from_static(b"caf\xc3\xa9 \xff"),
            },
        )
        .into_wire();
        assert_eq!(wire.content, "café \u{fffd}");
        assert_eq!(wire.timestamp, "1970-01-01T00:00:00.000Z");
        let bytes_alone = LogMessage::from_wire(wire)
            .unwrap()
            .into_wire_without_text();
        assert_eq!((&*bytes_alone.content, bytes_alone.data.len()), ("", 7));
    }

    #[test]
    fn an_unknown_status_is_no_status_and_an_unknown_stream_is_refused() {
        let message = LogMessage::from_wire(cluster::LogChunk {
            task_id: "task-7-2".to_owned(),
            is_complete: true,
            status: "success".to_owned(),
            ..Default::default()
        })
        .unwrap();
        assert_eq!((message.piece, message.status), (None, None));
        let error = LogMessage::from_wire(cluster::LogChunk {
            data: Bytes::from_static(b"x"),
            stream: "stdin".to_owned(),
            ..Default::default()
        });
        assert_eq!(error.unwrap_err().field, "stream");
    }
}
