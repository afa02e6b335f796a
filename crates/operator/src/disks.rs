//! What the master's disks hold, and how much room they have.

use std::path::PathBuf;

use cloudai_model::Wall;

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Disks {
    /// Each disk once.
    pub disks: Vec<Disk>,
    /// What the store's files take; `None` where it keeps none on this machine.
    pub store_bytes: Option<u64>,
    /// What logs and files take, as counted last; `None` before the first count.
    pub kept: Option<KeptBytes>,
    /// More than this retention doesn't keep of logs and files together; `None`: any amount.
    pub limit_bytes: Option<u64>,
    /// What retention removed last, if it has removed anything since the start.
    pub last_sweep: Option<Sweep>,
    /// Why no new task is taken and none is placed; `None`: they are.
    pub held_up: Option<String>,
}

/// A disk that the master writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// What lies on it: `store`, `logs`, `files`.
    pub holds: Vec<&'static str>,
    /// The folder that was asked about.
    pub folder: PathBuf,
    /// Its size.
    pub total_bytes: u64,
    /// What may still be taken.
    pub free_bytes: u64,
    /// With less free than this no new task is taken.
    pub keep_free_bytes: u64,
    /// Whether there is less.
    pub is_low: bool,
    /// Whether there is so little that logs and files wait with their workers.
    pub is_held: bool,
}

/// What logs and files take on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptBytes {
    /// Tasks' logs.
    pub logs_bytes: u64,
    /// Tasks' output files.
    pub files_bytes: u64,
    /// When they were counted.
    pub at: Wall,
}

/// What retention removed in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sweep {
    /// When.
    pub at: Wall,
    /// Of how many tasks the logs.
    pub logs: u64,
    /// Of how many tasks the files.
    pub files: u64,
    /// How many tasks were forgotten.
    pub forgotten: u64,
    /// What that took on disk.
    pub bytes: u64,
}
