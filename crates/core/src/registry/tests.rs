//! The registry by itself.

use std::{collections::BTreeMap, time::Duration};

use cloudai_model::{
    AttemptId, Capacity, DeviceShare, GpuRequest, Grant, Mono, Resources, TaskId, UserName, Wall,
    WorkerId, record::WorkerRecord, resources::GB,
};

use super::*;
use crate::explain::{Obstacle, ResourceKind};

const LATER: Mono = Mono(30_000);

fn id(text: &str) -> WorkerId {
    text.parse().unwrap()
}

fn ann() -> UserName {
    "ann".parse().unwrap()
}

fn attempt(number: u64) -> AttemptId {
    AttemptId::new(TaskId::numbered(number), 1)
}

fn capacity(cores: u64, memory_gb: u64, gpus: u16) -> Capacity {
    let (memory_bytes, storage_bytes) = (memory_gb * GB, 100 * GB);
    Capacity {
        cpu_milli: cores * 1000,
        memory_bytes,
        storage_bytes,
        gpus,
    }
}

fn record(worker: &str, capacity: Option<Capacity>) -> WorkerRecord {
    WorkerRecord {
        worker: id(worker),
        address: "localhost".parse().unwrap(),
        capacity,
        version: None,
        labels: BTreeMap::new(),
        registration: 7,
        registered_at: Wall(0),
        last_seen_at: None,
        draining: false,
    }
}

fn registry_with(worker: &str, capacity: Capacity) -> Registry {
    let mut registry = Registry::default();
    registry.add(record(worker, Some(capacity))).unwrap();
    heard(&mut registry, worker, Mono(0));
    registry
}

fn heard(registry: &mut Registry, worker: &str, at: Mono) {
    registry
        .update(&id(worker), |worker| {
            worker.active = true;
            worker.last_heard = Some(at);
        })
        .unwrap();
}

fn cores(cores: u64) -> Grant {
    Grant {
        cpu_milli: cores * 1000,
        ..Grant::default()
    }
}

fn share(device: u16, milli: u16) -> DeviceShare {
    DeviceShare { device, milli }
}

#[test]
fn only_known_workers_are_updated() {
    let mut registry = registry_with("a", capacity(4, 8, 0));
    let unknown = registry.update(&id("b"), |worker| worker.active = true);
    assert_eq!(unknown, Err(UnknownWorker(id("b"))));
    assert_eq!(registry.count(), 1);
    assert!(registry.get(&id("b")).is_none());
}

#[test]
fn an_id_is_registered_once() {
    let mut registry = registry_with("a", capacity(4, 8, 0));
    let again = registry.add(record("a", None)).map(|_| ());
    assert_eq!(
        again.unwrap_err().to_string(),
        "worker a already registered"
    );
    assert_eq!(
        registry.get(&id("a")).unwrap().capacity,
        Some(capacity(4, 8, 0))
    );
}

#[test]
fn a_snapshot_does_not_see_later_changes() {
    let mut registry = registry_with("a", capacity(4, 8, 0));
    let before = registry.snapshot();
    registry
        .reserve(&attempt(1), &ann(), &id("a"), cores(3), LATER)
        .unwrap();
    registry.add(record("b", None)).unwrap();
    assert_eq!(before.len(), 1);
    assert_eq!(before[&id("a")].allocated.cpu_milli, 0);
    assert_eq!(registry.snapshot()[&id("a")].allocated.cpu_milli, 3000);
}

