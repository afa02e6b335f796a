//! What workers' machines use and what of them is promised: now, and in the last hour and day.

use cloudai_core::{Snapshot, registry};
use cloudai_metrics::history::{Figures, Point, Resolution};
use cloudai_model::{Now, Wall, WorkerId, WorkerStatus, resources::bytes_to_gb};
use serde::Serialize;
use utoipa::{ToSchema, openapi::Object};

use crate::{
    figures::{Time, gb, of_milli, rounded, words},
    worker::Worker,
};

/// What a worker's machine uses, and what of it is promised. What is not known yet is null.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WorkerTelemetry {
    /// The worker.
    #[schema(example = "worker-1")]
    worker_id: String,
    /// Whether it can be given tasks.
    #[schema(schema_with = status_schema)]
    status: &'static str,
    /// When it said so.
    last_seen_at: Option<Time>,
    /// Percent of all cores in use.
    cpu_percent: f64,
    /// GB of memory in use.
    used_memory: f64,
    /// GB of disk in use.
    used_storage: f64,
    /// Percent of all GPUs in use.
    gpu_percent: f64,
    /// Bytes a second read from disks.
    disk_read_bytes_per_s: f64,
    /// Bytes a second written to disks.
    disk_write_bytes_per_s: f64,
    /// Cores that it offers.
    total_cpu: Option<f64>,
    /// GB of memory that it offers.
    total_memory: Option<f64>,
    /// GB of disk that it offers.
    total_storage: Option<f64>,
    /// GPUs that it offers.
    total_gpu: Option<f64>,
    /// Cores that are promised to tasks.
    allocated_cpu: f64,
    /// GB of memory that are promised.
    allocated_memory: f64,
    /// GB of disk that are promised.
    allocated_storage: f64,
    /// GPUs that are promised.
    allocated_gpu: f64,
    /// How many tasks it was given that have not ended.
    running_tasks: usize,
    /// Why it takes nothing new, in its own words; empty if it does.
    reason: String,
}

fn status_schema() -> Object {
    words(WorkerStatus::ALL.iter().map(|word| word.as_str())).into()
}

impl WorkerTelemetry {
    /// A worker as it is `now`.
    #[must_use]
    pub fn new(worker: &registry::Worker, now: Now) -> Self {
        let (usage, taken, capacity) = (&worker.usage, &worker.allocated, worker.capacity);
        Self {
            worker_id: worker.id.to_string(),
            status: worker.status().as_str(),
            last_seen_at: Time::of(last_seen(worker, now)),
            cpu_percent: usage.cpu_percent,
            used_memory: gb(usage.memory_bytes),
            used_storage: gb(usage.storage_bytes),
            gpu_percent: usage.gpu_percent,
            disk_read_bytes_per_s: usage.disk_read_bytes_per_s,
            disk_write_bytes_per_s: usage.disk_write_bytes_per_s,
            total_cpu: capacity.map(|all| of_milli(all.cpu_milli)),
            total_memory: capacity.map(|all| gb(all.memory_bytes)),
            total_storage: capacity.map(|all| gb(all.storage_bytes)),
            total_gpu: capacity.map(|all| f64::from(all.gpus)),
            allocated_cpu: of_milli(taken.cpu_milli),
            allocated_memory: gb(taken.memory_bytes),
            allocated_storage: gb(taken.storage_bytes),
            allocated_gpu: f64::from(taken.gpu_milli()) / 1000.0,
            running_tasks: worker.attempts.len(),
            reason: worker.unwell.clone().unwrap_or_default(),
        }
    }
}

/// Heartbeats move the monotonic mark only; the wall's time follows from it.
fn last_seen(worker: &registry::Worker, now: Now) -> Option<Wall> {
    worker.last_heard.map_or(worker.last_seen_at, |heard| {
        let ago = i64::try_from(now.mono.since(heard).as_millis()).unwrap_or(i64::MAX);
        Some(Wall(now.wall.0.saturating_sub(ago)))
    })
}

/// What all workers use.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Telemetry {
    /// As of when.
    at: Time,
    /// The workers, by id.
    workers: Vec<WorkerTelemetry>,
}

impl Telemetry {
    /// All workers as they are `now`.
    #[must_use]
    pub fn new(snapshot: &Snapshot, now: Now) -> Self {
        let workers = snapshot.workers.values();
        Self {
            at: now.wall.into(),
            workers: workers
                .map(|worker| WorkerTelemetry::new(worker, now))
                .collect(),
        }
    }
}

/// All workers in one answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Workers {
    /// As of when.
    at: Time,
    /// The workers, by id.
    workers: Vec<Worker>,
}

impl Workers {
    /// These workers, as they were then.
    #[must_use]
    pub fn new(at: Wall, workers: Vec<Worker>) -> Self {
        let at = at.into();
        Self { at, workers }
    }
}

/// What a worker's machine used over a time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WorkerMetrics {
    /// The worker.
    worker_id: String,
    /// What one point covers.
    #[schema(schema_with = resolution_schema)]
    resolution: &'static str,
    /// The points by time. A span in which nothing was said has none; the last one may go on.
    points: Vec<MetricsPoint>,
}

