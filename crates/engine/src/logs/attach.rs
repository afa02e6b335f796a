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

use bollard::{
    Docker,
    container::LogOutput,
    errors::Error as BollardError,
    query_parameters::{AttachContainerOptionsBuilder, WaitContainerOptionsBuilder},
};
use cloudai_model::Wall;
use futures_util::{StreamExt as _, future::maybe_done, poll, stream};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{LogError, LogPiece, LogPieces, LogStream, NANO_PER_MILLI, log_error};
use crate::{Engine, EngineError, plan::ContainerId};

/// How long after the end of its outputs a container's own may be told. An engine tells one after the
/// other; a busy one takes its time.
const END_WITHIN: Duration = Duration::from_secs(5);

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
        // Whatever befalls the outputs' connection once it is open must befall the one that tells their
        // end, so that is the older one.
        let mut told = Box::pin(maybe_done(next_exit(self.docker.clone(), id.clone())));
        let _ = poll!(&mut told);
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
        let told = AbortOnDropHandle::new(tokio::spawn(async move {
            (&mut told).await;
            let told = told.as_mut().take_output();
            told.unwrap_or(Err(LogError::Interrupted(None)))
        }));
        let end = stream::once(async move { is_the_end(told).await.err().map(Err) });
        let until_error = pieces
            .chain(end.filter_map(ready))
            .scan(false, |failed, piece| {
                let go_on = !std::mem::replace(failed, piece.is_err());
                ready(go_on.then_some(piece))
            });
        Ok(Box::pin(until_error))
    }
}

/// Waits for the container's end, over one connection that must hold from before its start until then.
async fn next_exit(docker: Docker, id: ContainerId) -> Result<(), LogError> {
    let options = WaitContainerOptionsBuilder::new()
        .condition("next-exit")
        .build();
    let mut answers = std::pin::pin!(docker.wait_container(id.as_str(), Some(options)));
    match answers.next().await {
        Some(Ok(_) | Err(BollardError::DockerContainerWaitError { .. })) => Ok(()),
        Some(Err(error)) => Err(log_error(error)),
        None => Err(LogError::Interrupted(None)),
    }
}

/// Whether outputs that have just ended have come to their end.
///
/// A connection that is cut ends like one that is done, an engine that shuts down ends its streams in
/// good order, and a command may close its own outputs. No clock tells these apart: the engine's is
/// another one, and a process that stood still learns late of what was long ago. What does is another
/// connection to the same engine: it is open since before the outputs', is cut, or dies, by whatever does
/// that to theirs, and tells the container's end with it. In doubt the container's log tells.
async fn is_the_end(told: AbortOnDropHandle<Result<(), LogError>>) -> Result<(), LogError> {
    match timeout(END_WITHIN, told).await {
        Ok(Ok(Ok(()))) => Ok(()),
        // Whatever it is of: the log is asked next, and says it in its own way.
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => Err(LogError::Interrupted(None)),
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
