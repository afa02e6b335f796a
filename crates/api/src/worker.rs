//! Workers: what is known of them, and how one is made known.

use std::collections::BTreeMap;

use cloudai_core::registry;
use cloudai_model::{AttemptId, Now, Wall, WorkerStatus};
use cloudai_operator::Registered;
use serde::Serialize;
use serde_json::Value;
use utoipa::{ToSchema, openapi::Object};

use crate::{
    figures::{Time, gb, of_milli, words},
    problem::Mistakes,
    read::{FromJson, Object as Fields},
};

/// A worker. What is not known yet is null.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Worker {
    /// Its id.
    #[schema(example = "worker-1")]
    worker_id: String,
    /// Whether it can be given tasks.
    #[schema(schema_with = status_schema)]
    status: &'static str,
    /// Where it is dialled.
    #[schema(example = "10.0.0.2:50052")]
    address: String,
    /// Its program's version; null for an old node or one never seen.
    version: Option<String>,
    /// Its labels.
    labels: BTreeMap<String, String>,
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
    /// The tasks it was given and that have not ended.
    running_tasks: Vec<String>,
    /// Whether it is given nothing new, by an admin's wish.
    draining: bool,
    /// Why it is left alone for a moment.
    held_off: Option<String>,
    /// Why it is given nothing for a while.
    set_aside: Option<String>,
    /// Why it takes nothing new, in its own words.
    reason: String,
    /// When it was registered.
    registered_at: Time,
    /// When it was last heard of.
    last_seen_at: Option<Time>,
}

fn status_schema() -> Object {
    words(WorkerStatus::ALL.iter().map(|word| word.as_str())).into()
}

impl Worker {
    /// A worker as it is `now`.
    #[must_use]
    pub fn new(worker: &registry::Worker, now: Now) -> Self {
        let taken = &worker.allocated;
        let capacity = worker.capacity;
        // Heartbeats move the monotonic mark only; the wall's time follows from it.
        let seen = worker.last_heard.map_or(worker.last_seen_at, |heard| {
            let ago = i64::try_from(now.mono.since(heard).as_millis()).unwrap_or(i64::MAX);
            Some(Wall(now.wall.0.saturating_sub(ago)))
        });
        Self {
            worker_id: worker.id.to_string(),
            status: worker.status().as_str(),
            address: worker.address.to_string(),
            version: worker.version.clone(),
            labels: worker.labels.clone(),
            total_cpu: capacity.map(|all| of_milli(all.cpu_milli)),
            total_memory: capacity.map(|all| gb(all.memory_bytes)),
            total_storage: capacity.map(|all| gb(all.storage_bytes)),
            total_gpu: capacity.map(|all| f64::from(all.gpus)),
            allocated_cpu: of_milli(taken.cpu_milli),
            allocated_memory: gb(taken.memory_bytes),
            allocated_storage: gb(taken.storage_bytes),
            allocated_gpu: f64::from(taken.gpu_milli()) / 1000.0,
            running_tasks: tasks_of(worker.attempts.iter()),
            draining: worker.draining,
            held_off: worker
                .hold_off
                .as_ref()
                .filter(|hold_off| hold_off.until > now.mono)
                .map(|hold_off| hold_off.reason.clone()),
            set_aside: worker
                .set_aside
                .as_ref()
                .filter(|aside| aside.until > now.mono)
                .map(|aside| aside.reason.clone()),
            reason: worker.unwell.clone().unwrap_or_default(),
            registered_at: worker.registered_at.into(),
            last_seen_at: Time::of(seen),
        }
    }

    /// The same for somebody who may not know whose tasks run there: of its tasks only those that
    /// `is_seen` says.
    #[must_use]
    pub fn with_tasks(mut self, is_seen: impl Fn(&str) -> bool) -> Self {
        self.running_tasks.retain(|task| is_seen(task));
        self
    }
}

fn tasks_of<'a>(attempts: impl Iterator<Item = &'a AttemptId>) -> Vec<String> {
    attempts.map(|attempt| attempt.task.to_string()).collect()
}

/// A worker to be registered.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWorker {
    /// Its id.
    #[schema(example = "worker-1", pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub worker_id: String,
    /// Where it is dialled: `host` or `host:port`, 50052 if none is named.
    #[schema(example = "10.0.0.2:50052")]
    pub address: String,
}

impl FromJson for NewWorker {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Fields::of(value, at, mistakes)?;
        let worker_id = fields.required("worker_id");
        let address = fields.required("address");
        fields.finish();
        Some(Self {
            worker_id: worker_id?,
            address: address?,
        })
    }
}

/// A worker that is known now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RegisteredWorker {
    /// Its id.
    worker_id: String,
    /// Where it is dialled.
    address: String,
    /// What its program is given as `-token`.
    token: String,
    /// Where it finds this master.
    master_address: String,
    /// Whether it was registered there before.
    already: bool,
}

impl From<&Registered> for RegisteredWorker {
    fn from(registered: &Registered) -> Self {
        Self {
            worker_id: registered.record.worker.to_string(),
            address: registered.record.address.to_string(),
            token: registered.token.clone(),
            master_address: registered.master_address.clone(),
            already: registered.already,
        }
    }
}

/// Whether a worker is given nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// `false` lets it have tasks again, also one that was set aside.
    #[schema(value_type = Option<bool>, default = true)]
    pub draining: bool,
}

impl FromJson for Drain {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Fields::of(value, at, mistakes)?;
        let draining = fields.take("draining").unwrap_or(true);
        fields.finish();
        Some(Self { draining })
    }
}

/// What was taken from a worker that was unregistered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Unregistered {
    /// The worker.
    worker_id: String,
    /// The tasks it had; they are run elsewhere.
    tasks: Vec<String>,
}

impl Unregistered {
    /// What this worker had.
    #[must_use]
    pub fn new(worker_id: String, taken: &[AttemptId]) -> Self {
        Self {
            worker_id,
            tasks: tasks_of(taken.iter()),
        }
    }
}

/// What a worker still has to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Drained {
    /// The worker.
    worker_id: String,
    /// Whether it is given nothing new.
    draining: bool,
    /// The tasks it still has.
    tasks: Vec<String>,
}

impl Drained {
    /// What is left on this worker.
    #[must_use]
    pub fn new(worker_id: String, draining: bool, left: &[AttemptId]) -> Self {
        Self {
            worker_id,
            draining,
            tasks: tasks_of(left.iter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::{Mono, record::WorkerRecord};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unseen_worker_has_an_unknown_capacity_and_not_none() {
        let record = WorkerRecord {
            worker: "worker-2".parse().unwrap(),
            address: "10.0.0.2".parse().unwrap(),
            capacity: None,
            version: None,
            labels: BTreeMap::new(),
            registration: 1,
            registered_at: Wall(0),
            last_seen_at: None,
            draining: false,
        };
        let now = Now {
            mono: Mono(60_000),
            wall: Wall(1_697_123_460_000),
        };
        let worker = registry::Worker {
            last_heard: Some(Mono(58_000)),
            ..registry::Worker::from_record(record)
        };
        let value = serde_json::to_value(Worker::new(&worker, now)).unwrap();
        assert_eq!(value["total_cpu"], json!(null));
        assert_eq!(value["status"], "inactive");
        assert_eq!(value["address"], "10.0.0.2:50052");
        assert_eq!(value["last_seen_at"], "2023-10-12T15:10:58.000Z");
    }
}