#[test]
fn a_reservation_takes_all_or_nothing() {
    // Given a worker with 4 cores, 8 GB and 2 GPUs, one of them half taken,
    let mut registry = registry_with("a", capacity(4, 8, 2));
    let half = Grant {
        devices: vec![share(1, 500)],
        ..cores(1)
    };
    registry
        .reserve(&attempt(1), &ann(), &id("a"), half, LATER)
        .unwrap();
    let before = registry.get(&id("a")).unwrap().allocated.clone();

    // when more of any one thing is asked than is free,
    let too_much = [
        cores(4),
        Grant {
            memory_bytes: 8 * GB + 1,
            ..Grant::default()
        },
        Grant {
            storage_bytes: 100 * GB + 1,
            ..Grant::default()
        },
        Grant {
            devices: vec![share(0, 1000), share(1, 501)],
            ..cores(1)
        },
        Grant {
            devices: vec![share(2, 1)],
            ..cores(1)
        },
        Grant {
            devices: vec![share(0, 500), share(0, 500)],
            ..cores(1)
        },
        Grant {
            devices: vec![share(0, 0)],
            ..cores(1)
        },
        Grant {
            devices: vec![share(0, 1001)],
            ..cores(1)
        },
    ];
    for grant in too_much {
        let refused = registry.reserve(&attempt(2), &ann(), &id("a"), grant.clone(), LATER);
        assert!(refused.is_err(), "{grant:?}");
    }

    // then nothing has been taken.
    assert_eq!(registry.get(&id("a")).unwrap().allocated, before);
    assert_eq!(registry.reservation_count(), 1);
    let rest = Grant {
        devices: vec![share(0, 1000), share(1, 500)],
        ..cores(3)
    };
    registry
        .reserve(&attempt(2), &ann(), &id("a"), rest, LATER)
        .unwrap();
}

#[test]
fn an_attempt_reserves_once_and_releases_once() {
    let mut registry = registry_with("a", capacity(4, 8, 0));
    registry
        .reserve(&attempt(1), &ann(), &id("a"), cores(1), LATER)
        .unwrap();
    assert_eq!(
        registry.reserve(&attempt(1), &ann(), &id("a"), cores(1), LATER),
        Err(ReserveError::AlreadyReserved(attempt(1)))
    );
    assert_eq!(registry.release(&attempt(1)).unwrap().grant, cores(1));
    assert_eq!(
        registry.release(&attempt(1)),
        Err(UnknownReservation(attempt(1)))
    );
    assert_eq!(registry.get(&id("a")).unwrap().allocated.cpu_milli, 0);
}

#[test]
fn compute_is_free_before_the_disk_is() {
    let mut registry = registry_with("a", capacity(4, 8, 1));
    let grant = Grant {
        storage_bytes: GB,
        devices: vec![share(0, 1000)],
        ..cores(4)
    };
    registry
        .reserve(&attempt(1), &ann(), &id("a"), grant, LATER)
        .unwrap();
    registry.release_compute(&attempt(1)).unwrap();
    let allocated = &registry.get(&id("a")).unwrap().allocated;
    assert_eq!((allocated.cpu_milli, allocated.gpu_milli()), (0, 0));
    assert_eq!(allocated.storage_bytes, GB);
    registry.release(&attempt(1)).unwrap();
    assert_eq!(registry.get(&id("a")).unwrap().allocated.storage_bytes, 0);
}

#[test]
fn an_unconfirmed_reservation_expires_and_a_confirmed_one_does_not() {
    let mut registry = registry_with("a", capacity(4, 8, 0));
    registry
        .reserve(&attempt(1), &ann(), &id("a"), cores(1), Mono(100))
        .unwrap();
    registry
        .reserve(&attempt(2), &ann(), &id("a"), cores(1), Mono(100))
        .unwrap();
    registry.confirm(&attempt(2)).unwrap();
    assert!(registry.expired(Mono(99)).is_empty());
    assert_eq!(registry.expired(Mono(100)), [attempt(1)]);
    registry.release(&attempt(1)).unwrap();
    assert!(registry.expired(Mono(100)).is_empty());
}

#[test]
fn a_silent_worker_becomes_inactive_and_stays_with_what_it_offered() {
    let mut registry = registry_with("a", capacity(4, 8, 0));
    registry.add(record("b", Some(capacity(2, 2, 0)))).unwrap();
    heard(&mut registry, "b", Mono(10_000));
    let after = Duration::from_secs(15);
    assert!(registry.silence(Mono(15_000), Mono(0), after).is_empty());
    assert_eq!(registry.silence(Mono(15_001), Mono(0), after), [id("a")]);
    assert_eq!(registry.count(), 2);
    let worker = registry.get(&id("a")).unwrap();
    assert!(!worker.active);
    assert_eq!(worker.capacity, Some(capacity(4, 8, 0)));
    assert_eq!(registry.iter().filter(|worker| worker.active).count(), 1);
}

