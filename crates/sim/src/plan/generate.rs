//! From a seed to a plan.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Behaviour, ENDLESS_MS, End, Fault, FaultKind, Item, Offer, Plan, TaskPlan, What, wishes::wishes,
};
use crate::chance::Chance;

/// What plans are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generator {
    /// The faults that may happen.
    pub faults: BTreeSet<FaultKind>,
    /// The most tasks.
    pub most_tasks: u64,
    /// The most workers; at least 2.
    pub most_workers: u64,
    /// How long faults go on, at most.
    pub longest_ms: u64,
}

impl Default for Generator {
    fn default() -> Self {
        Self {
            faults: FaultKind::ALL.iter().copied().collect(),
            most_tasks: 30,
            most_workers: 5,
            longest_ms: 180_000,
        }
    }
}

const SECOND: u64 = 1000;

/// The plan of a seed. Each part of it has a source of chance of its own, so that a kind of fault
/// that is left out changes nothing about the others.
#[must_use]
pub fn generate(seed: u64, generator: &Generator) -> Plan {
    let chance = Chance::new(seed).of("plan");
    let mut size = chance.of("size");
    let horizon_ms = size.between(40 * SECOND, generator.longest_ms);
    let workers: Vec<_> = (0..size.between(2, generator.most_workers))
        .map(|index| offer(chance.of("worker").nth(index)))
        .collect();
    let tasks = size.between(3, generator.most_tasks);
    let mut items = Vec::new();
    for index in 0..workers.len() {
        items.extend(membership(chance.of("membership"), index, horizon_ms));
    }
    for task in 0..tasks {
        let source = chance.of("task").nth(task);
        items.extend(task_items(source, task, &workers, horizon_ms));
    }
    let submitted_ms: BTreeMap<u64, u64> = items.iter().filter_map(submitted).collect();
    let submitted_ms = |task| submitted_ms.get(&task).copied().unwrap_or(0);
    let source = chance.of("wishes");
    items.extend(wishes(source, tasks, &workers, submitted_ms, horizon_ms));
    let mut mend = chance.of("mend");
    if mend.percent(15) {
        items.push(Item {
            at_ms: mend.between(10 * SECOND, horizon_ms),
            what: What::Mend,
        });
    }
    let mut calm = chance.of("calm");
    // Some runs have few faults: then what they break is easier to see.
    let most_of_a_kind = calm.pick(&[1, 1, 1, 2, 3]);
    let rate = calm.pick(&[8, 20, 35]);
    for kind in &generator.faults {
        let source = chance.of(kind.name());
        for number in 0..most_of_a_kind {
            let source = source.nth(number);
            items.extend(fault(source, *kind, rate, workers.len(), horizon_ms));
        }
    }
    items.sort_by_key(|item| item.at_ms);
    Plan {
        seed,
        horizon_ms,
        workers,
        items,
    }
}

/// Which task an item submits, and when.
fn submitted(item: &Item) -> Option<(u64, u64)> {
    match &item.what {
        What::Submit(task) => Some((task.task, item.at_ms)),
        _ => None,
    }
}

fn offer(mut chance: Chance) -> Offer {
    Offer {
        cpu_milli: chance.pick(&[1000, 2000, 4000, 8000]),
        memory_mb: chance.pick(&[1024, 2048, 4096, 16_384]),
        storage_mb: chance.pick(&[4096, 8192, 65_536]),
        gpus: chance.pick(&[0, 0, 1, 2, 4]),
    }
}

/// When a worker joins, whether it leaves, drains or is shut down in order.
fn membership(chance: Chance, worker: usize, horizon_ms: u64) -> Vec<Item> {
    let mut chance = chance.nth(worker as u64);
    let mut items = Vec::new();
    let late = worker > 0 && chance.percent(20);
    let joins = match late {
        true => chance.between(2 * SECOND, horizon_ms / 2),
        false => chance.between(100, 2 * SECOND),
    };
    let mut push = |at_ms: u64, what| items.push(Item { at_ms, what });
    push(joins, What::Register { worker });
    if chance.percent(15) {
        let leaves = chance.between(joins + SECOND, horizon_ms);
        push(leaves, What::Unregister { worker });
        if chance.percent(60) {
            let back = leaves + chance.between(100, 40 * SECOND);
            push(back, What::Register { worker });
        }
    }
    if chance.percent(20) {
        let at_ms = chance.between(joins + SECOND, horizon_ms);
        let draining = true;
        push(at_ms, What::Drain { worker, draining });
        if chance.percent(70) {
            let (at_ms, draining) = (at_ms + chance.between(SECOND, 60 * SECOND), false);
            push(at_ms, What::Drain { worker, draining });
        }
    }
    if chance.percent(15) {
        let at_ms = chance.between(joins + SECOND, horizon_ms);
        let what = What::ShutDown {
            worker,
            stop_tasks: chance.percent(50),
            for_ms: chance.between(SECOND, 50 * SECOND),
        };
        push(at_ms, what);
    }
    items
}

