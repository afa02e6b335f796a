//! What a user may have at a time: what is refused, what waits, and what wakes it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use cloudai_core::{
    Effect, LimitReached, PlaceError, Settings, SubmitError, TaskNews, WaitCause, Which,
    explain::{Outlook, ResourceKind},
};
use cloudai_model::{Exit, Phase, TaskDraft, TaskStatus, UserLimits, resources::GB};
use cluster::{Cluster, capacity, draft, id, of, spec};

fn at_most_cores(cores: u64) -> UserLimits {
    UserLimits {
        cpu_milli: Some(cores * 1000),
        ..UserLimits::default()
    }
}

#[test]
fn a_user_at_a_limit_waits_with_the_limit_named_while_others_run() {
    let mut cluster = Cluster::with(&[("a", capacity(16, 0))]);
    cluster.set_limits("alice", at_most_cores(8));
    let first = cluster.submit(&of("alice", 8.0));
    let attempt = cluster.assigned().attempt;
    assert_eq!(first.status, TaskStatus::Pending);

    let second = cluster.submit(&of("alice", 2.0));

    assert_eq!((second.status, second.position), (TaskStatus::Queued, 1));
    let why = second.waiting.unwrap();
    assert_eq!(
        why.summary,
        "alice has 8.0 of 8 cores in use, and this needs 2"
    );
    assert_eq!(why.outlook, Outlook::Later);
    assert_eq!(
        why.limit,
        Some(LimitReached {
            user: "alice".parse().unwrap(),
            kind: ResourceKind::Cpu,
            limit: 8000,
            used: 8000,
            wanted: 2000,
        })
    );
    // The worker itself has room, and says so.
    assert_eq!(why.verdicts[0].obstacle, None);
    assert_eq!(cluster.state(&second.task).reason, why.summary);
    assert!(cluster.take_assignments().is_empty());

    let of_bob = cluster.submit(&of("bob", 2.0)).task;
    assert_eq!(cluster.assigned().attempt.task, of_bob);

    // The container's end is enough: its files are still on their way.
    cluster.progress("a", &attempt, Phase::Running);
    cluster.progress("a", &attempt, Phase::Uploading);
    assert_eq!(cluster.assigned().attempt.task, second.task);
}

#[test]
fn what_is_at_a_limit_is_told_from_what_nobody_has_room_for() {
    let mut cluster = Cluster::with(&[("a", capacity(4, 0))]);
    cluster.set_limits("alice", at_most_cores(4));
    cluster.submit(&of("alice", 3.0));
    let of_alice = cluster.submit(&of("alice", 2.0)).task;
    let of_bob = cluster.submit(&of("bob", 2.0)).task;

    assert_eq!(cluster.why(&of_bob), "a: CPU short by 1 core");
    assert_eq!(
        cluster.why(&of_alice),
        "alice has 3.0 of 4 cores in use, and this needs 2; a: CPU short by 1 core"
    );
    let limits = cluster
        .waiting(Which::First(9))
        .into_iter()
        .map(|entry| match entry.cause {
            WaitCause::Room(why) => why.limit.is_some(),
            other => panic!("{other:?}"),
        });
    assert_eq!(limits.collect::<Vec<_>>(), [true, false]);
}

#[test]
fn every_way_to_a_worker_respects_the_limit() {
    let mut cluster = Cluster::with(&[("a", capacity(16, 0)), ("b", capacity(16, 0))]);
    cluster.set_limits("alice", at_most_cores(1));
    cluster.submit(&of("alice", 1.0));
    cluster.assigned();

    let direct = cluster.submit(&spec(TaskDraft {
        user_id: Some("alice".into()),
        worker_id: Some("b".into()),
        ..draft()
    }));
    assert_eq!(direct.status, TaskStatus::Queued);

    let chosen = cluster.submit(&of("alice", 0.5)).task;
    let refused = cluster.place(&chosen, "b").unwrap_err();
    assert!(matches!(refused, PlaceError::AtLimit(..)), "{refused:?}");
    assert_eq!(
        refused.to_string(),
        format!(
            "task {chosen} can't be placed: alice has 1.0 of 1 core in use, and this needs 0.5"
        )
    );
    assert!(cluster.take_assignments().is_empty());
}