#[test]
fn what_stands_against_a_task_is_told_with_the_amount() {
    let mut registry = registry_with("a", capacity(4, 8, 1));
    registry
        .reserve(&attempt(1), &ann(), &id("a"), cores(3), LATER)
        .unwrap();
    let worker = registry.get(&id("a")).unwrap();
    let want = |cpu_milli, gpu| Resources {
        cpu_milli,
        gpu,
        ..Resources::default()
    };
    let short = |kind, by, never| Err(Obstacle::Short { kind, by, never });
    assert_eq!(
        worker.fit(&want(1500, GpuRequest::None), Mono(0)),
        short(ResourceKind::Cpu, 500, false)
    );
    assert_eq!(
        worker.fit(&want(4500, GpuRequest::None), Mono(0)),
        short(ResourceKind::Cpu, 500, true)
    );
    assert_eq!(
        worker.fit(&want(1, GpuRequest::Whole(2)), Mono(0)),
        short(ResourceKind::Gpu, 1000, true)
    );
}

#[test]
fn shares_are_packed_so_that_whole_devices_stay_whole() {
    let mut registry = registry_with("a", capacity(8, 8, 3));
    let taken = Grant {
        devices: vec![share(1, 400)],
        ..Grant::default()
    };
    registry
        .reserve(&attempt(1), &ann(), &id("a"), taken, LATER)
        .unwrap();
    let fit = |gpu| {
        let request = Resources {
            gpu,
            ..Resources::default()
        };
        registry
            .get(&id("a"))
            .unwrap()
            .fit(&request, Mono(0))
            .unwrap()
            .devices
    };
    assert_eq!(fit(GpuRequest::Share(600)), [share(1, 600)]);
    assert_eq!(fit(GpuRequest::Share(601)), [share(0, 601)]);
    assert_eq!(fit(GpuRequest::Whole(2)), [share(0, 1000), share(2, 1000)]);
}

#[test]
fn a_worker_that_comes_back_smaller_keeps_what_runs_there() {
    let mut registry = registry_with("a", capacity(2, 8, 0));
    registry
        .restore(&attempt(1), &ann(), &id("a"), cores(4), None)
        .unwrap();
    let worker = registry.get(&id("a")).unwrap();
    assert_eq!(worker.allocated.cpu_milli, 4000);
    assert!(
        worker
            .fit(
                &Resources {
                    cpu_milli: 1,
                    ..Resources::default()
                },
                Mono(0)
            )
            .is_err()
    );
}

#[test]
fn removal_takes_the_reservations_along() {
    let mut registry = registry_with("a", capacity(4, 8, 0));
    registry
        .reserve(&attempt(1), &ann(), &id("a"), cores(1), Mono(100))
        .unwrap();
    assert_eq!(registry.remove(&id("a")).unwrap().attempts.len(), 1);
    assert_eq!(registry.reservation_count(), 0);
    assert!(registry.expired(Mono(1000)).is_empty());
    assert_eq!(
        registry.remove(&id("a")).map(|_| ()),
        Err(UnknownWorker(id("a")))
    );
}

#[test]
fn everything_that_stands_against_a_task_is_named_what_stays_first() {
    let mut registry = registry_with("a", capacity(4, 8, 0));
    heard(&mut registry, "a", Mono(0));
    registry
        .reserve(&attempt(1), &ann(), &id("a"), cores(3), LATER)
        .unwrap();
    let request = Resources {
        cpu_milli: 2000,
        memory_bytes: 9 * GB,
        gpu: GpuRequest::Whole(1),
        ..Resources::default()
    };
    let short = |kind, by, never| Obstacle::Short { kind, by, never };
    let now = Mono(0);
    let worker = registry.get(&id("a")).unwrap();
    assert_eq!(
        worker.obstacles(&request, now),
        [
            short(ResourceKind::Memory, GB, true),
            short(ResourceKind::Gpu, 1000, true),
            short(ResourceKind::Cpu, 1000, false),
        ]
    );
    // The first of them is what placement stops at.
    assert_eq!(
        worker.fit(&request, now).err(),
        worker.obstacles(&request, now).into_iter().next()
    );

    registry
        .update(&id("a"), |worker| worker.draining = true)
        .unwrap();
    let small = Resources {
        cpu_milli: 1000,
        ..Resources::default()
    };
    let worker = registry.get(&id("a")).unwrap();
    assert_eq!(worker.obstacles(&small, now), [Obstacle::Draining]);
    assert!(worker.fit(&small, now).is_err());
}
