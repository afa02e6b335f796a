//! From submit to worker: what is placed where, and what waits for what.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use cloudai_core::{AssignAnswer, Input, SubmitError, WaitCause, Which, explain::Outlook};
use cloudai_model::{AttemptId, ContainerDraft, Exit, Phase, TaskDraft, TaskId, TaskStatus};
use cluster::{Cluster, capacity, cores, draft, id, old_node, spec};

#[test]
fn a_task_that_fits_is_sent_with_its_submit() {
    let mut cluster = Cluster::with(&[("a", capacity(4, 0))]);
    let submitted = cluster.submit(&cores(1.0));
    assert_eq!(submitted.status, TaskStatus::Pending);
    assert_eq!(submitted.worker, Some(id("a")));
    let assignment = cluster.assigned();
    assert_eq!(assignment.attempt.task, submitted.task);
    assert_eq!(assignment.attempt.number, 1);
    assert_eq!(cluster.state(&submitted.task).status, TaskStatus::Pending);
}

#[test]
fn a_task_waits_when_nothing_fits_and_starts_when_a_worker_joins() {
    let mut cluster = Cluster::new();
    let submitted = cluster.submit(&cores(1.0));
    assert_eq!(submitted.status, TaskStatus::Queued);
    assert_eq!(submitted.position, 1);
    assert_eq!(
        submitted.waiting.unwrap().summary,
        "no worker is registered"
    );

    cluster.add_worker("a");
    assert!(cluster.take_assignments().is_empty());
    cluster.hello("a", capacity(1, 0)).unwrap();
    assert_eq!(cluster.assigned().attempt.task, submitted.task);
}

#[test]
fn a_task_starts_when_another_has_exited_even_before_its_upload() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let first = cluster.submit(&cores(1.0));
    let attempt = cluster.assigned().attempt;
    let second = cluster.submit(&cores(1.0));
    assert_eq!(second.status, TaskStatus::Queued);
    let why = second.waiting.unwrap();
    assert_eq!(why.outlook, Outlook::Later);
    assert_eq!(why.summary, "a: CPU short by 1 core");

    cluster.accepted(&attempt);
    cluster.progress("a", &attempt, Phase::Running);
    assert!(cluster.take_assignments().is_empty());
    cluster.progress("a", &attempt, Phase::Uploading);
    assert_eq!(cluster.assigned().attempt.task, second.task);
    assert_eq!(
        cluster.state(&first.task).status,
        TaskStatus::Running,
        "until its files are in"
    );
}

#[test]
fn what_asks_for_container_settings_does_not_go_to_an_old_node() {
    // Given an old node, which would run the task on its bridge,
    let mut cluster = Cluster::with(&[]);
    cluster.add_worker("a");
    cluster.introduced(old_node("a", capacity(4, 0))).unwrap();
    cluster.heartbeat("a", &[]);
    let alone = spec(TaskDraft {
        container: ContainerDraft {
            network: Some("none".to_owned()),
            ..ContainerDraft::default()
        },
        ..draft()
    });

    // then the task waits and says why, and one that asks for nothing runs.
    let submitted = cluster.submit(&alone);
    let why = submitted.waiting.unwrap();
    assert_eq!(
        (why.outlook, why.summary.as_str()),
        (
            Outlook::Never,
            "a: an old node, which knows no container settings"
        )
    );
    let plain = cluster.submit(&cores(1.0));
    assert_eq!(cluster.assigned().attempt.task, plain.task);

    // When the node is brought up to date, the task goes there.
    cluster.hello("a", capacity(4, 0)).unwrap();
    assert_eq!(cluster.assigned().attempt.task, submitted.task);
}

#[test]
fn what_fits_nowhere_is_told_from_what_must_wait_and_from_what_is_unknown() {
    let mut cluster = Cluster::with(&[("a", capacity(4, 0))]);
    let gpu = spec(TaskDraft {
        gpu_cores: Some(1.0),
        ..draft()
    });
    let why = cluster.submit(&gpu).waiting.unwrap();
    assert_eq!(
        (why.outlook, why.summary.as_str()),
        (Outlook::Never, "no worker with 1 GPU")
    );

    cluster.add_worker("never-seen");
    let why = cluster.submit(&gpu).waiting.unwrap();
    assert_eq!(why.outlook, Outlook::Unknown);
}

