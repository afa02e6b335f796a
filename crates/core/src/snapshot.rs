//! What readers see: an immutable picture of what is small.

use std::{collections::BTreeMap, sync::Arc};

use cloudai_model::{ClusterId, Now, WorkerId};

use crate::{core::Core, registry::Worker, stop_orders::FormerRegistrations, users::Users};

/// The workers and the counts at one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was taken.
    pub now: Now,
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Whether the store has been read.
    pub ready: bool,
    /// Why no new task is taken and none is placed; `None`: they are.
    pub held_up: Option<Arc<str>>,
    /// The workers by id.
    pub workers: BTreeMap<WorkerId, Arc<Worker>>,
    /// Under which registrations former workers still have something to report.
    pub former: Arc<FormerRegistrations>,
    /// What each user may have and has.
    pub users: Users,
    /// How many tasks wait.
    pub waiting: usize,
    /// How many tasks wait or run.
    pub live: usize,
}

impl Snapshot {
    /// Before a store was read.
    #[must_use]
    pub fn unready(cluster: ClusterId) -> Self {
        let workers = BTreeMap::new();
        Self {
            now: Now::default(),
            cluster,
            ready: false,
            held_up: None,
            workers,
            former: Arc::default(),
            users: Users::default(),
            waiting: 0,
            live: 0,
        }
    }

    /// How many workers are active.
    #[must_use]
    pub fn active_workers(&self) -> usize {
        self.workers.values().filter(|worker| worker.active).count()
    }
}

impl Core {
    /// A picture of the core as it is. Costs a pointer for each worker.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> Snapshot {
        Snapshot {
            now,
            cluster: self.cluster.clone(),
            ready: self.ready,
            held_up: self.held_up.clone(),
            workers: self.registry.snapshot(),
            former: self.stop_orders.registrations(),
            users: self.registry.users().clone(),
            waiting: self.queue.len(),
            live: self.tasks.len(),
        }
    }
}
