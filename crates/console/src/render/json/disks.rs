//! What the master's disks hold and have room for, in JSON.

use cloudai_operator::{Disk, Disks, Sweep};
use serde::Serialize;

/// Part of the cluster's status.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DisksJson {
    disks: Vec<DiskJson>,
    store_bytes: Option<u64>,
    logs_bytes: Option<u64>,
    files_bytes: Option<u64>,
    kept_limit_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_removed: Option<SweepJson>,
    takes_new_tasks: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_up: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct DiskJson {
    holds: Vec<&'static str>,
    folder: String,
    total_bytes: u64,
    free_bytes: u64,
    keep_free_bytes: u64,
    low: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct SweepJson {
    at: String,
    logs: u64,
    files: u64,
    tasks: u64,
    bytes: u64,
}

impl DisksJson {
    /// What the disks hold and have room for.
    #[must_use]
    pub(crate) fn new(disks: &Disks) -> Self {
        let kept = disks.kept.as_ref();
        Self {
            disks: disks.disks.iter().map(DiskJson::new).collect(),
            store_bytes: disks.store_bytes,
            logs_bytes: kept.map(|kept| kept.logs_bytes),
            files_bytes: kept.map(|kept| kept.files_bytes),
            kept_limit_bytes: disks.limit_bytes,
            last_removed: disks.last_sweep.as_ref().map(SweepJson::new),
            takes_new_tasks: disks.held_up.is_none(),
            held_up: disks.held_up.clone(),
        }
    }
}

impl DiskJson {
    fn new(disk: &Disk) -> Self {
        Self {
            holds: disk.holds.clone(),
            folder: disk.folder.display().to_string(),
            total_bytes: disk.total_bytes,
            free_bytes: disk.free_bytes,
            keep_free_bytes: disk.keep_free_bytes,
            low: disk.is_low,
        }
    }
}

impl SweepJson {
    fn new(sweep: &Sweep) -> Self {
        Self {
            at: sweep.at.to_string(),
            logs: sweep.logs,
            files: sweep.files,
            tasks: sweep.forgotten,
            bytes: sweep.bytes,
        }
    }
}