#[test]
fn priority_goes_first_then_age() {
    let mut cluster = Cluster::new();
    let with = |priority| {
        spec(TaskDraft {
            priority: Some(priority),
            ..draft()
        })
    };
    let old = cluster.submit(&with(50)).task;
    let young = cluster.submit(&with(50));
    let urgent = cluster.submit(&with(90));
    assert_eq!((young.position, urgent.position), (2, 1));
    cluster.add_worker("a");
    cluster.hello("a", capacity(3, 0)).unwrap();
    let order: Vec<_> = cluster
        .take_assignments()
        .into_iter()
        .map(|assignment| assignment.attempt.task)
        .collect();
    assert_eq!(order, [urgent.task, old, young.task]);
}

#[test]
fn turns_are_fair_over_workers_of_unequal_size() {
    // Given one large and two small workers,
    let sizes = [
        ("large", capacity(8, 0)),
        ("small-1", capacity(2, 0)),
        ("small-2", capacity(2, 0)),
    ];
    let mut cluster = Cluster::with(&sizes);
    let count = |cluster: &Cluster, worker: &str| {
        cluster
            .core
            .registry()
            .get(&id(worker))
            .unwrap()
            .attempts
            .len()
    };
    // while all have room, each gets its turn;
    for _ in 0..6 {
        cluster.submit(&cores(1.0));
    }
    assert_eq!(
        ["large", "small-1", "small-2"].map(|worker| count(&cluster, worker)),
        [2, 2, 2]
    );
    // when the small ones are full, the large one takes the rest, and no one gets too much.
    for _ in 0..10 {
        cluster.submit(&cores(1.0));
    }
    assert_eq!(
        ["large", "small-1", "small-2"].map(|worker| count(&cluster, worker)),
        [8, 2, 2]
    );
    assert_eq!(cluster.core.waiting_count(), 4);

    // A full worker's turns don't all go to its neighbour.
    let mut cluster = Cluster::with(&[
        ("a", capacity(8, 0)),
        ("b", capacity(0, 0)),
        ("c", capacity(8, 0)),
    ]);
    for _ in 0..8 {
        cluster.submit(&cores(1.0));
    }
    assert_eq!(
        ["a", "b", "c"].map(|worker| count(&cluster, worker)),
        [4, 0, 4]
    );
}

#[test]
fn direct_dispatch_skips_the_choice_but_not_the_capacity() {
    let mut cluster = Cluster::with(&[("a", capacity(8, 0)), ("b", capacity(1, 0))]);
    let on_b = spec(TaskDraft {
        worker_id: Some("b".into()),
        ..draft()
    });
    assert_eq!(cluster.submit(&on_b).worker, Some(id("b")));
    let second = cluster.submit(&on_b);
    assert_eq!(second.status, TaskStatus::Queued);
    assert_eq!(second.waiting.unwrap().summary, "b: CPU short by 1 core");

    let nowhere = spec(TaskDraft {
        worker_id: Some("c".into()),
        ..draft()
    });
    let refused = cluster.try_submit(None, &nowhere);
    assert!(
        matches!(refused, Err(SubmitError::UnknownTarget(_))),
        "{refused:?}"
    );
}

#[test]
fn ids_rise_also_when_the_clock_steps_back() {
    let mut cluster = Cluster::new();
    let first = cluster.submit(&cores(1.0)).task;
    cluster.now.wall.0 -= 3_600_000;
    let second = cluster.submit(&cores(1.0)).task;
    assert!(second > first, "{second} after {first}");
    assert!(first.to_string().starts_with("task-17"), "{first}");
}

#[test]
fn a_clients_own_id_is_used_once() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let mine: TaskId = "nightly-7".parse().unwrap();
    let submitted = cluster.try_submit(Some(mine.clone()), &cores(1.0)).unwrap();
    assert_eq!(submitted.task, mine);
    let again = cluster.try_submit(Some(mine.clone()), &cores(1.0));
    assert_eq!(again, Err(SubmitError::IdTaken(mine.clone())));
    let attempt = cluster.assigned().attempt;
    cluster.finish("a", &attempt, Exit::Exited(0));
    let again = cluster.try_submit(Some(mine.clone()), &cores(1.0));
    assert_eq!(again, Err(SubmitError::IdTaken(mine)));
    let ahead = TaskId::numbered(u64::MAX);
    let refused = cluster.try_submit(Some(ahead.clone()), &cores(1.0));
    assert_eq!(refused, Err(SubmitError::IdAhead(ahead)));
}

