//! One worker at length, in JSON.

use cloudai_api::{Task, gb};
use cloudai_core::registry::Worker;
use cloudai_model::Now;
use serde::Serialize;

use super::AttemptJson;
use crate::render::stats::Running;

/// A worker, what its machine uses, and the attempts it has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StatsJson {
    #[serde(flatten)]
    worker: cloudai_api::Worker,
    /// What is promised of each device, as a share of it.
    allocated_by_gpu: Vec<f64>,
    /// As of the last heartbeat; null while it is silent.
    usage: Option<UsageJson>,
    attempts: Vec<RunningJson>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct UsageJson {
    cpu_percent: f64,
    memory_gb: f64,
    storage_gb: f64,
    gpu_percent: f64,
    disk_read_bytes_per_s: f64,
    disk_write_bytes_per_s: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct RunningJson {
    #[serde(flatten)]
    attempt: AttemptJson,
    /// Null if the task has gone on to a later attempt.
    task: Option<Task>,
}

impl StatsJson {
    /// A worker as it is `now`, and what it runs.
    pub(crate) fn new(worker: &Worker, running: &[Running], now: Now) -> Self {
        let devices = worker.capacity.map_or(0, |capacity| capacity.gpus);
        let milli = |device| {
            worker
                .allocated
                .device_milli
                .get(usize::from(device))
                .copied()
        };
        Self {
            worker: cloudai_api::Worker::new(worker, now),
            allocated_by_gpu: (0..devices)
                .map(|device| f64::from(milli(device).unwrap_or(0)) / 1000.0)
                .collect(),
            usage: worker.active.then(|| UsageJson {
                cpu_percent: worker.usage.cpu_percent,
                memory_gb: gb(worker.usage.memory_bytes),
                storage_gb: gb(worker.usage.storage_bytes),
                gpu_percent: worker.usage.gpu_percent,
                disk_read_bytes_per_s: worker.usage.disk_read_bytes_per_s,
                disk_write_bytes_per_s: worker.usage.disk_write_bytes_per_s,
            }),
            attempts: running
                .iter()
                .map(|(attempt, record)| RunningJson {
                    attempt: AttemptJson::new(attempt),
                    task: record.as_ref().map(|record| Task::new(record, None)),
                })
                .collect(),
        }
    }
}