/// How finely a history is wanted, as the query says it.
#[must_use]
pub fn resolution_word(resolution: Resolution) -> &'static str {
    match resolution {
        Resolution::FiveSeconds => "5s",
        Resolution::Minute => "1m",
    }
}

fn resolution_schema() -> Object {
    let all = [Resolution::FiveSeconds, Resolution::Minute];
    words(all.map(resolution_word)).into()
}

impl WorkerMetrics {
    /// What is known of a worker.
    #[must_use]
    pub fn new(worker: &WorkerId, resolution: Resolution, points: &[Point]) -> Self {
        Self {
            worker_id: worker.to_string(),
            resolution: resolution_word(resolution),
            points: points.iter().map(MetricsPoint::from).collect(),
        }
    }
}

/// What was used in one span of time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MetricsPoint {
    /// When it began.
    at: Time,
    /// The mean of each figure.
    mean: UsedFigures,
    /// The highest of each figure.
    max: UsedFigures,
}

impl From<&Point> for MetricsPoint {
    fn from(point: &Point) -> Self {
        Self {
            at: point.at.into(),
            mean: point.mean.into(),
            max: point.max.into(),
        }
    }
}

/// What a machine uses; exact to seven digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct UsedFigures {
    /// Percent of all cores.
    cpu_percent: f32,
    /// GB of memory.
    used_memory: f64,
    /// GB of disk.
    used_storage: f64,
    /// Percent of all GPUs.
    gpu_percent: f32,
    /// Bytes a second read from disks.
    disk_read_bytes_per_s: f32,
    /// Bytes a second written to disks.
    disk_write_bytes_per_s: f32,
    /// Tasks that it was given and that had not ended.
    running_tasks: f32,
}

impl From<Figures> for UsedFigures {
    fn from(figures: Figures) -> Self {
        Self {
            cpu_percent: figures.cpu_percent,
            used_memory: in_gb(figures.memory_bytes),
            used_storage: in_gb(figures.storage_bytes),
            gpu_percent: figures.gpu_percent,
            disk_read_bytes_per_s: figures.disk_read_bytes_per_s,
            disk_write_bytes_per_s: figures.disk_write_bytes_per_s,
            running_tasks: figures.attempts,
        }
    }
}

/// In GB, with no more digits than the figure has.
fn in_gb(bytes: f32) -> f64 {
    // A float to an integer saturates, and what is no number is 0.
    (rounded(bytes_to_gb(bytes as u64)) * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use cloudai_model::{AttemptId, Capacity, HostUsage, Mono, TaskId, record::WorkerRecord};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_worker_is_told_with_how_many_tasks_it_has_and_not_with_which() {
        // Given a worker that was heard of two seconds ago and has a task,
        let record = WorkerRecord {
            worker: "worker-1".parse().unwrap(),
            address: "10.0.0.2".parse().unwrap(),
            capacity: Some(Capacity {
                cpu_milli: 8000,
                memory_bytes: 16 << 30,
                storage_bytes: 100 << 30,
                gpus: 2,
            }),
            version: None,
            labels: BTreeMap::new(),
            registration: 1,
            registered_at: Wall(0),
            last_seen_at: None,
            draining: false,
        };
        let mut worker = registry::Worker::from_record(record);
        worker.last_heard = Some(Mono(58_000));
        worker.usage = HostUsage {
            cpu_percent: 12.5,
            memory_bytes: 3 << 29,
            ..HostUsage::default()
        };
        let attempt = AttemptId::new(TaskId::numbered(1), 1);
        worker.attempts.insert(attempt);
        let now = Now {
            mono: Mono(60_000),
            wall: Wall(1_697_123_460_000),
        };
        let mut snapshot = Snapshot::unready("c-1".parse().unwrap());
        snapshot.workers.insert(worker.id.clone(), Arc::new(worker));
        // then everybody may see what it uses, and nobody whose task it is.
        let told = serde_json::to_value(Telemetry::new(&snapshot, now)).unwrap();
        assert_eq!(told["at"], "2023-10-12T15:11:00.000Z");
        let worker = &told["workers"][0];
        assert_eq!(worker["last_seen_at"], "2023-10-12T15:10:58.000Z");
        assert_eq!(worker["cpu_percent"], json!(12.5));
        assert_eq!(worker["used_memory"], json!(1.5));
        assert_eq!(worker["total_gpu"], json!(2.0));
        assert_eq!(worker["running_tasks"], json!(1));
        assert!(!told.to_string().contains("task-1"));
    }

    #[test]
    fn a_point_has_no_digits_that_its_figure_has_not() {
        let memory = 5.3 * f64::from(1 << 30);
        let figures = Figures::from([0.1, memory, 0.0, 0.0, 0.0, 0.0, 2.0]);
        let point = Point {
            at: Wall(0),
            mean: figures,
            max: figures,
        };
        let worker = "w".parse().unwrap();
        let told = WorkerMetrics::new(&worker, Resolution::Minute, &[point]);
        let told = serde_json::to_string(&told).unwrap();
        assert!(told.contains("\"resolution\":\"1m\""), "{told}");
        assert!(
            told.contains("\"cpu_percent\":0.1,\"used_memory\":5.3,"),
            "{told}"
        );
    }
}
