//! What a container writes, as it writes it: the engine's own stream, before any log driver has
//! made lines of it.
//!
//! It is exact for any bytes, and costs the engine a tenth of what reading its log does. But it
//! holds only what is written while it is open, so it is opened before the container is started;
//! and once it has broken off, the rest is in the container's log alone ([`Engine::logs`]).
//!
//! A reader that is slow holds the container up: the engine keeps 1 MB for each output, and then
//! reads no more of what the container writes. A reader that is gone doesn't: the engine drops the
//! stream at the first write to it that fails. What a container has left behind in its pipes when
//! it ends the engine carries over for two seconds, and then throws away, out of its log as well.

use std::{future::ready, time::Duration};

use bollard::{container::LogOutput, query_parameters::AttachContainerOptionsBuilder};
use cloudai_model::Wall;
use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;

use super::{LogError, LogPiece, LogPieces, LogStream, log_error};
use crate::{Engine, EngineError, WaitError, plan::ContainerId};

/// How long after the end of its outputs a container may still count as running.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How much later than the end of its outputs the engine may note a container's own.
const END_SLACK_MS: i64 = 200;

const NANO_PER_MILLI: i64 = 1_000_000;

impl Engine {
    /// Both outputs of a container that has not been started yet, from the first byte on, until it
    /// has ended. Ends after the first error.
    ///
    /// Pieces are of any length and know nothing of lines; their time is that of their arrival.
    ///
    /// # Errors
    /// If the engine can't be asked, or there is no such container.
    pub async fn attach(&self, id: &ContainerId) -> Result<LogPieces, EngineError> {
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = self.docker.attach_container(id.as_str(), Some(options));
        let attached = attached.await.map_err(EngineError::from_bollard)?;
        let pieces = attached.output.map(|message| match message {
            Ok(LogOutput::StdOut { message }) => Ok(piece(LogStream::Stdout, message)),
            Ok(LogOutput::StdErr { message }) => Ok(piece(LogStream::Stderr, message)),
            // Nothing that a container writes: the rest of a message that was cut off.
            Ok(LogOutput::StdIn { .. } | LogOutput::Console { .. }) => {
                Err(LogError::Interrupted(None))
            }
            Err(error) => Err(log_error(error)),
        });
        let (engine, id) = (self.clone(), id.clone());
        let end = stream::once(async move { engine.has_ended(&id).await.err().map(Err) });
        let until_error = pieces
            .chain(end.filter_map(ready))
            .scan(false, |failed, piece| {
                let go_on = !std::mem::replace(failed, piece.is_err());
                ready(go_on.then_some(piece))
            });
        Ok(Box::pin(until_error))
    }

    /// A connection that is cut ends like one that is done, an engine that shuts down ends its
    /// streams in good order, and a command may close its own outputs: only if the container ended
    /// no later than they did have they come to their end. In doubt the container's log tells.
    async fn has_ended(&self, id: &ContainerId) -> Result<(), LogError> {
        let outputs_ended = cloudai_clock::now().wall;
        let by_then = |at: Wall| at.0 <= outputs_ended.0.saturating_add(END_SLACK_MS);
        match timeout(END_LIMIT, self.wait(id)).await {
            Ok(Ok(end)) if end.finished_at.is_some_and(by_then) => Ok(()),
            Ok(Ok(_)) => Err(LogError::Interrupted(None)),
            Ok(Err(WaitError::Gone(message))) => Err(LogError::Gone(message)),
            Ok(Err(WaitError::NotStarted | WaitError::Unclear(_))) | Err(_) => {
                Err(LogError::Interrupted(None))
            }
        }
    }
}

fn piece(stream: LogStream, data: bytes::Bytes) -> LogPiece {
    let Wall(ms) = cloudai_clock::now().wall;
    LogPiece {
        stream,
        at_ns: ms.saturating_mul(NANO_PER_MILLI),
        data,
    }
}
