//! From assignment to result: phases, cancels, silence, lost and superseded attempts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use cloudai_core::{
    Answer, AssignAnswer, CancelError, CancelOutcome, Effect, Event, Heartbeat, Hello, Input,
    Reported, StopAnswer, WorkerCallError, WorkerChange,
};
use cloudai_model::{Exit, HostUsage, Phase, TaskDraft, TaskStatus, record::Record};
use cluster::{Cluster, capacity, cores, draft, id, old_node, spec};

fn results(cluster: &Cluster) -> Vec<(String, TaskStatus)> {
    let results = cluster.written.iter().filter_map(|record| match record {
        Record::Result(result) => Some((result.attempt.to_string(), result.status)),
        _ => None,
    });
    results.collect()
}

#[test]
fn a_task_runs_to_its_result_and_nothing_stays_reserved() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    for phase in [
        Phase::Pulling,
        Phase::Creating,
        Phase::Running,
        Phase::Uploading,
    ] {
        assert_eq!(cluster.progress("a", &attempt, phase), Reported::Live);
    }
    assert_eq!(
        cluster.finish("a", &attempt, Exit::Exited(0)),
        Reported::Live
    );

    let state = cluster.state(&task);
    assert_eq!(
        (state.status, state.phase),
        (TaskStatus::Completed, Phase::Done)
    );
    assert_eq!(state.exit_code, Some(0));
    assert_eq!(
        results(&cluster),
        [(attempt.to_string(), TaskStatus::Completed)]
    );
    assert_eq!(cluster.core.registry().reservation_count(), 0);
    assert_eq!(cluster.core.live_count(), 0);
}

#[test]
fn a_repeated_report_is_acknowledged_and_counted_once() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    cluster.submit(&cores(1.0));
    let attempt = cluster.assigned().attempt;
    assert_eq!(
        cluster.finish("a", &attempt, Exit::Exited(3)),
        Reported::Live
    );
    assert_eq!(
        cluster.finish("a", &attempt, Exit::Exited(0)),
        Reported::Ended
    );
    assert_eq!(
        results(&cluster),
        [(attempt.to_string(), TaskStatus::Failed)]
    );
}

#[test]
fn phases_that_come_late_or_skip_some_do_no_harm() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Running);
    cluster.progress("a", &attempt, Phase::Pulling);
    cluster.accepted(&attempt);
    assert_eq!(cluster.state(&task).phase, Phase::Running);
}

#[test]
fn cancel_in_every_phase() {
    // Waiting: at once.
    let mut cluster = Cluster::new();
    let task = cluster.submit(&cores(1.0)).task;
    assert_eq!(cluster.cancel(&task), Ok(CancelOutcome::Cancelled));
    assert_eq!(cluster.state(&task).status, TaskStatus::Cancelled);
    assert_eq!(cluster.cancel(&task), Err(CancelError::NotLive(task)));

    // With a worker: a request, carried out when the worker says so.
    let phases = [
        None,
        Some(Phase::Assigned),
        Some(Phase::Pulling),
        Some(Phase::Creating),
        Some(Phase::Running),
    ];
    for phase in phases {
        let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
        let task = cluster.submit(&cores(1.0)).task;
        let attempt = cluster.assigned().attempt;
        if let Some(phase) = phase {
            cluster.progress("a", &attempt, phase);
        }
        assert_eq!(cluster.cancel(&task), Ok(CancelOutcome::Stopping(id("a"))));
        assert_eq!(cluster.take_stops().len(), 1);
        assert_eq!(cluster.state(&task).phase, Phase::Cancelling);
        assert!(!cluster.state(&task).status.is_final());
        cluster.finish("a", &attempt, Exit::Cancelled);
        assert_eq!(cluster.state(&task).status, TaskStatus::Cancelled);
        assert_eq!(cluster.core.registry().reservation_count(), 0);
    }

    // Ended by itself: too late, its result stands.
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Uploading);
    assert_eq!(cluster.cancel(&task), Ok(CancelOutcome::AlreadyEnded));
    cluster.finish("a", &attempt, Exit::Exited(0));
    assert_eq!(cluster.state(&task).status, TaskStatus::Completed);
}