/// A task that fits on one of the workers, and what its user does about it later.
pub(super) fn task_items(
    mut chance: Chance,
    task: u64,
    workers: &[Offer],
    horizon_ms: u64,
) -> Vec<Item> {
    let at_ms = chance.between(0, horizon_ms * 2 / 3);
    let at_worker = chance.between(0, workers.len() as u64 - 1) as usize;
    let of = &workers[at_worker];
    let gpu_milli = match of.gpus {
        0 => 0,
        gpus => match chance.between(0, 5) {
            0 => 1000,
            1 => 1000 * u64::from(gpus),
            2 => chance.pick(&[100, 250, 500, 700]),
            _ => 0,
        },
    };
    let part = |chance: &mut Chance, whole: u64| {
        let part = chance.pick(&[1, 2, 4, 8, 10, 10]);
        (whole * part / 10).max(10)
    };
    let mut endless = chance.of("endless");
    let is_endless = endless.percent(10);
    let fails = chance.percent(30);
    let long = chance.percent(20);
    let plan = TaskPlan {
        task,
        // What never ends must be known to somebody who ends it.
        own_id: chance.percent(60) || is_endless,
        cpu_milli: part(&mut chance, of.cpu_milli),
        memory_mb: part(&mut chance, of.memory_mb),
        storage_mb: part(&mut chance, of.storage_mb / 4),
        gpu_milli,
        target: chance.percent(15).then_some(at_worker),
        priority: chance.pick(&[50, 50, 50, 10, 90]),
        timeout_s: chance.percent(15).then(|| chance.between(1, 40)),
        pull_timeout_s: chance.percent(8).then(|| chance.between(1, 20)),
        queue_timeout_s: chance.percent(8).then(|| chance.between(1, 60)),
        max_retries: chance.pick(&[0, 0, 1, 3]),
        retry_on: match chance.between(0, 9) {
            0 => Some("any,timeout,pull-timeout".to_owned()),
            1 => Some("oom,signal".to_owned()),
            _ => None,
        },
        does: Behaviour {
            pull_ms: chance.pick(&[0, 0, 200, 2000, 15_000]),
            unknown_image: chance.percent(3),
            run_ms: {
                let run_ms = match long {
                    true => chance.between(20 * SECOND, 90 * SECOND),
                    false => chance.between(1, 12 * SECOND),
                };
                if is_endless { ENDLESS_MS } else { run_ms }
            },
            failing_attempts: match fails {
                true => chance.pick(&[1, 1, 2, 1000]),
                false => 0,
            },
            failure: match chance.between(0, 3) {
                0 => End::OutOfMemory,
                1 => End::Signal(11),
                _ => End::Code(chance.between(1, 200) as u8),
            },
            ignores_stop: chance.percent(20),
            no_command: chance.percent(3),
            leaves_files: chance.percent(40),
            overflows_after_ms: chance.percent(4).then(|| chance.between(1, 20 * SECOND)),
        },
    };
    let mut items = vec![Item {
        at_ms,
        what: What::Submit(plan),
    }];
    let mut push = |after_ms: u64, what| {
        let at_ms = at_ms + after_ms;
        items.push(Item { at_ms, what });
    };
    if is_endless && endless.percent(60) {
        push(endless.between(0, 60 * SECOND), What::Cancel { task });
    }
    if chance.percent(20) {
        let after_ms = match chance.percent(50) {
            true => chance.between(0, 3 * SECOND),
            false => chance.between(0, 60 * SECOND),
        };
        push(after_ms, What::Cancel { task });
    }
    if chance.percent(10) {
        let timeout_s = chance.percent(70).then(|| chance.between(1, 60));
        push(
            chance.between(0, 40 * SECOND),
            What::Change { task, timeout_s },
        );
    }
    if chance.percent(8) {
        let worker = chance.between(0, workers.len() as u64 - 1) as usize;
        push(chance.between(0, 20 * SECOND), What::Place { task, worker });
    }
    items
}

