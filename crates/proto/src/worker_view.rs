//! A line of ListWorkers: [`WorkerEntry`] as `WorkerView`.

use std::collections::BTreeMap;

use cloudai_model::{Capacity, Wall, WorkerId, WorkerStatus, resources::bytes_to_gb};

use crate::{cluster, field, hello::WorkerHello};

/// A worker of the registry, as the master shows it to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerEntry {
    /// Its id.
    pub worker: WorkerId,
    /// The address that it shows; empty if it never was seen.
    pub shown_ip: String,
    /// Where it is dialled.
    pub address: String,
    /// What it offers; `None` if that isn't known.
    pub capacity: Option<Capacity>,
    /// Its program's version.
    pub version: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it can be given tasks.
    pub status: WorkerStatus,
    /// What is taken of it.
    pub allocated: Allocated,
    /// How many attempts it holds.
    pub running_tasks: u32,
    /// When it was last heard of.
    pub last_seen: Option<Wall>,
}

/// What is taken of a worker, over all its reservations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allocated {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of disk.
    pub storage_bytes: u64,
    /// Milli-GPUs over all devices.
    pub gpu_milli: u64,
}

impl WorkerEntry {
    /// As the wire has it.
    #[must_use]
    pub fn into_wire(self) -> cluster::WorkerView {
        let capacity_known = self.capacity.is_some();
        let info = WorkerHello {
            worker: self.worker,
            shown_ip: self.shown_ip,
            capacity: self.capacity.unwrap_or_default(),
            version: self.version,
            labels: self.labels,
            grpc_port: None,
            home: None,
            incarnation: None,
        };
        cluster::WorkerView {
            info: Some(info.into_wire()),
            address: self.address,
            status: self.status.to_string(),
            allocated_cpu: field::whole(self.allocated.cpu_milli),
            allocated_memory: bytes_to_gb(self.allocated.memory_bytes),
            allocated_storage: bytes_to_gb(self.allocated.storage_bytes),
            allocated_gpu: field::whole(self.allocated.gpu_milli),
            running_tasks: self.running_tasks,
            last_heartbeat: field::unix_seconds(self.last_seen),
            capacity_known,
        }
    }
}

/// The whole registry as ListWorkers answers it.
#[must_use]
pub fn worker_list(workers: impl IntoIterator<Item = WorkerEntry>) -> cluster::WorkerList {
    cluster::WorkerList {
        workers: workers.into_iter().map(WorkerEntry::into_wire).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_shown_in_the_contracts_units() {
        let never_seen = WorkerEntry {
            worker: "worker-1".parse().unwrap(),
            shown_ip: String::new(),
            address: "10.0.0.2:50052".to_owned(),
            capacity: None,
            version: None,
            labels: BTreeMap::new(),
            status: WorkerStatus::Inactive,
            allocated: Allocated::default(),
            running_tasks: 0,
            last_seen: None,
        };
        let busy = WorkerEntry {
            capacity: Some(Capacity {
                cpu_milli: 4000,
                memory_bytes: 8 << 30,
                storage_bytes: 1 << 30,
                gpus: 1,
            }),
            status: WorkerStatus::Active,
            allocated: Allocated {
                cpu_milli: 1500,
                memory_bytes: 1 << 29,
                storage_bytes: 0,
                gpu_milli: 250,
            },
            running_tasks: 2,
            last_seen: Some(Wall(5_999)),
            ..never_seen.clone()
        };
        let list = worker_list([never_seen, busy]);
        let [never_seen, busy] = &list.workers[..] else {
            panic!("two workers in, two out")
        };
        assert!(!never_seen.capacity_known);
        assert_eq!(
            (never_seen.status.as_str(), never_seen.last_heartbeat),
            ("inactive", 0)
        );
        assert_eq!(busy.info.as_ref().unwrap().total_cpu, 4.0);
        assert_eq!((busy.allocated_cpu, busy.allocated_memory), (1.5, 0.5));
        assert_eq!((busy.allocated_gpu, busy.last_heartbeat), (0.25, 5));
    }
}