#[test]
fn a_cancel_that_comes_after_an_end_that_was_none_keeps_the_task_from_running_again() {
    for (exit, status) in [
        (
            Exit::Interrupted("its machine went down".into()),
            TaskStatus::Cancelled,
        ),
        (Exit::Exited(3), TaskStatus::Failed),
    ] {
        // Given a task with retries left whose container has ended, nobody here knows how
        let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
        let retried = spec(TaskDraft {
            max_retries: Some(3),
            ..draft()
        });
        let task = cluster.submit(&retried).task;
        let attempt = cluster.assigned().attempt;
        cluster.progress("a", &attempt, Phase::Uploading);

        // When its user cancels it, also over a restart
        assert_eq!(cluster.cancel(&task), Ok(CancelOutcome::AlreadyEnded));
        assert!(cluster.state(&task).cancel_requested);

        // Then it is over with its report
        cluster.finish("a", &attempt, exit);
        assert_eq!(cluster.state(&task).status, status);
        assert_eq!(cluster.take_assignments(), []);
    }
}

#[test]
fn a_cancel_whose_worker_never_had_the_attempt_is_carried_out() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.cancel(&task).unwrap();
    let answer = StopAnswer::NotHeld;
    cluster.step(Input::StopAnswered {
        attempt,
        worker: id("a"),
        answer,
    });
    assert_eq!(cluster.state(&task).status, TaskStatus::Cancelled);
}

#[test]
fn a_silent_worker_is_inactive_then_its_tasks_run_elsewhere_without_losing_a_retry() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0)), ("b", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let first = cluster.assigned();
    assert_eq!(first.worker, id("a"));
    cluster.accepted(&first.attempt);

    cluster.pass_time(15_500, &["b"]);
    assert!(!cluster.core.registry().get(&id("a")).unwrap().active);
    assert!(cluster.take_assignments().is_empty());

    cluster.pass_time(15_000, &["b"]);
    let second = cluster.assigned();
    assert_eq!((second.worker.clone(), second.attempt.number), (id("b"), 2));
    assert_eq!(cluster.state(&task).failures, 0);
    assert_eq!(
        cluster.core.registry().count(),
        2,
        "silence never removes a worker"
    );

    // It comes back with the superseded attempt: stopped there, and its report refused.
    cluster.take_stops();
    cluster.heartbeat("a", &[(&first.attempt, Phase::Running)]);
    let stops = cluster.take_stops();
    assert_eq!(stops.len(), 1);
    assert_eq!(
        (&stops[0].attempt, &stops[0].worker),
        (&first.attempt, &id("a"))
    );
    let late = cluster.finish("a", &first.attempt, Exit::Exited(0));
    assert_eq!(late, Reported::Superseded);
    assert_eq!(cluster.state(&task).attempt, 2);
    cluster.finish("b", &second.attempt, Exit::Exited(0));
    assert_eq!(
        results(&cluster),
        [(second.attempt.to_string(), TaskStatus::Completed)]
    );
}

#[test]
fn a_pause_of_the_master_forgives_all_silence() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    cluster.pass_time(1000, &["a"]);
    // The whole process stands still for a minute.
    cluster.now.mono.0 += 60_000;
    cluster.step(Input::Tick);
    assert!(cluster.core.registry().get(&id("a")).unwrap().active);
    assert_eq!(cluster.state(&task).attempt, 1);
    // After one more grace time silence counts again.
    cluster.pass_time(15_500, &[]);
    assert!(!cluster.core.registry().get(&id("a")).unwrap().active);
}