/// Perhaps a fault of this kind.
fn fault(
    mut chance: Chance,
    kind: FaultKind,
    rate: u32,
    workers: usize,
    horizon_ms: u64,
) -> Option<Item> {
    use FaultKind as K;
    if !chance.percent(rate) {
        return None;
    }
    let at_ms = chance.between(SECOND, horizon_ms - 10 * SECOND);
    let worker = chance.between(0, workers as u64 - 1) as usize;
    let on_master = match kind {
        K::MasterCrash | K::StoreStall | K::StoreFailure | K::MasterDiskFull => true,
        K::Pause | K::Clock => chance.percent(40),
        _ => false,
    };
    let (for_ms, strength) = match kind {
        K::Delay => (
            chance.between(5_000, 60_000),
            chance.pick(&[200, 3000, 9000]),
        ),
        K::Loss => (chance.between(5_000, 90_000), chance.pick(&[5, 20, 60])),
        K::Duplication => (chance.between(10_000, 90_000), chance.pick(&[20, 60, 100])),
        K::Reorder => (
            chance.between(10_000, 90_000),
            chance.pick(&[50, 500, 4000]),
        ),
        K::Partition | K::EngineAway => (chance.between(200, 80_000), 0),
        K::PartitionOneWay => (chance.between(200, 80_000), chance.between(0, 1)),
        K::WorkerCrash | K::MachineCrash => {
            let soon = chance.percent(50);
            (chance.between(50, if soon { 3_000 } else { 80_000 }), 0)
        }
        K::DiskLoss => (chance.between(100, 80_000), chance.between(0, 1)),
        K::Pause => (chance.between(500, 45_000), 0),
        K::Slow => (chance.between(5_000, 60_000), chance.pick(&[5, 50, 400])),
        // An hour less to an hour more.
        K::Clock => (chance.between(5_000, 90_000), chance.between(0, 7200)),
        K::EngineStop => (chance.between(500, 40_000), 0),
        K::EngineErrors => (chance.between(5_000, 60_000), chance.pick(&[10, 40, 90])),
        K::ContainersLost => (1, 0),
        K::ImagesRemoved => (chance.between(5_000, 90_000), chance.pick(&[5, 30, 90])),
        K::DiskErrors => (chance.between(500, 50_000), 0),
        K::Smaller => (chance.between(5_000, 60_000), chance.pick(&[0, 30, 60])),
        K::MasterCrash => {
            let soon = chance.percent(60);
            (chance.between(20, if soon { 3_000 } else { 60_000 }), 0)
        }
        K::StoreStall => (chance.between(100, 20_000), 0),
        K::StoreFailure => (chance.between(500, 90_000), chance.pick(&[20, 60, 100])),
        K::MasterDiskFull => (chance.between(1_000, 60_000), 0),
    };
    let fault = Fault {
        kind,
        worker: (!on_master).then_some(worker),
        for_ms,
        strength,
    };
    Some(Item {
        at_ms,
        what: What::Fault(fault),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(plan: &Plan) -> Vec<&Item> {
        let is_fault = |item: &&Item| matches!(item.what, What::Fault(_));
        plan.items.iter().filter(is_fault).collect()
    }

    #[test]
    fn a_kind_of_fault_that_is_left_out_changes_nothing_else() {
        let whole = generate(5, &Generator::default());
        let mut generator = Generator::default();
        generator.faults.remove(&FaultKind::Partition);
        let cut = generate(5, &generator);
        let kept = whole.items.iter().filter(
            |item| !matches!(&item.what, What::Fault(fault) if fault.kind == FaultKind::Partition),
        );
        assert_eq!(
            cut.items.iter().collect::<Vec<_>>(),
            kept.collect::<Vec<_>>()
        );
    }

    #[test]
    fn every_kind_of_fault_comes_up_and_none_that_is_not_asked_for() {
        let plans: Vec<_> = (0..200)
            .map(|seed| generate(seed, &Generator::default()))
            .collect();
        let kinds: BTreeSet<_> = plans
            .iter()
            .flat_map(faults)
            .filter_map(|item| match &item.what {
                What::Fault(fault) => Some(fault.kind),
                _ => None,
            })
            .collect();
        assert!(kinds.iter().eq(FaultKind::ALL), "{kinds:?}");
        let none = Generator {
            faults: BTreeSet::new(),
            ..Generator::default()
        };
        assert!((0..50).all(|seed| faults(&generate(seed, &none)).is_empty()));
    }
}
