//! The latest snapshot of the core, for any number of readers that never wait.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cloudai_core::Snapshot;
use cloudai_model::ClusterId;

/// See the module.
#[derive(Debug, Clone)]
pub struct Snapshots(Arc<ArcSwap<Snapshot>>);

impl Snapshots {
    /// Before the store was read.
    #[must_use]
    pub fn unready(cluster: ClusterId) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Snapshot::unready(cluster))))
    }

    /// Makes a snapshot the latest.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }

    /// The latest.
    #[must_use]
    pub fn latest(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}
