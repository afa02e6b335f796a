//! Logs of attempts, read as they grow.

use async_trait::async_trait;
use cloudai_files::log::{Decoder, Frame, LogFollower};
use cloudai_model::{AttemptId, TaskStatus};
use cloudai_operator::{FrameSource, LogFailure, ReadFailure};

use super::{Master, read_failure};

/// Log bytes read at a time.
const LOG_PIECE: usize = 64 << 10;

impl Master {
    /// Follows the framed log of an attempt from a byte on.
    ///
    /// # Errors
    /// If it can't be read.
    pub async fn log_from(
        &self,
        attempt: &AttemptId,
        offset: u64,
    ) -> Result<LogFollower, LogFailure> {
        let is_live = self.is_live(attempt).await?;
        let (logs, of) = (self.logs.clone(), attempt.clone());
        // Opening reads a log through once: not on the threads that serve calls.
        let follower = tokio::task::spawn_blocking(move || {
            if is_live {
                // Without an open writer a follower would take what is there for the whole.
                logs.writer(&of)?;
            } else if !logs.path(&of).exists() {
                // It never wrote anything: its log is empty, and complete.
                logs.writer(&of)?;
                logs.close(&of)?;
            }
            logs.follow(&of, offset)
        });
        let follower = follower.await.expect("opening a log does not panic")?;
        if is_live && !self.is_live(attempt).await? {
            // It ended meanwhile: its log may have been closed before it was opened here.
            let (logs, of) = (self.logs.clone(), attempt.clone());
            let closed = tokio::task::spawn_blocking(move || logs.close(&of)).await;
            closed.expect("closing a log does not panic")?;
        }
        Ok(follower)
    }

    /// Whether a worker has this attempt, so that more of its log may come.
    async fn is_live(&self, attempt: &AttemptId) -> Result<bool, ReadFailure> {
        let record = self.store.task(&attempt.task).await.map_err(read_failure)?;
        Ok(record.is_some_and(|record| {
            record.state.attempt == attempt.number
                && !record.state.status.is_final()
                && record.state.status != TaskStatus::Queued
        }))
    }
}

/// A log's frames as they come.
pub(super) struct FramesOf {
    follower: LogFollower,
    decoder: Decoder,
}

impl FramesOf {
    pub(super) fn new(follower: LogFollower) -> Self {
        Self {
            follower,
            decoder: Decoder::new(),
        }
    }
}

#[async_trait]
impl FrameSource for FramesOf {
    async fn next(&mut self) -> Result<Option<Frame>, LogFailure> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            if !self.follower.wait().await {
                return Ok(None);
            }
            let bytes = self.follower.read(LOG_PIECE)?;
            self.decoder.feed(&bytes);
        }
    }
}
