//! Logs of attempts, read as they grow.

use cloudai_files::log::{LogError, LogFollower, last_lines};
use cloudai_model::{AttemptId, TaskId, TaskStatus, record::Removed};
use cloudai_operator::{FrameSource, LogFailure, LogFrames, LogPart, LogStart, ReadFailure};

use super::{Master, read_failure};

impl Master {
    /// A part of the log of an attempt, frame by frame.
    pub(super) async fn log_part(
        &self,
        attempt: &AttemptId,
        part: LogPart,
    ) -> Result<Box<dyn FrameSource>, LogFailure> {
        let (offset, skip) = match part.start {
            LogStart::Byte(offset) => (offset, 0),
            LogStart::Lines(lines) => {
                let path = self.logs.path(attempt);
                let place = tokio::task::spawn_blocking(move || last_lines(&path, lines));
                match place.await.expect("reading a log does not panic") {
                    Ok(place) => (place.frame, place.skip),
                    // None yet, or none any more: that is told below.
                    Err(error) if error.is_not_found() => (0, 0),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let follower = self.log_from(attempt, offset).await?;
        Ok(Box::new(LogFrames::skipping(follower, part.follow, skip)))
    }

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
        let follower = match self.open_log(attempt, offset, is_live).await {
            Err(error) if !is_live && error.is_not_found() => {
                // That it was removed was written down before it was.
                let task = &attempt.task;
                if let Some(removal) = self.removed(task).await?.log {
                    let task = task.clone();
                    return Err(LogFailure::Removed { task, removal });
                }
                self.empty_log(attempt, offset).await?
            }
            opened => opened?,
        };
        if is_live && !self.is_live(attempt).await? {
            // It ended meanwhile: its log may have been closed before it was opened here.
            let (logs, of) = (self.logs.clone(), attempt.clone());
            let closed = tokio::task::spawn_blocking(move || logs.close(&of)).await;
            closed.expect("closing a log does not panic")?;
        }
        Ok(follower)
    }

    /// Opening reads a log through once: not on the threads that serve calls.
    async fn open_log(
        &self,
        attempt: &AttemptId,
        offset: u64,
        is_live: bool,
    ) -> Result<LogFollower, LogError> {
        let (logs, of) = (self.logs.clone(), attempt.clone());
        let opened = tokio::task::spawn_blocking(move || {
            if is_live {
                // Without an open writer a follower would take what is there for the whole.
                logs.writer(&of)?;
            }
            logs.follow(&of, offset)
        });
        opened.await.expect("opening a log does not panic")
    }

    /// The log of an attempt that never wrote anything: it is empty, and complete.
    async fn empty_log(&self, attempt: &AttemptId, offset: u64) -> Result<LogFollower, LogError> {
        let (logs, of) = (self.logs.clone(), attempt.clone());
        let opened = tokio::task::spawn_blocking(move || {
            logs.writer(&of)?;
            logs.close(&of)?;
            logs.follow(&of, offset)
        });
        opened.await.expect("opening a log does not panic")
    }

    /// What was removed of what a task left.
    pub(super) async fn removed(&self, task: &TaskId) -> Result<Removed, ReadFailure> {
        let removed = self.store.removed(std::slice::from_ref(task)).await;
        let mut removed = removed.map_err(read_failure)?;
        Ok(removed.remove(task).unwrap_or_default())
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
