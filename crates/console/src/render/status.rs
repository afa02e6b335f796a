//! The cluster as a whole, on one screen.

use std::{collections::BTreeMap, fmt::Write as _};

use cloudai_model::{TaskStatus, resources::bytes_to_gb};

use super::text::safe;
use cloudai_core::Snapshot;
use cloudai_operator::About;

/// What all active workers offer, and how much of it is promised, in the contract's units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Totals {
    /// Registered workers that were heard of lately.
    pub(crate) active: usize,
    /// Promised and offered cores.
    pub(crate) cpu_cores: (f64, f64),
    /// Promised and offered GB of memory.
    pub(crate) memory_gb: (f64, f64),
    /// Promised and offered GB of disk.
    pub(crate) storage_gb: (f64, f64),
    /// Promised and offered GPUs.
    pub(crate) gpus: (f64, f64),
}

impl Totals {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let active = || snapshot.workers.values().filter(|worker| worker.active);
        // Integers are summed, so that many small amounts don't drift.
        let sum = |amount: fn(&cloudai_core::registry::Worker) -> (u64, u64)| {
            active()
                .map(|worker| amount(worker))
                .fold((0_u64, 0_u64), |(a, b), (c, d)| (a + c, b + d))
        };
        let milli = |(taken, all)| (taken as f64 / 1000.0, all as f64 / 1000.0);
        let gb = |(taken, all)| (bytes_to_gb(taken), bytes_to_gb(all));
        Self {
            active: active().count(),
            cpu_cores: milli(sum(|w| {
                (
                    w.allocated.cpu_milli,
                    w.capacity.unwrap_or_default().cpu_milli,
                )
            })),
            memory_gb: gb(sum(|w| {
                (
                    w.allocated.memory_bytes,
                    w.capacity.unwrap_or_default().memory_bytes,
                )
            })),
            storage_gb: gb(sum(|w| {
                (
                    w.allocated.storage_bytes,
                    w.capacity.unwrap_or_default().storage_bytes,
                )
            })),
            gpus: milli(sum(|w| {
                let devices = w.capacity.unwrap_or_default().gpus;
                (
                    u64::from(w.allocated.gpu_milli()),
                    u64::from(devices) * 1000,
                )
            })),
        }
    }
}

/// The screen.
pub(crate) fn status(
    about: &About,
    snapshot: &Snapshot,
    counts: &BTreeMap<TaskStatus, u64>,
) -> String {
    let totals = Totals::of(snapshot);
    let mut text = format!("Cluster {}, master {}\n", snapshot.cluster, about.version);
    if !snapshot.ready {
        text.push_str("  Starting: the store is still being read\n");
    }
    let services = about
        .services
        .iter()
        .map(|(name, address)| format!("{name} {address}"));
    let _ = writeln!(
        text,
        "  Listening: {}",
        services.collect::<Vec<_>>().join(", ")
    );
    let _ = writeln!(text, "  Store:     {}", safe(&about.store));
    let inactive = snapshot.workers.len() - totals.active;
    let _ = writeln!(
        text,
        "  Workers:   {} active, {inactive} inactive",
        totals.active
    );
    let of = |(taken, all): (f64, f64)| format!("{taken:.1} of {all:.1}");
    let _ = writeln!(
        text,
        "  Promised:  CPU {}, Memory {} GB, GPU {}",
        of(totals.cpu_cores),
        of(totals.memory_gb),
        of(totals.gpus)
    );
    let tasks = TaskStatus::ALL.iter().map(|status| {
        let count = counts.get(status).copied().unwrap_or(0);
        format!("{count} {status}")
    });
    let _ = writeln!(
        text,
        "  Tasks:     {}",
        tasks.collect::<Vec<_>>().join(", ")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{about, snapshot_of, worker};

    #[test]
    fn one_screen_tells_workers_capacity_and_tasks() {
        let mut busy = worker("worker-1", "localhost");
        busy.active = true;
        busy.allocated.cpu_milli = 1500;
        let away = worker("worker-2", "10.0.0.2");
        let counts = BTreeMap::from([(TaskStatus::Queued, 2), (TaskStatus::Completed, 12)]);

        assert_eq!(
            status(&about(), &snapshot_of([busy, away]), &counts),
            "\
Cluster c-1, master 0.1.0
  Listening: gRPC :50051, HTTP :8080
  Store:     sqlite ./cloudai-data/cloudai.db
  Workers:   1 active, 1 inactive
  Promised:  CPU 1.5 of 4.0, Memory 0.0 of 8.0 GB, GPU 0.0 of 0.0
  Tasks:     2 queued, 0 pending, 0 running, 12 completed, 0 failed, 0 cancelled
"
        );
    }

    #[test]
    fn a_master_that_still_reads_its_store_says_so() {
        let mut snapshot = snapshot_of([]);
        snapshot.ready = false;
        let text = status(&about(), &snapshot, &BTreeMap::new());
        assert!(
            text.contains("\n  Starting: the store is still being read\n"),
            "{text}"
        );
    }
}
