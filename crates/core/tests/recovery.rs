//! A start on what was written: the same `step`, fed with stored records.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use cloudai_core::{
    Answer, Core, Input, NotReady, Settings, SubmitError, WorkerCallError, policy::RoundRobin,
};
use std::sync::Arc;

use cloudai_model::{Exit, Phase, TaskDraft, TaskId, TaskSpec, TaskStatus, Wall, record::Record};
use cluster::{Cluster, capacity, cores, draft, id, spec};

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

#[test]
fn what_was_accepted_before_the_store_was_read_is_kept_whatever_it_asks_for() {
    // Given a full queue, a clock that has stepped back, and no worker of the name it asks for,
    let mut cluster = Cluster::unread();
    let settings = Settings {
        queue_limit: 0,
        ..Settings::default()
    };
    let name = "c-1".parse().unwrap();
    cluster.core = Core::new(settings, Box::new(RoundRobin), name);
    let accepted = |task: u64, spec: &Arc<TaskSpec>| {
        let (task, spec) = (TaskId::numbered(task), spec.clone());
        move |call| Input::Accepted {
            call,
            task,
            spec,
            submitted_at: Wall(1_699_999_999_000),
        }
    };
    let number = 1_800_000_000_000_000;
    let elsewhere = spec(TaskDraft {
        worker_id: Some("gone".into()),
        ..draft()
    });
    let answer = cluster.call(accepted(number, &elsewhere));
    let early = SubmitError::NotReady(NotReady);
    assert_eq!(answer, Answer::Submitted(Err(early)));
    cluster.step(Input::Restored {
        highest_task_number: None,
        highest_order: 0,
    });

    // when it is handed over,
    let answer = cluster.call(accepted(number, &elsewhere));

    // then it waits under its id and with its time, and ids go on above it.
    let task = TaskId::numbered(number);
    let Answer::Submitted(Ok(submitted)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(
        (&submitted.task, submitted.status),
        (&task, TaskStatus::Queued)
    );
    assert!(submitted.waiting.is_some());
    let is_it =
        |record: &Record| matches!(record, Record::TaskAdded(record) if record.task == task);
    let written = cluster.written.iter().find(|record| is_it(record));
    let Some(Record::TaskAdded(record)) = written else {
        panic!("{:?}", cluster.written);
    };
    assert_eq!(record.submitted_at, Wall(1_699_999_999_000));
    assert_eq!(record.order, 1);
    // A second time it is known.
    let again = cluster.call(accepted(number, &elsewhere));
    let taken = SubmitError::IdTaken(task.clone());
    assert_eq!(again, Answer::Submitted(Err(taken)));
    let mut cluster = cluster.restarted();
    assert!(cluster.submit(&cores(1.0)).task > task);
}