#[test]
fn a_task_larger_than_its_users_limit_is_refused_with_words() {
    let mut cluster = Cluster::with(&[("a", capacity(16, 4))]);
    cluster.set_limits(
        "alice",
        UserLimits {
            memory_bytes: Some(2 * GB),
            gpu_milli: Some(500),
            ..UserLimits::default()
        },
    );
    let of_alice = |memory_gb, gpu_cores| {
        spec(TaskDraft {
            user_id: Some("alice".into()),
            memory_gb: Some(memory_gb),
            gpu_cores: Some(gpu_cores),
            ..draft()
        })
    };
    let refused = |cluster: &mut Cluster, memory, gpu| {
        let refused = cluster.try_submit(None, &of_alice(memory, gpu));
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        refused(&mut cluster, 3.0, 0.0),
        "alice may use 2 GB of memory at a time, and this needs 3: ask for less, or an admin for a \
         higher limit"
    );
    assert_eq!(
        refused(&mut cluster, 1.0, 1.0),
        "alice may use 0.5 GPUs at a time, and this needs 1: ask for less, or an admin for a higher \
         limit"
    );
    assert!(
        cluster
            .written
            .iter()
            .all(|record| !matches!(record, cloudai_model::record::Record::TaskAdded(_)))
    );
    assert!(cluster.try_submit(None, &of_alice(2.0, 0.5)).is_ok());
}

#[test]
fn so_many_tasks_of_a_user_wait_and_no_more() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    cluster.set_limits(
        "alice",
        UserLimits {
            queued_tasks: Some(2),
            ..UserLimits::default()
        },
    );
    // What runs doesn't count; what is on hold does, and what waits out a back-off.
    cluster.submit(&spec(TaskDraft {
        user_id: Some("alice".into()),
        max_retries: Some(1),
        ..draft()
    }));
    let attempt = cluster.assigned().attempt;
    cluster.finish("a", &attempt, Exit::Exited(1));
    let held = cluster.submit(&spec(TaskDraft {
        user_id: Some("alice".into()),
        hold: true,
        ..draft()
    }));

    let refused = cluster.try_submit(None, &of("alice", 1.0)).unwrap_err();

    assert_eq!(
        refused,
        SubmitError::UserQueueFull {
            user: "alice".parse().unwrap(),
            limit: 2
        }
    );
    assert_eq!(
        refused.to_string(),
        "alice may have 2 tasks waiting at a time: try again when some have been started, or cancel \
         some"
    );
    assert!(cluster.try_submit(None, &of("bob", 1.0)).is_ok());
    cluster.cancel(&held.task).unwrap();
    assert!(cluster.try_submit(None, &of("alice", 1.0)).is_ok());
}

#[test]
fn what_runs_goes_on_when_a_limit_is_lowered_and_what_waits_goes_when_it_is_raised() {
    let mut cluster = Cluster::with(&[("a", capacity(16, 0))]);
    cluster.submit(&of("alice", 4.0));
    let waiting_since = cluster.assigned().attempt;
    let effects_before = cluster.effects.len();

    cluster.set_limits("alice", at_most_cores(2));

    assert_eq!(cluster.effects.len(), effects_before, "nothing is stopped");
    let small = cluster.submit(&of("alice", 2.0)).task;
    assert_eq!(
        cluster.why(&small),
        "alice has 4.0 of 2 cores in use, and this needs 2"
    );

    cluster.set_limits("alice", at_most_cores(1));
    let waiting = cluster.waiting(Which::One(small.clone())).pop().unwrap();
    let WaitCause::Room(why) = waiting.cause else {
        panic!("{waiting:?}")
    };
    assert_eq!(why.outlook, Outlook::Never);
    assert_eq!(
        why.summary,
        "alice may use 1 core at a time, and this needs 2"
    );

    cluster.set_limits("alice", UserLimits::default());
    assert_eq!(cluster.assigned().attempt.task, small);
    cluster.finish("a", &waiting_since, Exit::Exited(0));
}

#[test]
fn everybody_has_the_limits_of_the_settings_but_for_who_has_others() {
    let settings = Settings {
        user_limits: at_most_cores(1),
        ..Settings::default()
    };
    let mut cluster = Cluster::with_settings(settings, &[("a", capacity(16, 0))]);
    cluster.set_limits("alice", at_most_cores(2));
    for user in ["alice", "alice", "bob", "bob"] {
        cluster.submit(&of(user, 1.0));
    }
    let started = cluster.take_assignments().len();
    assert_eq!(started, 3);
    assert_eq!(cluster.core.waiting_count(), 1);
}

