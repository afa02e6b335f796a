//! A start on what was written: the same `step`, fed with stored records.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use cloudai_core::{Answer, Input, NotReady, SubmitError, WorkerCallError};
use cloudai_model::{Exit, Phase, TaskStatus};
use cluster::{Cluster, capacity, cores, id};

#[test]
fn workers_come_back_inactive_and_tasks_are_queued_again() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let running = cluster.submit(&cores(1.0)).task;
    let waiting = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Running);

    let mut cluster = cluster.restarted();
    let worker = cluster.core.registry().get(&id("a")).unwrap();
    assert!(!worker.active);
    assert_eq!(worker.capacity, Some(capacity(1, 0)));
    assert_eq!(
        worker.allocated.cpu_milli, 1000,
        "what runs there stays reserved"
    );
    assert_eq!(cluster.core.waiting_count(), 1);
    assert!(cluster.take_assignments().is_empty());

    // The worker connects: the running attempt goes on, the waiting task waits for it.
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.heartbeat("a", &[(&attempt, Phase::Running)]);
    assert!(cluster.take_assignments().is_empty());
    cluster.finish("a", &attempt, Exit::Exited(0));
    assert_eq!(cluster.state(&running).status, TaskStatus::Completed);
    assert_eq!(cluster.assigned().attempt.task, waiting);
}

#[test]
fn an_assignment_that_was_written_but_never_sent_is_sent_on_the_first_heartbeat() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    cluster.submit(&cores(1.0));
    let before = cluster.assigned();
    let mut cluster = cluster.restarted();
    cluster.hello("a", capacity(1, 0)).unwrap();
    assert!(cluster.take_assignments().is_empty());
    cluster.heartbeat_with("a", &[], Some(0), "first");
    let after = cluster.assigned();
    assert_eq!(
        (after.attempt, after.sequence),
        (before.attempt, before.sequence)
    );
}

#[test]
fn a_cancel_is_not_forgotten() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Running);
    cluster.cancel(&task).unwrap();
    let mut cluster = cluster.restarted();
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.heartbeat("a", &[(&attempt, Phase::Running)]);
    assert_eq!(cluster.take_stops().len(), 1);
    cluster.finish("a", &attempt, Exit::Cancelled);
    assert_eq!(cluster.state(&task).status, TaskStatus::Cancelled);
}

#[test]
fn assignment_numbers_and_ids_go_on_rising() {
    let mut cluster = Cluster::with(&[("a", capacity(9, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let before = cluster.assigned().sequence;
    let mut cluster = cluster.restarted();
    cluster.now.wall.0 -= 3_600_000;
    cluster.hello("a", capacity(9, 0)).unwrap();
    let later = cluster.submit(&cores(1.0)).task;
    assert!(later > task);
    assert!(cluster.assigned().sequence > before);
}

#[test]
fn before_the_store_is_read_nobody_is_refused_as_unknown() {
    let mut cluster = Cluster::unread();
    let refused = cluster.hello("a", capacity(1, 0));
    assert_eq!(refused, Err(WorkerCallError::NotReady(NotReady)));
    let refused = cluster.try_submit(None, &cores(1.0));
    assert_eq!(refused, Err(SubmitError::NotReady(NotReady)));
    let attempt = cloudai_model::AttemptId::new(cloudai_model::TaskId::numbered(1), 1);
    let answer = cluster.call(|call| Input::Vet {
        call,
        worker: id("a"),
        attempt,
    });
    assert_eq!(
        answer,
        Answer::Reported(Err(WorkerCallError::NotReady(NotReady)))
    );
    assert!(cluster.take_stops().is_empty());
}