#[test]
fn an_attempt_that_its_worker_lacks_is_lost_but_not_one_on_its_way() {
    let mut cluster = Cluster::with(&[("a", capacity(2, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let first = cluster.assigned();
    // The heartbeat left before the assignment came.
    cluster.heartbeat_with("a", &[], Some(first.sequence - 1), "first");
    assert_eq!(cluster.state(&task).attempt, 1);
    // The worker has seen it, and doesn't hold it; no answer to the call came.
    let answer = AssignAnswer::Undelivered("cut".into());
    cluster.step(Input::AssignAnswered {
        attempt: first.attempt.clone(),
        answer,
    });
    cluster.pass_time(2500, &[]);
    cluster.heartbeat_with("a", &[], Some(first.sequence), "first");
    let second = cluster.assigned();
    assert_eq!(second.attempt.number, 2);
    assert!(second.sequence > first.sequence);
}

#[test]
fn a_worker_that_lost_its_spool_lost_its_attempts() {
    let mut cluster = Cluster::with(&[("a", capacity(2, 0))]);
    cluster.heartbeat_with("a", &[], Some(0), "first");
    cluster.submit(&cores(1.0));
    let first = cluster.assigned();
    cluster.accepted(&first.attempt);
    cluster.pass_time(1_000, &[]);
    let second = Hello {
        version: Some("1".into()),
        incarnation: Some("second".into()),
        ..old_node("a", capacity(2, 0))
    };
    cluster.introduced(second).unwrap();
    cluster.heartbeat_with("a", &[], Some(0), "second");
    assert_eq!(cluster.assigned().attempt.number, 2);
}

#[test]
fn what_was_to_be_stopped_and_had_ended_is_lost_with_its_spool_too() {
    for asked_before_its_end in [true, false] {
        // Given an attempt that its user cancelled, and whose container has ended
        let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
        let task = cluster.submit(&cores(1.0)).task;
        let attempt = cluster.assigned().attempt;
        cluster.progress("a", &attempt, Phase::Running);
        if asked_before_its_end {
            cluster.cancel(&task).unwrap();
        }
        cluster.progress("a", &attempt, Phase::Uploading);
        cluster.cancel(&task).unwrap();
        assert!(!cluster.state(&task).status.is_final());

        // When its worker comes back with an empty disk
        cluster.pass_time(1_000, &[]);
        let second = Hello {
            version: Some("1".into()),
            incarnation: Some("second".into()),
            ..old_node("a", capacity(1, 0))
        };
        cluster.introduced(second).unwrap();
        cluster.heartbeat_with("a", &[], Some(0), "second");

        // Then nobody waits for its report
        assert_eq!(cluster.state(&task).status, TaskStatus::Cancelled);
    }
}

#[test]
fn a_heartbeat_that_an_assignment_overtook_is_no_sign_of_a_lost_spool() {
    // Given a worker that has just registered, and takes an attempt while its first heartbeat is on
    // its way
    let mut cluster = Cluster::new();
    cluster.add_worker("a");
    let hello = Hello {
        version: Some("1".into()),
        incarnation: Some("first".into()),
        ..old_node("a", capacity(2, 0))
    };
    cluster.introduced(hello).unwrap();
    cluster.pass_time(100, &[]);
    let task = cluster.submit(&cores(1.0)).task;
    let first = cluster.assigned();
    cluster.accepted(&first.attempt);

    // When that heartbeat comes, the attempt is not given up
    cluster.heartbeat_with("a", &[], Some(0), "first");
    assert_eq!(cluster.state(&task).attempt, 1);
    assert_eq!(cluster.take_assignments(), []);

    // But no heartbeat takes so long: then the worker has lost it
    for _ in 0..4 {
        cluster.pass_time(4_000, &[]);
        cluster.heartbeat_with("a", &[], Some(0), "first");
    }
    assert_eq!(cluster.assigned().attempt.number, 2);
}

#[test]
fn an_assignment_of_unknown_fate_is_sent_again_the_same() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    cluster.submit(&cores(1.0));
    let first = cluster.assigned();
    let answer = AssignAnswer::Undelivered("timed out".into());
    cluster.step(Input::AssignAnswered {
        attempt: first.attempt.clone(),
        answer,
    });
    cluster.heartbeat_with("a", &[], Some(0), "first");
    assert_eq!(cluster.assigned(), first);
}

#[test]
fn a_reservation_that_nobody_confirms_is_freed_only_on_the_workers_word() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    // Nothing but heartbeats that can't know of it.
    for _ in 0..62 {
        cluster.now.mono.0 += 500;
        cluster.heartbeat_with("a", &[], Some(0), "first");
        cluster.step(Input::Tick);
    }
    assert!(!cluster.take_stops().is_empty());
    assert_eq!(
        cluster.core.registry().reservation_count(),
        1,
        "it may yet be there"
    );
    let answer = StopAnswer::NotHeld;
    cluster.step(Input::StopAnswered {
        attempt,
        worker: id("a"),
        answer,
    });
    assert_eq!(cluster.assigned().attempt.number, 2);
    assert_eq!(cluster.state(&task).failures, 0);
}

#[test]
fn failures_of_the_task_are_retried_as_often_as_it_says() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster
        .submit(&spec(TaskDraft {
            max_retries: Some(1),
            ..draft()
        }))
        .task;
    let first = cluster.assigned().attempt;
    cluster.finish("a", &first, Exit::Exited(1));
    assert_eq!(cluster.state(&task).status, TaskStatus::Queued);
    assert!(
        cluster.take_assignments().is_empty(),
        "it waits a moment first"
    );
    cluster.pass_time(1500, &["a"]);
    let second = cluster.assigned().attempt;
    cluster.finish("a", &second, Exit::Exited(1));
    assert_eq!(cluster.state(&task).status, TaskStatus::Failed);
    assert_eq!(cluster.state(&task).reason, "exit code 1");
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_has_failed() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster
        .submit(&spec(TaskDraft {
            timeout_s: Some(2.0),
            ..draft()
        }))
        .task;
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Running);
    cluster.pass_time(1500, &["a"]);
    assert!(cluster.take_stops().is_empty());
    cluster.pass_time(1000, &["a"]);
    assert!(!cluster.take_stops().is_empty());
    cluster.finish("a", &attempt, Exit::Cancelled);
    let state = cluster.state(&task);
    assert_eq!(
        (state.status, state.reason.as_str()),
        (TaskStatus::Failed, "timed out after 2s")
    );
}

