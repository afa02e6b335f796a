//! What logs and files take, counted folder by folder; and what a crash left of a removal, found on
//! the way: its record says that it is gone, and it is there.

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
        let mut all: All = blocking(move || -> Result<All, Failure> {
            logs.finish_removals()?;
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
        })
        .await?;
        let mut kept = KeptBytes {
            logs_bytes: 0,
            files_bytes: 0,
            at: cloudai_clock::now().wall,
        };
        loop {
            let (rest, step) = blocking(move || {
                let step: std::io::Result<Vec<Found>> = all.by_ref().take(STEP).collect();
                (all, step)
            })
            .await;
            all = rest;
            let step = step.map_err(Failure::Count)?;
            if step.is_empty() {
                break;
            }
            for found in &step {
                match found.user {
                    Some(_) => kept.files_bytes += found.bytes,
                    None => kept.logs_bytes += found.bytes,
                }
            }
            if !self.looked_for_leftovers {
                self.remove_leftovers(step).await?;
            }
        }
        self.looked_for_leftovers = true;
        self.setup.kept.lock().kept = Some(kept);
        Ok(())
    }
}

/// Runs what reads or changes the disk off the threads that serve calls.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.expect("looking after files does not panic")
}
