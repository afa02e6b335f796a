//! Logs of attempts, read as they grow.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use cloudai_files::log::{LogError, LogFollower, LogPlace, last_lines};
use cloudai_model::{AttemptId, TaskId, TaskStatus, UserName, record::Removed};
use cloudai_operator::{FrameSource, LogFailure, LogFrames, LogPart, LogStart, ReadFailure};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::{Master, read_failure};

/// Logs that are searched at a time: a search may read a log through, and takes a thread for as long. The
/// threads are those of the process, and many others need them.
static SEARCHES: Searches = Searches {
    all: Semaphore::const_new(8),
    of_users: Mutex::new(BTreeMap::new()),
};

/// Of these so many are in one user's logs.
const SEARCHES_OF_USER: usize = 2;

/// So many users are held before those who search nothing any more are let go.
const TIDY_BEYOND: usize = 1024;

/// Logs of live attempts that are opened at a time: one that the master has not open yet is read through.
static OPENING: Semaphore = Semaphore::const_new(8);

struct Searches {
    all: Semaphore,
    of_users: Mutex<BTreeMap<UserName, Weak<Semaphore>>>,
}

impl Searches {
    /// Waits for the user's own searches first, so that nobody else waits for them.
    async fn turn(
        &self,
        user: &UserName,
    ) -> (Option<OwnedSemaphorePermit>, Option<SemaphorePermit<'_>>) {
        let own = {
            let mut users = self.of_users.lock().unwrap_or_else(PoisonError::into_inner);
            if users.len() > TIDY_BEYOND {
                users.retain(|_, turns| turns.strong_count() > 0);
            }
            let entry = users.entry(user.clone()).or_default();
            entry.upgrade().unwrap_or_else(|| {
                let turns = Arc::new(Semaphore::new(SEARCHES_OF_USER));
                *entry = Arc::downgrade(&turns);
                turns
            })
        };
        // Neither is ever closed.
        let own = own.acquire_owned().await.ok();
        (own, self.all.acquire().await.ok())
    }
}

/// Where the last lines of a log of `user` begin. The search ends soon after nobody waits for it any more,
/// and until then counts as one.
async fn search(user: &UserName, path: PathBuf, lines: usize) -> Result<LogPlace, LogError> {
    let turn = SEARCHES.turn(user).await;
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
                let record = self.store.task(&attempt.task).await.map_err(read_failure)?;
                let found = match record {
                    Some(record) => search(&record.spec.user, self.logs.path(attempt), lines).await,
                    None => Ok(LogPlace { frame: 0, skip: 0 }),
                };
                match found {
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

    /// Not on the threads that serve calls: the log of a live attempt is read through if it is not open
    /// yet.
    async fn open_log(
        &self,
        attempt: &AttemptId,
        offset: u64,
        is_live: bool,
    ) -> Result<LogFollower, LogError> {
        let (logs, of) = (self.logs.clone(), attempt.clone());
        let turn = match is_live {
            true => OPENING.acquire().await.ok(),
            false => None,
        };
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
    async fn the_searches_of_one_user_keep_nobody_else_waiting() {
        // Given a user with as many searches as one may have, and more of them that wait,
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, b"").unwrap();
        let [ann, bob]: [UserName; 2] = ["ann", "bob"].map(|user| user.parse().unwrap());
        let own = [SEARCHES.turn(&ann).await, SEARCHES.turn(&ann).await];
        let mut waiting: Vec<_> = (0..8)
            .map(|_| Box::pin(search(&ann, path.clone(), 1)))
            .collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        // when another searches, then that is done at once,
        assert_eq!(search(&bob, path.clone(), 1).await.unwrap().frame, 0);
        // and the user's own when there is a turn.
        drop(own);
        for one in waiting {
            assert_eq!(one.await.unwrap().frame, 0);
        }

        // However many users search, there are no more turns than for all.
        let users: Vec<UserName> = (0..8).map(|n| format!("u{n}").parse().unwrap()).collect();
        let mut all = Vec::new();
        for user in &users {
            all.push(SEARCHES.turn(user).await);
        }
        let mut searched = pin!(search(&bob, path, 1));
        assert!(searched.as_mut().now_or_never().is_none());
        drop(all);
        assert_eq!(searched.await.unwrap().frame, 0);
    }
}