#[test]
fn unregister_requeues_its_tasks_and_keeps_asking_until_they_have_stopped() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    assert_eq!(cluster.remove_worker("a"), std::slice::from_ref(&attempt));
    assert_eq!(cluster.state(&task).status, TaskStatus::Queued);
    assert_eq!(cluster.take_stops().len(), 1);
    assert_eq!(cluster.core.registry().count(), 0);

    // It is away: asked again, also by a master that was restarted meanwhile.
    cluster.pass_time(11_000, &[]);
    assert!(!cluster.take_stops().is_empty());
    let mut cluster = cluster.restarted();
    cluster.pass_time(1000, &[]);
    assert!(!cluster.take_stops().is_empty());
    let answer = StopAnswer::NotHeld;
    cluster.step(Input::StopAnswered {
        attempt,
        worker: id("a"),
        answer,
    });
    cluster.pass_time(30_000, &[]);
    assert!(cluster.take_stops().is_empty());
}

#[test]
fn nobody_unregistered_gets_in() {
    let mut cluster = Cluster::new();
    let refused = cluster.hello("stranger", capacity(1, 0)).unwrap_err();
    assert_eq!(refused, WorkerCallError::NotAuthorized(id("stranger")));
    let events = cluster.take_events();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::WorkerRefused { worker, .. } if *worker == id("stranger"))),
        "{events:?}"
    );
    let words = refused.to_string();
    assert!(words.contains("worker stranger not authorized"), "{words}");
    assert!(words.contains("register stranger"), "{words}");
    assert_eq!(cluster.core.registry().count(), 0);
}

