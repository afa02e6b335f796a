//! Transitions for which a worker must be killed, or a disk must fail or be lost, in a certain moment:
//! hardly a seed takes them, so plans written by hand do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeSet;

use cloudai_core::lifecycle::{AttemptEvent, AttemptState};
use cloudai_sim::{
    plan::{Behaviour, End, Fault, FaultKind, Item, Offer, Plan, TaskPlan, What},
    run::run,
};
use cloudai_worker_core::{AttemptEvent as E, AttemptState as S};

/// One worker and one task that takes 40 s, and what else is to happen, and when.
fn plan(others: &[(u64, What)]) -> Plan {
    let does = Behaviour {
        pull_ms: 0,
        unknown_image: false,
        run_ms: 40_000,
        failing_attempts: 0,
        failure: End::Code(1),
        ignores_stop: true,
        no_command: false,
        leaves_files: false,
        overflows_after_ms: None,
    };
    let task = TaskPlan {
        task: 0,
        own_id: true,
        cpu_milli: 1000,
        memory_mb: 512,
        storage_mb: 512,
        gpu_milli: 0,
        target: None,
        priority: 50,
        timeout_s: None,
        pull_timeout_s: None,
        queue_timeout_s: None,
        max_retries: 0,
        retry_on: None,
        does,
    };
    let first = [
        (500, What::Register { worker: 0 }),
        (1_000, What::Submit(task)),
    ];
    let mut items: Vec<_> = first
        .iter()
        .chain(others)
        .map(|(at_ms, what)| Item {
            at_ms: *at_ms,
            what: what.clone(),
        })
        .collect();
    items.sort_by_key(|item| item.at_ms);
    Plan {
        seed: 1,
        horizon_ms: 60_000,
        workers: vec![Offer {
            cpu_milli: 2000,
            memory_mb: 2048,
            storage_mb: 8192,
            gpus: 0,
        }],
        items,
    }
}

fn fault(kind: FaultKind, for_ms: u64, strength: u64) -> What {
    What::Fault(Fault {
        kind,
        worker: Some(0),
        for_ms,
        strength,
    })
}

/// The transitions that a plan takes, in which nothing is amiss.
fn taken(others: &[(u64, What)]) -> BTreeSet<(S, E)> {
    let outcome = run(&plan(others), None, true);
    let log = outcome.log.join("\n");
    assert_eq!(outcome.finding, None, "{log}");
    outcome.worker_transitions
}

#[test]
fn an_attempt_whose_worker_forgets_it_over_its_creation_vanishes() {
    // On this engine each thing takes a second or more, and the container is asked for at 7.4 s.
    let slow = (900, fault(FaultKind::Slow, 50_000, 400));
    let folder_deleted = (8_500, fault(FaultKind::DiskLoss, 1_000, 0));
    let outcome = run(&plan(&[slow, folder_deleted]), None, true);
    let log = outcome.log.join("\n");
    assert_eq!(outcome.finding, None, "{log}");
    let vanished = (AttemptState::Creating, AttemptEvent::Vanish);
    assert!(outcome.attempt_transitions.contains(&vanished), "{log}");
}

#[test]
fn a_container_that_is_removed_while_its_worker_is_away_is_found_lost() {
    let away = (10_000, fault(FaultKind::WorkerCrash, 5_000, 0));
    let removed = (12_000, fault(FaultKind::ContainersLost, 1, 0));
    let taken = taken(&[away, removed]);
    assert!(taken.contains(&(S::Searching, E::FindLoss)), "{taken:?}");
}

#[test]
fn so_is_one_that_was_being_stopped() {
    // Its command takes no notice of SIGTERM for ten seconds.
    let cancelled = (9_000, What::Cancel { task: 0 });
    let away = (10_000, fault(FaultKind::WorkerCrash, 5_000, 0));
    let removed = (12_000, fault(FaultKind::ContainersLost, 1, 0));
    let taken = taken(&[cancelled, away, removed]);
    let lost = (S::SearchingToStop, E::FindLoss);
    assert!(taken.contains(&lost), "{taken:?}");
}

#[test]
fn a_container_that_was_made_after_its_cancel_and_its_workers_end_is_not_started() {
    // On this engine each thing takes a second or more, and the container is asked for at 7.4 s.
    let slow = (900, fault(FaultKind::Slow, 50_000, 400));
    let cancelled = (7_500, What::Cancel { task: 0 });
    let away = (7_700, fault(FaultKind::WorkerCrash, 6_000, 0));
    let taken = taken(&[slow, cancelled, away]);
    let found = (S::SearchingToStop, E::FindCreated);
    assert!(taken.contains(&found), "{taken:?}");
}

#[test]
fn what_is_stopped_between_two_tries_to_start_it_is_not_tried_again() {
    // While the container is being made, the disk begins to refuse the record of its start.
    let mut all = BTreeSet::new();
    for cancelled_ms in (8_000..14_000).step_by(500) {
        let slow = (900, fault(FaultKind::Slow, 50_000, 400));
        let refused = (7_500, fault(FaultKind::DiskErrors, 12_000, 0));
        let cancelled = (cancelled_ms, What::Cancel { task: 0 });
        all.extend(taken(&[slow, refused, cancelled]));
    }
    assert!(all.contains(&(S::Stopping, E::Fail)), "{all:?}");
}