#[test]
fn a_full_queue_refuses_and_keeps_what_it_has() {
    let mut cluster = Cluster::new();
    let settings = cloudai_core::Settings {
        queue_limit: 2,
        ..cluster.settings.clone()
    };
    let policy = Box::new(cloudai_core::policy::RoundRobin);
    cluster.core = cloudai_core::Core::new(settings, policy, "c-1".parse().unwrap());
    cluster.step(Input::Restored {
        highest_task_number: None,
        highest_order: 0,
    });
    cluster.submit(&cores(1.0));
    cluster.submit(&cores(1.0));
    assert_eq!(
        cluster.try_submit(None, &cores(1.0)),
        Err(SubmitError::QueueFull(2))
    );
    assert_eq!(cluster.core.waiting_count(), 2);
}

#[test]
fn a_refusal_is_no_failure_and_the_worker_is_left_alone_for_a_moment() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    let answer = AssignAnswer::Refused("its engine does not answer".into());
    cluster.step(Input::AssignAnswered { attempt, answer });
    let state = cluster.state(&task);
    assert_eq!((state.status, state.failures), (TaskStatus::Queued, 0));
    assert_eq!(
        state.reason,
        "waiting again: refused: its engine does not answer"
    );
    assert!(cluster.take_assignments().is_empty());
    cluster.pass_time(3000, &["a"]);
    assert_eq!(cluster.assigned().attempt.number, 2);
}

#[test]
fn what_could_not_be_sent_waits_longer_each_time_and_neither_worker_nor_other_tasks_are_blamed() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let next = cluster.submit(&cores(1.0)).task;
    let not_sent = |attempt: &AttemptId| Input::AssignAnswered {
        attempt: attempt.clone(),
        answer: AssignAnswer::NotSent("its spec can't be read".into()),
    };
    let given = cluster.assigned().attempt;
    cluster.step(not_sent(&given));
    // What waits behind it has its place at once.
    let other = cluster.assigned();
    assert_eq!(other.attempt.task, next);
    assert_eq!(other.worker, id("a"));
    cluster.finish("a", &other.attempt, Exit::Exited(0));
    assert!(cluster.take_assignments().is_empty());

    let state = cluster.state(&task);
    assert_eq!(
        state.reason,
        "waiting again: it could not be sent: its spec can't be read"
    );
    assert_eq!((state.failures, state.taken_down.len()), (0, 0));
    cluster.pass_time(2500, &[]);
    let given = cluster.assigned().attempt;
    cluster.step(not_sent(&given));
    cluster.pass_time(2500, &[]);
    assert!(cluster.take_assignments().is_empty());
    cluster.pass_time(2500, &[]);
    assert_eq!(cluster.assigned().attempt.number, 3);
}

#[test]
fn the_queue_is_told_in_its_own_order_with_what_each_waits_for() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let failing = cluster.submit(&spec(TaskDraft {
        max_retries: Some(1),
        ..draft()
    }));
    let attempt = cluster.assigned().attempt;
    let normal = cluster.submit(&cores(1.0)).task;
    let too_large = cluster.submit(&cores(2.0)).task;
    let urgent = cluster.submit(&spec(TaskDraft {
        priority: Some(90),
        ..draft()
    }));
    cluster.finish("a", &attempt, Exit::Exited(1));
    let running = cluster.assigned().attempt.task;
    assert_eq!(running, urgent.task);

    let waiting = cluster.waiting(Which::First(10));

    let order: Vec<_> = waiting
        .iter()
        .map(|entry| (&entry.task, entry.position))
        .collect();
    assert_eq!(order, [(&normal, 1), (&too_large, 2), (&failing.task, 3)]);
    let outlooks: Vec<_> = waiting
        .iter()
        .map(|entry| match &entry.cause {
            WaitCause::Room(why) => Some(why.outlook),
            WaitCause::OnHold | WaitCause::BackOff(_) => None,
        })
        .collect();
    assert_eq!(outlooks, [Some(Outlook::Later), Some(Outlook::Never), None]);
    assert_eq!(cluster.waiting(Which::First(1)), waiting[..1]);
    for entry in &waiting {
        let one = cluster.waiting(Which::One(entry.task.clone()));
        assert_eq!(one, std::slice::from_ref(entry));
    }
    assert!(cluster.waiting(Which::One(running)).is_empty());
}

#[test]
fn what_never_fits_is_said_also_of_a_worker_that_is_away_or_busy() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0)), ("b", capacity(1, 0))]);
    cluster.submit(&cores(1.0));
    cluster.pass_time(16_000, &["a"]);

    let too_large = cluster.submit(&spec(TaskDraft {
        cpu_cores: Some(1.0),
        gpu_cores: Some(2.0),
        ..draft()
    }));

    let why = too_large.waiting.unwrap();
    assert_eq!(why.outlook, Outlook::Never);
    assert_eq!(why.summary, "no worker with 2 GPUs");
}