#[test]
fn listeners_hear_of_workers_and_tasks() {
    let mut cluster = Cluster::new();
    cluster.add_worker("a");
    cluster.hello("a", capacity(1, 0)).unwrap();
    let task = cluster.submit(&cores(1.0)).task;
    cluster.remove_worker("a");
    let events = cluster.take_events();
    assert!(events.contains(&Event::WorkerAdded(id("a"))));
    assert!(events.contains(&Event::WorkerRemoved(id("a"))));
    assert!(events.iter().any(|event| matches!(event,
        Event::WorkerUpdated { worker, change: WorkerChange::Introduced { .. } }
            if *worker == id("a"))));
    let statuses: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Task(news) if news.task == task => Some(news.status),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [TaskStatus::Pending, TaskStatus::Queued]);
}

#[test]
fn an_inactive_worker_is_called_about_every_ten_seconds() {
    let mut cluster = Cluster::new();
    cluster.add_worker("a");
    let invites = |cluster: &mut Cluster| {
        let is_one = |effect: &mut Effect| matches!(effect, Effect::Invite { .. });
        cluster.effects.extract_if(.., is_one).count()
    };
    assert_eq!(invites(&mut cluster), 1);
    cluster.pass_time(60_000, &[]);
    let called = invites(&mut cluster);
    assert!((4..=8).contains(&called), "{called}");
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.pass_time(60_000, &["a"]);
    assert_eq!(invites(&mut cluster), 0);
}

#[test]
fn a_cancel_is_not_forgotten_over_a_reservation_that_nobody_confirmed() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.cancel(&task).unwrap();
    for _ in 0..70 {
        cluster.now.mono.0 += 500;
        cluster.heartbeat("a", &[(&attempt, Phase::Cancelling)]);
        cluster.step(Input::Tick);
    }
    cluster.finish("a", &attempt, Exit::Cancelled);
    assert_eq!(cluster.state(&task).status, TaskStatus::Cancelled);
}

#[test]
fn what_still_runs_of_a_cancelled_task_is_stopped_when_its_worker_comes_back() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Running);
    cluster.cancel(&task).unwrap();
    cluster.pass_time(31_000, &[]);
    assert_eq!(
        cluster.state(&task).status,
        TaskStatus::Cancelled,
        "its worker is lost"
    );
    cluster.take_stops();
    cluster.heartbeat("a", &[(&attempt, Phase::Running)]);
    assert_eq!(cluster.take_stops().len(), 1);
}

