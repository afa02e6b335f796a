//! What only the console shows in JSON. Tasks, workers and files it shows as REST does, with the types
//! of `cloudai-api`.

mod disks;
mod inspection;
mod stats;

use std::collections::BTreeMap;

use cloudai_api::rounded;
use cloudai_core::Snapshot;
use cloudai_model::{AttemptId, TaskStatus};
use cloudai_operator::{About, Degraded, Disks};
use serde::Serialize;

use self::disks::DisksJson;
use super::status::{StoreStatus, Totals};

pub(crate) use self::{inspection::InspectionJson, stats::StatsJson};

/// One run of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct AttemptJson {
    task_id: String,
    attempt: u32,
}

impl AttemptJson {
    fn new(attempt: &AttemptId) -> Self {
        Self {
            task_id: attempt.task.to_string(),
            attempt: attempt.number,
        }
    }
}

/// The cluster as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StatusJson {
    cluster_id: String,
    version: String,
    ready: bool,
    store: String,
    listening: BTreeMap<String, String>,
    workers: usize,
    active_workers: usize,
    total_cpu: f64,
    total_memory: f64,
    total_storage: f64,
    total_gpu: f64,
    allocated_cpu: f64,
    allocated_memory: f64,
    allocated_storage: f64,
    allocated_gpu: f64,
    /// Null while the store can't be asked.
    tasks: Option<BTreeMap<&'static str, u64>>,
    /// Null while all is well.
    degraded: Option<DegradedJson>,
    #[serde(flatten)]
    disks: DisksJson,
}

/// The store's database is out of reach.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct DegradedJson {
    since: String,
    reason: String,
    store_read: bool,
    journaled_changes: usize,
    journaled_submits: usize,
    journal_bytes: u64,
}

impl DegradedJson {
    fn new(away: &Degraded) -> Self {
        Self {
            since: away.since.to_string(),
            reason: away.reason.clone(),
            store_read: away.read,
            journaled_changes: away.changes,
            journaled_submits: away.submitted,
            journal_bytes: away.journal_bytes,
        }
    }
}

impl StatusJson {
    /// The cluster as a whole.
    #[must_use]
    pub(crate) fn new(
        about: &About,
        snapshot: &Snapshot,
        disks: &Disks,
        store: &StoreStatus,
    ) -> Self {
        let totals = Totals::of(snapshot);
        Self {
            cluster_id: snapshot.cluster.to_string(),
            version: about.version.clone(),
            ready: snapshot.ready,
            store: about.store.clone(),
            listening: about.services.iter().cloned().collect(),
            workers: snapshot.workers.len(),
            active_workers: totals.active,
            total_cpu: totals.cpu_cores.1,
            total_memory: rounded(totals.memory_gb.1),
            total_storage: rounded(totals.storage_gb.1),
            total_gpu: totals.gpus.1,
            allocated_cpu: totals.cpu_cores.0,
            allocated_memory: rounded(totals.memory_gb.0),
            allocated_storage: rounded(totals.storage_gb.0),
            allocated_gpu: totals.gpus.0,
            tasks: store.counts.as_ref().map(|counts| {
                let count = |status| counts.get(status).copied().unwrap_or(0);
                let all = TaskStatus::ALL.iter();
                all.map(|status| (status.as_str(), count(status))).collect()
            }),
            degraded: store.degraded.as_ref().map(DegradedJson::new),
            disks: DisksJson::new(disks),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{snapshot_of, worker};

    #[test]
    fn the_cluster_counts_only_what_is_there_to_be_used() {
        let mut active = worker("worker-1", "localhost");
        active.active = true;
        let snapshot = snapshot_of([active, worker("worker-2", "10.0.0.2")]);
        let store = StoreStatus {
            counts: Some(BTreeMap::from([(TaskStatus::Running, 2)])),
            degraded: None,
        };
        let value = serde_json::to_value(StatusJson::new(
            &crate::testing::about(),
            &snapshot,
            &Disks::default(),
            &store,
        ))
        .unwrap();
        assert_eq!(
            (&value["workers"], &value["active_workers"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(value["total_cpu"], 4.0);
        assert_eq!(value["tasks"]["running"], 2);
        assert_eq!(value["listening"]["HTTP"], ":8080");
    }
}