/// However a user's attempt ends, what waits for that is looked at at once, not at the next tick.
#[test]
fn whatever_gives_something_back_wakes_its_user() {
    type End = fn(&mut Cluster, &cloudai_model::AttemptId);
    let ends: [(&str, End); 4] = [
        ("a result", |cluster, attempt| {
            cluster.finish("a", attempt, Exit::Exited(0));
        }),
        ("a refusal", |cluster, attempt| {
            let answer = cloudai_core::AssignAnswer::Refused("full".into());
            cluster.step(cloudai_core::Input::AssignAnswered {
                attempt: attempt.clone(),
                answer,
            });
        }),
        ("a stop", |cluster, attempt| {
            cluster.cancel(&attempt.task).unwrap();
            cluster.step(cloudai_core::Input::StopAnswered {
                attempt: attempt.clone(),
                worker: id("a"),
                answer: cloudai_core::StopAnswer::NotHeld,
            });
        }),
        ("its worker's end", |cluster, _| {
            cluster.remove_worker("a");
        }),
    ];
    for (name, end) in ends {
        let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
        cluster.set_limits("alice", at_most_cores(1));
        cluster.submit(&of("alice", 1.0));
        let attempt = cluster.assigned().attempt;
        cluster.add_worker("b");
        cluster.hello("b", capacity(4, 0)).unwrap();
        let waiting = cluster.submit(&of("alice", 0.5)).task;
        assert!(cluster.take_assignments().is_empty(), "{name}");

        end(&mut cluster, &attempt);

        let given: Vec<_> = cluster
            .take_assignments()
            .into_iter()
            .map(|assignment| assignment.attempt.task)
            .collect();
        // What was taken from its worker waits again, and is older.
        let first = match name {
            "a refusal" | "its worker's end" => attempt.task.clone(),
            _ => waiting,
        };
        assert_eq!(given, [first], "{name}");
    }
}

#[test]
fn use_and_limits_are_there_again_after_a_restart() {
    let mut cluster = Cluster::with(&[("a", capacity(16, 0))]);
    cluster.set_limits("alice", at_most_cores(2));
    cluster.submit(&of("alice", 2.0));
    let attempt = cluster.assigned().attempt;
    let waiting = cluster.submit(&of("alice", 1.0)).task;

    let limits = [("alice", at_most_cores(2))];
    let mut cluster = cluster.restarted_with(&limits);
    cluster.hello("a", capacity(16, 0)).unwrap();
    cluster.heartbeat("a", &[(&attempt, Phase::Running)]);

    assert!(cluster.take_assignments().is_empty());
    assert_eq!(
        cluster.why(&waiting),
        "alice has 2.0 of 2 cores in use, and this needs 1"
    );
    cluster.finish("a", &attempt, Exit::Exited(0));
    assert_eq!(cluster.assigned().attempt.task, waiting);
}

#[test]
fn a_task_that_waits_for_its_users_limit_times_out_with_the_limit_as_its_reason() {
    let mut cluster = Cluster::with(&[("a", capacity(16, 0))]);
    cluster.set_limits("alice", at_most_cores(1));
    cluster.submit(&of("alice", 1.0));
    let waiting = cluster.submit(&spec(TaskDraft {
        user_id: Some("alice".into()),
        queue_timeout_s: Some(60.0),
        ..draft()
    }));
    cluster.pass_time(61_000, &["a"]);
    let state = cluster.state(&waiting.task);
    assert_eq!(state.status, TaskStatus::Failed);
    assert!(
        state
            .reason
            .ends_with("alice has 1.0 of 1 core in use, and this needs 1"),
        "{}",
        state.reason
    );
}

/// Nothing of a user at a limit is looked at again before something of theirs is given back: the
/// order of the others, and of their own, stays what it is.
#[test]
fn tasks_that_stood_aside_keep_their_places() {
    let mut cluster = Cluster::with(&[("a", capacity(3, 0))]);
    cluster.set_limits("alice", at_most_cores(1));
    let order: Vec<_> = ["alice", "alice", "bob", "bob", "bob", "alice"]
        .iter()
        .map(|user| cluster.submit(&of(user, 1.0)).task)
        .collect();
    let given = |cluster: &mut Cluster| -> Vec<_> {
        let given = cluster.take_assignments().into_iter();
        given.map(|given| given.attempt).collect()
    };
    let first = given(&mut cluster);
    let tasks: Vec<_> = first.iter().map(|attempt| attempt.task.clone()).collect();
    assert_eq!(tasks, [0, 2, 3].map(|place: usize| order[place].clone()));
    let waiting: Vec<_> = cluster
        .waiting(Which::First(9))
        .into_iter()
        .map(|entry| entry.task)
        .collect();
    assert_eq!(waiting, [1, 4, 5].map(|place: usize| order[place].clone()));

    cluster.finish("a", &first[0], Exit::Exited(0));
    let next = given(&mut cluster);
    assert_eq!(next[0].task, order[1]);
    assert_eq!(next.len(), 1);
    let told = cluster.effects.iter().any(|effect| {
        matches!(effect, Effect::Publish(cloudai_core::Event::Task(TaskNews { task, .. })) if *task == order[1])
    });
    assert!(told);
}
