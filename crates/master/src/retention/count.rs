//! What logs and files take, counted folder by folder; and what a crash left of a removal, found on
//! the way: its record says that it is gone, and it is there.

use cloudai_files::{log::LogStore, output::OutputStore};
use cloudai_model::{TaskId, UserName};
use cloudai_operator::KeptBytes;

use super::{Retention, STEP, sweep::Failure};

/// What lies on the disk for one task.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) task: TaskId,
    /// Whose files they are; `None` for logs.
    pub(super) user: Option<UserName>,
    bytes: u64,
}

/// All that lies on the disk, logs first.
type All = Box<dyn Iterator<Item = std::io::Result<Found>> + Send>;

impl Retention {
    /// Counts everything, a step at a time.
    pub(super) async fn count(&mut self) -> Result<(), Failure> {
        let (logs, files) = (self.setup.logs.clone(), self.setup.files.clone());
        let (finished, all) = blocking(move || {
            let finished = logs.finish_removals();
            (finished, all(&logs, &files))
        })
        .await;
        if let Err(error) = finished {
            self.stuck(&error);
        }
        let mut all = all?;
        let mut kept = KeptBytes {
            logs_bytes: 0,
            files_bytes: 0,
            at: cloudai_clock::now().wall,
        };
        loop {
            let (rest, step) = blocking(move || {
                let step: Vec<std::io::Result<Found>> = all.by_ref().take(STEP).collect();
                (all, step)
            })
            .await;
            all = rest;
            if step.is_empty() {
                break;
            }
            let mut there = Vec::with_capacity(step.len());
            for found in step {
                match found {
                    Ok(found) => there.push(found),
                    Err(error) => self.stuck(&Failure::Count(error)),
                }
            }
            for found in &there {
                match found.user {
                    Some(_) => kept.files_bytes += found.bytes,
                    None => kept.logs_bytes += found.bytes,
                }
            }
            if !self.looked_for_leftovers {
                self.remove_leftovers(there).await?;
            }
        }
        self.looked_for_leftovers = true;
        self.setup.kept.lock().kept = Some(kept);
        Ok(())
    }
}

/// Everything on the disk, not yet looked at.
fn all(logs: &LogStore, files: &OutputStore) -> Result<All, Failure> {
    let logs = logs.kept()?.map(|found| {
        let (task, bytes) = found?;
        let user = None;
        Ok(Found { task, user, bytes })
    });
    let files = files.kept()?.map(|found| {
        let (user, task, bytes) = found?;
        let user = Some(user);
        Ok(Found { task, user, bytes })
    });
    Ok(Box::new(logs.chain(files)))
}

/// Runs what reads or changes the disk off the threads that serve calls.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.expect("looking after files does not panic")
}
