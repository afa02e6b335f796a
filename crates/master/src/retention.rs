//! What ended tasks left is removed when it is old enough or takes too much room: logs, files, and in
//! the end the tasks themselves. So is what nobody needs to know any more of who came in.
//!
//! That something was removed is written down before it is: whoever looks for it is told, and never
//! finds it missing without a reason. What a crash left between the two is found by the first count
//! after the start, and removed. All of it goes in small steps, off the threads that serve calls.

mod ages;
mod audit;
mod count;
mod sweep;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloudai_files::{log::LogStore, output::OutputStore};
use cloudai_model::{TaskId, time::span_words};
use cloudai_operator::{Disks, KeptBytes, Sweep, with_causes};
use cloudai_store::Store;
use tracing::{debug, info, warn};

use self::{
    ages::Ages,
    sweep::{Cursors, Removal},
};
use crate::{
    core_loop::CoreHandle,
    disk_settings::{DiskSettings, Keeping},
    snapshot::Snapshots,
};

/// Tasks that are looked at in one step.
const STEP: usize = 256;
/// Between two looks, at most and at least; the shorter the shortest span that something is kept.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// After a start, and after the wall clock was set forth, nothing is removed by age for so long.
const GRACE: Duration = Duration::from_secs(3600);
/// Counting takes no more than this part of the time: it reads every folder.
const COUNTING_PART: u32 = 20;
/// And is not done more often than this.
const COUNT_PAUSE: Duration = Duration::from_secs(10);

/// What is known of what is kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Kept {
    disks: Arc<Mutex<Disks>>,
    removing: Arc<tokio::sync::Mutex<()>>,
}

impl Kept {
    /// Before anything was counted.
    #[must_use]
    pub fn new(limit_bytes: Option<u64>) -> Self {
        let disks = Disks {
            limit_bytes,
            ..Disks::default()
        };
        Self {
            disks: Arc::new(Mutex::new(disks)),
            removing: Arc::default(),
        }
    }

    /// What retention can say; the rest is as if nothing was known.
    #[must_use]
    pub fn told(&self) -> Disks {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Disks> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn to write down what is removed of tasks. A record tells of log and files both, so whoever
    /// writes one has read it in the same turn.
    pub async fn removing(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.removing.clone().lock_owned().await
    }
}

/// What retention works with.
pub struct RetentionSetup {
    /// Whoever writes down what is removed.
    pub core: CoreHandle,
    /// What is stored.
    pub store: Arc<dyn Store>,
    /// Whether the store has been read.
    pub snapshots: Snapshots,
    /// Tasks' logs.
    pub logs: Arc<LogStore>,
    /// Tasks' files.
    pub files: Arc<OutputStore>,
    /// Where it says what is kept.
    pub kept: Kept,
}

/// See the module.
pub struct Retention {
    settings: DiskSettings,
    setup: RetentionSetup,
    cursors: Cursors,
    ages: Ages,
    /// See [`GRACE`].
    grace: Duration,
    /// What could not be removed yet, for somebody reads or writes it.
    put_off: BTreeMap<TaskId, Removal>,
    /// Whether what a crash left has been looked for.
    looked_for_leftovers: bool,
    /// What was removed since it was last told.
    removed: Sweep,
    /// What could not be removed or counted this time, although all else went on.
    stuck: Option<String>,
    /// What went wrong last: said once.
    trouble: String,
}

impl Retention {
    /// Retention by these settings.
    #[must_use]
    pub fn new(settings: DiskSettings, setup: RetentionSetup) -> Self {
        Self {
            settings,
            setup,
            cursors: Cursors::default(),
            ages: Ages::new(cloudai_clock::now()),
            grace: GRACE,
            put_off: BTreeMap::new(),
            looked_for_leftovers: false,
            removed: Sweep::default(),
            stuck: None,
            trouble: String::new(),
        }
    }

    /// Goes on for as long as the core is there.
    pub async fn run(mut self) {
        let pause = pause(&self.settings);
        let mut counted = None;
        let mut counting = Duration::ZERO;
        loop {
            let is_ready = self.setup.snapshots.latest().ready;
            if is_ready {
                let now = cloudai_clock::now().mono;
                let rest = (counting * COUNTING_PART).max(pause.min(COUNT_PAUSE));
                let is_due = counted.is_none_or(|at| now.since(at) >= rest);
                let outcome = self.turn(is_due).await;
                if is_due {
                    let end = cloudai_clock::now().mono;
                    (counted, counting) = (Some(end), end.since(now));
                }
                match outcome {
                    Ok(()) => match self.stuck.take() {
                        Some(words) => self.tell_trouble(&words),
                        None => self.trouble.clear(),
                    },
                    Err(sweep::Failure::Stopped) => return,
                    Err(failure) => {
                        self.tell_trouble(&with_causes(&failure));
                        self.begin_anew();
                    }
                }
                self.tell_removed();
            }
            let rest = if is_ready {
                pause.min(COUNT_PAUSE)
            } else {
                SHORTEST_PAUSE
            };
            tokio::time::sleep(rest).await;
        }
    }

    async fn turn(&mut self, count: bool) -> Result<(), sweep::Failure> {
        if let Some(ahead) = self.ages.look(cloudai_clock::now()) {
            warn!(
                "the clock was set forth by {}: for {} nothing is removed by age",
                span_words(ahead),
                span_words(self.grace)
            );
        }
        if count {
            self.count().await?;
        }
        self.remove_put_off().await?;
        self.remove_old().await?;
        self.forget_audit().await?;
        if count {
            self.remove_above_limit().await?;
        }
        Ok(())
    }

    /// One that can't be removed or counted holds up no other.
    fn stuck(&mut self, failure: &(dyn std::error::Error + 'static)) {
        if self.stuck.is_none() {
            self.stuck = Some(with_causes(failure));
        }
    }

    /// Looks at everything again: something was left half done.
    fn begin_anew(&mut self) {
        self.cursors = Cursors::default();
        self.looked_for_leftovers = false;
    }

    /// The same again each time is said once.
    fn tell_trouble(&mut self, words: &str) {
        if self.trouble == words {
            debug!("retention goes on later: {words}");
        } else {
            warn!("retention goes on later: {words}");
            words.clone_into(&mut self.trouble);
        }
    }

    fn tell_removed(&mut self) {
        let removed = std::mem::take(&mut self.removed);
        if removed == Sweep::default() {
            return;
        }
        let removed = Sweep {
            at: cloudai_clock::now().wall,
            ..removed
        };
        info!(
            logs = removed.logs,
            files = removed.files,
            tasks = removed.forgotten,
            bytes = removed.bytes,
            "retention removed what was due"
        );
        self.setup.kept.lock().last_sweep = Some(removed);
    }

    fn told_bytes(&self) -> Option<KeptBytes> {
        self.setup.kept.lock().kept
    }
}

/// Short enough for the shortest span that something is kept.
fn pause(settings: &DiskSettings) -> Duration {
    let spans = |keep: Keeping| [keep.logs, keep.files, keep.results];
    let all = spans(settings.keep)
        .into_iter()
        .chain(spans(settings.keep_failed))
        .chain([settings.keep_audit]);
    let shortest = all.filter_map(cloudai_config::Keep::span).min();
    let pause = shortest.map_or(LONGEST_PAUSE, |shortest| shortest / 4);
    pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