#[test]
fn an_assignment_that_a_later_one_overtook_is_not_lost() {
    let mut cluster = Cluster::with(&[("a", capacity(2, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let first = cluster.assigned();
    cluster.submit(&cores(1.0));
    let second = cluster.assigned();
    cluster.heartbeat_with(
        "a",
        &[(&second.attempt, Phase::Assigned)],
        Some(second.sequence),
        "first",
    );
    assert_eq!(
        cluster.state(&task).attempt,
        1,
        "its call is still under way"
    );
    cluster.accepted(&first.attempt);
    assert!(cluster.take_assignments().is_empty());
}

#[test]
fn what_a_lost_worker_held_is_stopped_there_whatever_becomes_of_its_registration() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    cluster.submit(&cores(1.0));
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    cluster.pass_time(31_000, &[]);
    assert!(
        cluster.take_stops().is_empty(),
        "while it is silent nothing can be asked of it"
    );

    // It is unregistered, and registered again on another machine, which holds nothing.
    cluster.remove_worker("a");
    assert_eq!(cluster.take_stops().len(), 1);
    cluster.add_worker_at("a", "elsewhere");
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.take_assignments();
    cluster.pass_time(11_000, &["a"]);
    let stops = cluster.take_stops();
    assert!(!stops.is_empty());
    assert!(
        stops
            .iter()
            .all(|stop| stop.attempt == attempt && stop.address.host() == "localhost")
    );

    // The old machine is back, and says that the container has ended by itself.
    let reported = cluster.finish("a", &attempt, Exit::Exited(0));
    assert_eq!(reported, Reported::Superseded);
    cluster.pass_time(11_000, &["a"]);
    assert!(cluster.take_stops().is_empty());
}

#[test]
fn a_lost_worker_that_comes_back_without_its_attempts_is_asked_nothing_more() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    cluster.submit(&cores(1.0));
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    cluster.pass_time(31_000, &[]);

    cluster.heartbeat("a", &[]);

    let ended = Record::StopOrderDone(attempt);
    assert!(cluster.written.contains(&ended));
    cluster.remove_worker("a");
    let again = cluster.assigned().attempt;
    let stops = cluster.take_stops();
    assert!(stops.iter().all(|stop| stop.attempt == again), "{stops:?}");
}

#[test]
fn a_worker_may_hold_an_older_attempt_beside_the_live_one() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let older = cluster.assigned().attempt;
    cluster.accepted(&older);
    cluster.pass_time(31_000, &[]);
    cluster.heartbeat("a", &[(&older, Phase::Running)]);
    let live = cluster.assigned().attempt;
    cluster.accepted(&live);
    cluster.take_stops();

    cluster.heartbeat("a", &[(&live, Phase::Running), (&older, Phase::Running)]);

    let stops: Vec<_> = cluster
        .take_stops()
        .into_iter()
        .map(|stop| stop.attempt)
        .collect();
    assert_eq!(stops, [older]);
    assert_eq!(cluster.state(&task).status, TaskStatus::Running);
}

#[test]
fn a_second_program_under_one_id_is_refused_while_the_first_is_there() {
    let mut cluster = Cluster::new();
    cluster.add_worker("a");
    cluster
        .hello_from("a", capacity(1, 0), Some("home-1"))
        .unwrap();

    let second = cluster.hello_from("a", capacity(8, 0), Some("home-2"));
    assert_eq!(second, Err(WorkerCallError::Duplicate(id("a"))));
    let answer = cluster.call(|call| Input::Heartbeat {
        call,
        heartbeat: Heartbeat {
            worker: id("a"),
            incarnation: Some("x".into()),
            home: Some("home-2".into()),
            usage: HostUsage::default(),
            held: Vec::new(),
            last_sequence: Some(0),
            unwell: None,
        },
    });
    assert_eq!(
        answer,
        Answer::HeartbeatTaken(Err(WorkerCallError::Duplicate(id("a"))))
    );
    let known = cluster.core.registry().get(&id("a")).unwrap();
    assert_eq!(known.capacity, Some(capacity(1, 0)));

    // Started again from its own directory, it is the same worker; from a new one, when it is gone.
    cluster
        .hello_from("a", capacity(2, 0), Some("home-1"))
        .unwrap();
    cluster.pass_time(16_000, &[]);
    cluster
        .hello_from("a", capacity(8, 0), Some("home-2"))
        .unwrap();
}

#[test]
fn what_an_earlier_start_of_a_worker_offered_does_not_stand_when_it_comes_late() {
    // Given a worker that was started again with more, and whose first hello comes after its second
    let mut cluster = Cluster::new();
    cluster.add_worker("a");
    let hello = |cores, incarnation: &str| Hello {
        version: Some("1".into()),
        incarnation: Some(incarnation.into()),
        ..old_node("a", capacity(cores, 0))
    };
    let heartbeat = |cluster: &mut Cluster, incarnation: &str| {
        let heartbeat = Heartbeat {
            worker: id("a"),
            incarnation: Some(incarnation.into()),
            home: None,
            usage: HostUsage::default(),
            held: Vec::new(),
            last_sequence: Some(0),
            unwell: None,
        };
        match cluster.call(|call| Input::Heartbeat { call, heartbeat }) {
            Answer::HeartbeatTaken(taken) => taken.unwrap().introduce,
            other => panic!("{other:?}"),
        }
    };
    cluster.introduced(hello(8, "second")).unwrap();
    assert!(!heartbeat(&mut cluster, "second"));
    cluster.introduced(hello(2, "first")).unwrap();

    // When it is heard of next, it is asked once more, and what it says stands
    assert!(heartbeat(&mut cluster, "second"));
    cluster.introduced(hello(8, "second")).unwrap();
    assert!(!heartbeat(&mut cluster, "second"));
    let known = cluster.core.registry().get(&id("a")).unwrap();
    assert_eq!(known.capacity, Some(capacity(8, 0)));
}
