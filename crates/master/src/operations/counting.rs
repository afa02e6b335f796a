//! What this master counts, and what is looked at when somebody asks for it.

use cloudai_metrics::{
    DiskState, State, SubmitRefused,
    history::{Point, Resolution},
};
use cloudai_model::{Wall, WorkerId};
use cloudai_operator::Operator as _;

use super::Master;

impl Master {
    /// A submit was refused before it came to the core.
    pub(super) fn refused(&self, reason: SubmitRefused) {
        self.metrics.submit_refused(reason);
    }

    /// What a worker used; one that was registered and never heard of has said nothing.
    pub(super) fn used_by(
        &self,
        worker: &WorkerId,
        resolution: Resolution,
        since: Option<Wall>,
    ) -> Option<Vec<Point>> {
        let is_known = self.snapshot().workers.contains_key(worker);
        is_known.then(|| self.history.of(worker, resolution, since, self.now()))
    }

    /// Everything counted, with what is as it is now.
    pub(super) fn metrics_text(&self) -> String {
        let (snapshot, degraded, told) = (self.snapshot(), self.degraded(), self.disks());
        let store = self.store.describe();
        let disks: Vec<_> = told
            .disks
            .iter()
            .flat_map(|disk| {
                disk.holds.iter().copied().map(move |holds| DiskState {
                    holds,
                    total_bytes: disk.total_bytes,
                    free_bytes: disk.free_bytes,
                    keep_free_bytes: disk.keep_free_bytes,
                })
            })
            .collect();
        let kept = [
            ("logs", told.kept.map(|kept| kept.logs_bytes)),
            ("files", told.kept.map(|kept| kept.files_bytes)),
            ("store", told.store_bytes),
        ];
        let kept: Vec<_> = kept
            .into_iter()
            .filter_map(|(what, bytes)| Some((what, bytes?)))
            .collect();
        self.metrics.text(&State {
            version: crate::VERSION,
            store: store.split(' ').next().unwrap_or_default(),
            snapshot: &snapshot,
            degraded: degraded.as_ref(),
            held_up: told.held_up.is_some(),
            disks: &disks,
            kept: &kept,
        })
    }
}
