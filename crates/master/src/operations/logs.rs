//! Logs of attempts, read as they grow.

use std::{path::PathBuf, sync::Arc};

use cloudai_files::log::{LogError, LogFollower, LogPlace, last_lines};
use cloudai_model::{AttemptId, TaskId, TaskStatus, record::Removed};
use cloudai_operator::{FrameSource, LogFailure, LogFrames, LogPart, LogStart, ReadFailure};
use tokio::sync::Semaphore;

use super::{Master, read_failure};

/// Logs that are opened or searched at a time: either may read a log through, and takes a thread for as
/// long. The threads are those of the process, and many others need them.
static READING: Semaphore = Semaphore::const_new(8);

/// Where the last lines of a log begin. The search ends soon after nobody waits for it any more, and
/// until then counts as one.
async fn search(path: PathBuf, lines: usize) -> Result<LogPlace, LogError> {
    let turn = READING.acquire().await;
    // It goes when this is dropped; a closure that is on its way nobody can drop.
    let wanted = Arc::new(());
    let still = Arc::downgrade(&wanted);
    let place = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        last_lines(&path, lines, || still.strong_count() > 0)
    });
    let place = place.await.expect("reading a log does not panic")?;
    Ok(place.expect("a search that is waited for goes on"))
}

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
                match search(self.logs.path(attempt), lines).await {
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
        let turn = READING.acquire().await;
        let opened = tokio::task::spawn_blocking(move || {
            let _turn = turn;
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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn no_more_logs_are_searched_at_a_time_than_there_are_turns() {
        // Given all turns taken,
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, b"").unwrap();
        let all = READING.acquire_many(8).await.unwrap();

        // when a log is to be searched, then that waits, and begins when there is a turn.
        let mut searched = pin!(search(path, 1));
        assert!(searched.as_mut().now_or_never().is_none());
        drop(all);
        assert_eq!(searched.await.unwrap().frame, 0);
    }
}
