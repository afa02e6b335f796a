//! What a worker finds that is not as it should be: containers that nobody wants, a spool that is
//! damaged, a disk that is full.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod support;

use cloudai_model::{Exit, Phase};
use cloudai_worker_core::{Answer, AssignAnswer, Effect, Input, Labelled, Refusal};
use support::{Container, Worker, attempt, exited, labelled, order};

#[test]
fn a_container_that_no_record_knows_is_removed_after_a_while() {
    let mut worker = Worker::new();
    let (held, orphan) = (attempt(7, 1), attempt(8, 1));
    worker.assign(order(&held, 1, 1));
    worker.settle();
    worker.containers.insert(orphan.clone(), Container::Running);
    let found = [&held, &orphan].map(labelled).to_vec();
    for waited in [0, 60, 59] {
        worker.tick(waited);
        worker.step(Input::Containers(found.clone()));
        assert!(worker.pending.is_empty(), "{:?}", worker.pending);
    }
    worker.tick(1);
    worker.step(Input::Containers(found));
    assert_eq!(worker.pending, [Effect::RemoveOrphan(labelled(&orphan))]);
    worker.finish();
}

#[test]
fn an_orphan_is_removed_once_at_a_time_and_no_attempt_is_taken_for_it_meanwhile() {
    // Given an attempt that was lost with its spool, whose container is about to be removed
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    let orphan = || Input::Containers(vec![labelled(&id)]);
    worker.containers.insert(id.clone(), Container::Running);
    worker.step(orphan());
    worker.tick(120);
    worker.step(orphan());
    assert_eq!(worker.pending, [Effect::RemoveOrphan(labelled(&id))]);

    // When it is seen again, then it is not removed twice at once;
    worker.tick(30);
    worker.step(orphan());
    assert_eq!(worker.pending.len(), 1);
    // and when its master sends it once more, then that is to be asked again.
    worker.assign(order(&id, 1, 1));
    assert_eq!(
        worker.answers.last(),
        Some(&Answer::Assign(AssignAnswer::NotReady))
    );

    // Once it is gone, it is taken and run anew.
    worker.settle();
    assert!(worker.containers.is_empty());
    worker.assign(order(&id, 1, 1));
    worker.finish();
    assert_eq!(worker.starts[&id], 1);

    // What could not be removed is removed at the next look.
    let mut worker = Worker::new();
    worker.step(orphan());
    worker.tick(120);
    worker.step(orphan());
    worker.pending.clear();
    worker.step(Input::OrphanDone(labelled(&id)));
    worker.tick(30);
    worker.step(orphan());
    assert_eq!(worker.pending, [Effect::RemoveOrphan(labelled(&id))]);
}

#[test]
fn an_attempt_of_the_same_name_in_another_cluster_is_another() {
    // Given an attempt that is held, and a container of its name from a time under an old master
    let mut worker = Worker::new();
    let held = attempt(7, 1);
    worker.assign(order(&held, 1, 1));
    worker.settle();
    let left = Labelled {
        cluster: "old-5eed".parse().unwrap(),
        attempt: held.clone(),
    };
    // When both are seen for long
    worker.step(Input::Containers(vec![labelled(&held), left.clone()]));
    worker.tick(3600);
    worker.step(Input::Containers(vec![labelled(&held), left.clone()]));
    // Then the old one alone is removed
    assert_eq!(worker.pending, [Effect::RemoveOrphan(left)]);
    worker.pending.clear();
    worker.finish();
}

#[test]
fn a_container_that_was_gone_for_a_moment_has_its_grace_anew() {
    let mut worker = Worker::new();
    let orphan = labelled(&attempt(8, 1));
    worker.step(Input::Containers(vec![orphan.clone()]));
    worker.tick(100);
    worker.step(Input::Containers(Vec::new()));
    worker.step(Input::Containers(vec![orphan.clone()]));
    worker.tick(100);
    worker.step(Input::Containers(vec![orphan]));
    assert!(worker.pending.is_empty(), "{:?}", worker.pending);
}

#[test]
fn the_container_of_an_attempt_that_is_lost_with_its_record_is_removed_at_once() {
    let mut worker = Worker::new();
    let lost = attempt(7, 1);
    worker.step(Input::AdoptLost(lost.clone()));
    worker.step(Input::Containers(vec![labelled(&lost)]));
    assert_eq!(worker.pending, [Effect::RemoveOrphan(labelled(&lost))]);
}

#[test]
fn an_attempt_whose_state_is_damaged_goes_on_if_its_container_does() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    assert_eq!(worker.phase(&id), Some(Phase::Running));

    worker.restart_with_damaged(&id);
    worker.settle();
    assert_eq!(worker.phase(&id), Some(Phase::Running));
    worker.container_ends(&id, 7);
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Exited(7));
    assert_eq!(worker.starts[&id], 1);
}

#[test]
fn one_that_ended_meanwhile_has_its_own_end() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker
        .containers
        .insert(id.clone(), Container::Ended(exited(3)));
    worker.restart_with_damaged(&id);
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Exited(3));
}

#[test]
fn one_whose_container_is_gone_too_is_no_failure_of_its_task() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.containers.clear();
    worker.restart_with_damaged(&id);
    worker.finish();
    let Exit::Interrupted(reason) = &worker.acknowledged[&id] else {
        panic!("{:?}", worker.acknowledged);
    };
    assert!(reason.contains("damaged: it is cut short"), "{reason}");
    assert_eq!(worker.starts[&id], 1, "it was not run again");
}

#[test]
fn on_a_full_disk_nothing_new_is_taken_and_what_runs_goes_on_until_there_is_room() {
    let mut worker = Worker::new();
    let runs = attempt(7, 1);
    worker.assign(order(&runs, 1, 1));
    worker.settle();

    // When its disk is full
    let reason = "the disk of its data directory is full";
    worker.step(Input::DiskFull(reason.to_owned()));
    assert_eq!(worker.core.unwell().as_deref(), Some(reason));
    worker.assign(order(&attempt(8, 1), 2, 1));
    let refused = AssignAnswer::Refused(Refusal::Unwell(reason.to_owned()));
    assert_eq!(worker.answers.last(), Some(&Answer::Assign(refused)));
    assert_eq!(worker.phase(&runs), Some(Phase::Running));

    // Then it is well again as soon as there is room
    worker.step(Input::DiskHasRoom);
    assert_eq!(worker.core.unwell(), None);
    worker.assign(order(&attempt(8, 2), 3, 1));
    worker.finish();
    assert_eq!(worker.acknowledged.len(), 2);
}
