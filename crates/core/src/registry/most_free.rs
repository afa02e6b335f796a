//! The most that is free of each kind on any worker: what asks for more fits nowhere.

use cloudai_model::{GpuRequest, Mono, Resources, resources::WHOLE_DEVICE};

use super::{Registry, Worker};

/// See the module. What asks for no more may still fit nowhere: the most of one kind may be on one
/// worker, and that of another kind on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MostFree {
    cpu_milli: u64,
    memory_bytes: u64,
    storage_bytes: u64,
    /// Of one device.
    share_milli: u32,
    /// Devices that nothing is promised of.
    idle_devices: usize,
}

impl Registry {
    /// Over the workers that may be given something now.
    pub(crate) fn most_free(&self, now: Mono) -> MostFree {
        let willing = self.iter().filter(|worker| worker.willing(now).is_ok());
        willing
            .map(free_on)
            .fold(MostFree::default(), MostFree::or_more)
    }
}

fn free_on(worker: &Worker) -> MostFree {
    let Some(capacity) = worker.capacity else {
        return MostFree::default();
    };
    let taken = &worker.allocated;
    let devices = (0..usize::from(capacity.gpus)).map(|device| {
        let taken = taken.device_milli.get(device).copied().unwrap_or(0);
        WHOLE_DEVICE.saturating_sub(taken)
    });
    MostFree {
        cpu_milli: capacity.cpu_milli.saturating_sub(taken.cpu_milli),
        memory_bytes: capacity.memory_bytes.saturating_sub(taken.memory_bytes),
        storage_bytes: capacity.storage_bytes.saturating_sub(taken.storage_bytes),
        share_milli: devices.clone().max().unwrap_or(0),
        idle_devices: devices.filter(|free| *free == WHOLE_DEVICE).count(),
    }
}

impl MostFree {
    fn or_more(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            storage_bytes: self.storage_bytes.max(other.storage_bytes),
            share_milli: self.share_milli.max(other.share_milli),
            idle_devices: self.idle_devices.max(other.idle_devices),
        }
    }

    /// Whether a worker may have room for the request; with no, none has.
    pub(crate) fn may_hold(&self, request: &Resources) -> bool {
        let has_devices = match request.gpu {
            GpuRequest::None => true,
            GpuRequest::Share(milli) => u32::from(milli) <= self.share_milli,
            GpuRequest::Whole(count) => usize::from(count) <= self.idle_devices,
        };
        has_devices
            && request.cpu_milli <= self.cpu_milli
            && request.memory_bytes <= self.memory_bytes
            && request.storage_bytes <= self.storage_bytes
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::{Capacity, DeviceShare, Grant, Wall, record::WorkerRecord};
    use proptest::prelude::*;

    use super::*;

    fn gpu() -> impl Strategy<Value = GpuRequest> {
        prop_oneof![
            Just(GpuRequest::None),
            (1..1000_u16).prop_map(GpuRequest::Share),
            (1..3_u16).prop_map(GpuRequest::Whole),
        ]
    }

    prop_compose! {
        fn request()(cpu_milli in 0..5_u64, memory_bytes in 0..5_u64, storage_bytes in 0..5_u64, gpu in gpu())
            -> Resources {
            Resources { cpu_milli, memory_bytes, storage_bytes, gpu }
        }
    }

    prop_compose! {
        fn worker()(
            offered in prop::array::uniform3(0..6_u64),
            taken in prop::array::uniform3(0..4_u64),
            shares in prop::collection::vec(prop_oneof![Just(0), 1..=1000_u16], 0..3),
            active in prop::bool::weighted(0.8),
        ) -> Worker {
            let mut worker = Worker::from_record(WorkerRecord {
                worker: "a".parse().unwrap(),
                address: "localhost".parse().unwrap(),
                capacity: Some(Capacity {
                    cpu_milli: offered[0],
                    memory_bytes: offered[1],
                    storage_bytes: offered[2],
                    gpus: shares.len() as u16,
                }),
                version: None,
                labels: std::collections::BTreeMap::new(),
                registration: 1,
                registered_at: Wall(0),
                last_seen_at: None,
                draining: false,
            });
            worker.active = active;
            worker.allocated.add(&Grant {
                cpu_milli: taken[0],
                memory_bytes: taken[1],
                storage_bytes: taken[2],
                devices: shares.iter().enumerate().map(|(device, milli)| DeviceShare {
                    device: device as u16,
                    milli: *milli,
                }).collect(),
            });
            worker
        }
    }

    proptest! {
        #[test]
        fn what_may_not_be_held_fits_nowhere_and_on_one_worker_what_may_does(
            worker in worker(), request in request(),
        ) {
            let mut registry = Registry::default();
            registry.workers.insert(worker.id.clone(), std::sync::Arc::new(worker.clone()));
            let now = Mono(0);
            prop_assert_eq!(
                registry.most_free(now).may_hold(&request) && worker.willing(now).is_ok(),
                worker.fit(&request, now).is_ok()
            );
        }
    }
}
