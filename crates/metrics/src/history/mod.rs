//! What workers' machines used: the last hour at 5 seconds, the last day at a minute.
//!
//! Samples count when they come, by the master's monotonic clock; no clock of a worker has a say,
//! and when the wall clock is set all times shown move with it. Several samples in one span are one
//! point, their mean; a span without any is missing; one that comes for a span that is over is
//! dropped, so that what was shown doesn't change.
//!
//! All workers share one budget of memory. While it suffices each keeps its full hour and day; with
//! more workers all keep half of both, a quarter, and so on.

mod figures;
mod series;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cloudai_model::{Mono, Now, Wall, WorkerId};

pub use self::figures::Figures;
use self::series::{Mean, MeanAndMax, Series};

/// What a master grants the figures of all workers together: some 600 at full length.
pub const BUDGET_BYTES: usize = 64 << 20;

/// How finely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// 5 seconds, for an hour.
    FiveSeconds,
    /// A minute, for a day.
    Minute,
}

impl Resolution {
    /// What one point covers.
    #[must_use]
    pub fn span(self) -> Duration {
        match self {
            Self::FiveSeconds => Duration::from_secs(5),
            Self::Minute => Duration::from_secs(60),
        }
    }

    /// How many points there are at full length.
    fn points(self) -> usize {
        match self {
            Self::FiveSeconds => 720,
            Self::Minute => 1440,
        }
    }
}

/// What was used in one span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When the span began.
    pub at: Wall,
    /// The mean of what was said in it.
    pub mean: Figures,
    /// The highest of each figure; at 5 seconds the same as the mean, as heartbeats are not sooner.
    pub max: Figures,
}

/// See the module.
#[derive(Debug)]
pub struct History {
    budget_bytes: usize,
    workers: Mutex<Workers>,
}

#[derive(Debug, Default)]
struct Workers {
    by_id: BTreeMap<WorkerId, Worker>,
    /// How often the full lengths are halved.
    halvings: u32,
}

#[derive(Debug)]
struct Worker {
    fine: Series<Mean>,
    coarse: Series<MeanAndMax>,
}

impl Worker {
    fn new() -> Self {
        Self {
            fine: Series::new(Resolution::FiveSeconds.span()),
            coarse: Series::new(Resolution::Minute.span()),
        }
    }

    fn shorten(&mut self, halvings: u32) {
        self.fine.shorten(length(Resolution::FiveSeconds, halvings));
        self.coarse.shorten(length(Resolution::Minute, halvings));
    }
}

fn length(resolution: Resolution, halvings: u32) -> usize {
    resolution.points() >> halvings.min(usize::BITS - 1)
}

/// What one worker's points take at these lengths.
fn bytes(halvings: u32) -> usize {
    length(Resolution::FiveSeconds, halvings) * Series::<Mean>::POINT_BYTES
        + length(Resolution::Minute, halvings) * Series::<MeanAndMax>::POINT_BYTES
}

impl Default for History {
    fn default() -> Self {
        Self::within(BUDGET_BYTES)
    }
}

impl History {
    /// A history whose points take at most `budget_bytes`. What is going on just now takes some
    /// hundred bytes a worker besides, as the registry's own entry of it does.
    #[must_use]
    pub fn within(budget_bytes: usize) -> Self {
        Self {
            budget_bytes,
            workers: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The least halvings with which so many workers are within the budget.
    fn halvings_for(&self, workers: usize) -> u32 {
        (0..usize::BITS)
            .find(|halvings| bytes(*halvings).saturating_mul(workers) <= self.budget_bytes)
            .unwrap_or(usize::BITS - 1)
    }

    /// A worker has said what it uses.
    pub fn take(&self, worker: &WorkerId, at: Mono, figures: Figures) {
        let mut workers = self.lock();
        if !workers.by_id.contains_key(worker) {
            workers.by_id.insert(worker.clone(), Worker::new());
            let halvings = self.halvings_for(workers.by_id.len());
            if halvings > workers.halvings {
                for worker in workers.by_id.values_mut() {
                    worker.shorten(halvings);
                }
            }
            workers.halvings = halvings;
        }
        let halvings = workers.halvings;
        if let Some(worker) = workers.by_id.get_mut(worker) {
            let fine = length(Resolution::FiveSeconds, halvings);
            worker.fine.take(at, figures, fine);
            let coarse = length(Resolution::Minute, halvings);
            worker.coarse.take(at, figures, coarse);
        }
    }

    /// A worker is registered no more.
    pub fn forget(&self, worker: &WorkerId) {
        let mut workers = self.lock();
        workers.by_id.remove(worker);
        // The others have more room from now on.
        workers.halvings = self.halvings_for(workers.by_id.len());
    }

    /// What a worker used, from the span on that holds `since`; the last point is of a span that
    /// goes on. Empty for a worker that was not heard of.
    #[must_use]
    pub fn of(
        &self,
        worker: &WorkerId,
        resolution: Resolution,
        since: Option<Wall>,
        now: Now,
    ) -> Vec<Point> {
        let workers = self.lock();
        let Some(worker) = workers.by_id.get(worker) else {
            return Vec::new();
        };
        let most = length(resolution, workers.halvings);
        let mut points = match resolution {
            Resolution::FiveSeconds => worker.fine.points(now, most),
            Resolution::Minute => worker.coarse.points(now, most),
        };
        drop(workers);
        if let Some(since) = since {
            let span = i64::try_from(resolution.span().as_millis()).unwrap_or(i64::MAX);
            points.retain(|point| point.at.0.saturating_add(span) > since.0);
        }
        points
    }

    /// For how long each worker's figures are kept with as many workers as there are now.
    #[cfg(test)]
    fn kept_spans(&self, resolution: Resolution) -> Duration {
        let points = length(resolution, self.lock().halvings);
        resolution.span() * u32::try_from(points).unwrap_or(u32::MAX)
    }

    /// What all points take.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let workers = self.lock();
        let of = |worker: &Worker| worker.fine.bytes() + worker.coarse.bytes();
        workers.by_id.values().map(of).sum()
    }
}
