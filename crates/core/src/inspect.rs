//! Two views of the same cluster side by side: what the master has promised, and what each worker
//! last said that it holds; with every difference between them.
//!
//! A difference is no fault by itself: an assignment may be on its way, a stop may take its time.

use std::sync::Arc;

use cloudai_model::{AttemptId, Grant, Mono, Phase, WorkerId, record::StopOrder};

use crate::{
    lifecycle::AttemptState,
    registry::{Allocated, Worker},
};

/// The cluster at one instant, in both views.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// When.
    pub at: Mono,
    /// Every registered worker, by id.
    pub workers: Vec<InspectedWorker>,
    /// Attempts that former workers, or workers that were lost, are to stop.
    pub stop_orders: Vec<StopOrder>,
    /// How many tasks wait.
    pub waiting: usize,
    /// How many tasks wait or run.
    pub live: usize,
}

/// One worker in both views.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedWorker {
    /// The master's view of the worker; what it last said is in it, too.
    pub worker: Arc<Worker>,
    /// What is promised of it, by attempt.
    pub promises: Vec<Promise>,
    /// Where the views differ.
    pub differences: Vec<Difference>,
}

/// What is promised to one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Where the master thinks it stands; `None`: it is not live.
    pub state: Option<AttemptState>,
    /// What it holds of the worker now.
    pub grant: Grant,
    /// How far the worker said it is; `None`: it didn't name it.
    pub said: Option<Phase>,
}

/// Where two views differ.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// The master expects it there, and the worker's last word lacks it.
    Missing(AttemptId),
    /// The worker holds it, and the master doesn't want it there.
    Unwanted(AttemptId, Phase),
    /// Something is promised to an attempt that is not live.
    Orphaned(AttemptId),
    /// A live attempt on this worker has nothing promised to it.
    Unreserved(AttemptId),
    /// The sum of the promises is not what is counted as promised.
    Miscounted {
        /// What is counted.
        counted: Allocated,
        /// The sum.
        sum: Allocated,
    },
}

/// A difference, and what was done about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mended {
    /// On which worker.
    pub worker: WorkerId,
    /// What was found.
    pub difference: Difference,
    /// What was done; `None` where only time tells: it may be on its way.
    pub deed: Option<Deed>,
}

/// See [`Mended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The worker was asked to stop it.
    StopAsked,
    /// The attempt counts as lost: its task waits again, or has ended.
    CountedAsLost,
    /// The assignment was sent once more.
    SentAgain,
    /// The promise was taken back.
    Released,
    /// What it needs was promised to it.
    Reserved,
    /// The sum was taken anew.
    Recounted,
}
