//! What of a task is changed after its submit: name, priority, deadline, labels, hold. The time-out of
//! a run has tests of its own, with the other time-outs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use cloudai_core::{ChangeError, ChangeOutcome, PlaceError, WaitCause, Which};
use cloudai_model::{
    Exit, Phase, Priority, Setting, TaskChange, TaskDraft, TaskId, TaskStatus, record::Record,
};
use cluster::{Cluster, capacity, cores, draft, spec};

fn to_priority(level: i64) -> TaskChange {
    TaskChange {
        priority: Setting::To(Priority::new(level).unwrap()),
        ..TaskChange::default()
    }
}

fn held() -> TaskDraft {
    TaskDraft {
        hold: true,
        ..draft()
    }
}

/// A worker with one core that is taken, and the attempt that has it.
fn busy() -> (Cluster, cloudai_model::AttemptId) {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    cluster.submit(&cores(1.0));
    let attempt = cluster.assigned().attempt;
    (cluster, attempt)
}

fn order(cluster: &mut Cluster) -> Vec<TaskId> {
    let waiting = cluster.waiting(Which::First(99)).into_iter();
    waiting.map(|entry| entry.task).collect()
}

fn sla_success(cluster: &Cluster, task: &TaskId) -> Option<bool> {
    let result = cluster.written.iter().find_map(|record| match record {
        Record::Result(result) if result.attempt.task == *task => Some(result),
        _ => None,
    });
    result.unwrap().sla_success
}

#[test]
fn a_higher_priority_moves_a_task_forward_and_it_keeps_its_age_there() {
    let (mut cluster, attempt) = busy();
    let [a, b, c] = [(); 3].map(|()| cluster.submit(&cores(1.0)).task);

    assert_eq!(cluster.change(&c, to_priority(80)), Ok(ChangeOutcome::Kept));
    assert_eq!(order(&mut cluster), [&c, &a, &b].map(Clone::clone));
    cluster.change(&b, to_priority(80)).unwrap();
    assert_eq!(order(&mut cluster), [&b, &c, &a].map(Clone::clone));
    cluster.change(&b, to_priority(10)).unwrap();
    assert_eq!(order(&mut cluster), [&c, &a, &b].map(Clone::clone));

    let mut cluster = cluster.restarted();
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.heartbeat("a", &[(&attempt, Phase::Running)]);
    assert_eq!(order(&mut cluster), [&c, &a, &b].map(Clone::clone));
    cluster.finish("a", &attempt, Exit::Exited(0));
    assert_eq!(cluster.assigned().attempt.task, c);
}

#[test]
fn what_only_the_queue_asks_for_can_not_be_changed_once_a_worker_has_the_task() {
    let (mut cluster, attempt) = busy();
    let task = attempt.task.clone();

    let refused = cluster.change(&task, to_priority(80)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("task {task} is with worker a: its priority counts only while it waits")
    );
    let refused = cluster.hold(&task, true).unwrap_err();
    assert!(matches!(refused, ChangeError::WaitsNoMore { .. }));
    assert_eq!(
        refused.to_string(),
        format!("task {task} is with worker a: it can be put on hold only while it waits")
    );
    // Nothing of a change is made if a part of it can't be.
    let mixed = TaskChange {
        name: Setting::To("new".into()),
        ..to_priority(80)
    };
    assert!(cluster.change(&task, mixed).is_err());
    let changed = |record: &Record| matches!(record, Record::SpecChanged(..));
    assert!(!cluster.written.iter().any(changed));

    // What it is already is no change.
    assert_eq!(
        cluster.change(&task, to_priority(50)),
        Ok(ChangeOutcome::Kept)
    );
    assert_eq!(cluster.hold(&task, false), Ok(ChangeOutcome::Kept));
}

#[test]
fn name_deadline_and_labels_can_be_changed_until_the_end() {
    let (mut cluster, attempt) = busy();
    let task = attempt.task.clone();
    cluster.progress("a", &attempt, Phase::Running);
    let change = TaskChange {
        name: Setting::To("nightly".into()),
        labels: Setting::To([("team".to_owned(), "a".to_owned())].into()),
        deadline: Setting::To(cluster.now.wall),
        ..TaskChange::default()
    };

    assert_eq!(
        cluster.change(&task, change.clone()),
        Ok(ChangeOutcome::Kept)
    );

    let written = cluster.written.last().unwrap();
    assert_eq!(*written, Record::SpecChanged(task.clone(), change.clone()));
    cluster.pass_time(1000, &["a"]);
    cluster.finish("a", &attempt, Exit::Exited(0));
    assert_eq!(sla_success(&cluster, &task), Some(false));
    assert_eq!(
        cluster.change(&task, change),
        Err(ChangeError::NotLive(task))
    );
}

#[test]
fn a_deadline_that_is_taken_away_leaves_the_one_of_the_estimate() {
    for (deadline, on_time) in [(Setting::Clear, true), (Setting::Keep, false)] {
        let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
        let task = cluster.submit(&spec(TaskDraft {
            estimate_s: Some(60.0),
            deadline: Some(cluster.now.wall),
            ..draft()
        }));
        let attempt = cluster.assigned().attempt;
        let change = TaskChange {
            deadline,
            ..TaskChange::default()
        };
        cluster.change(&task.task, change).unwrap();
        let mut cluster = cluster.restarted();
        cluster.hello("a", capacity(1, 0)).unwrap();
        cluster.heartbeat("a", &[(&attempt, Phase::Running)]);
        cluster.pass_time(119_000, &["a"]);
        cluster.finish("a", &attempt, Exit::Exited(0));
        assert_eq!(sla_success(&cluster, &task.task), Some(on_time));
    }
}

#[test]
fn a_task_on_hold_is_not_placed_and_goes_where_it_would_be_when_released() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&spec(held()));
    assert_eq!((task.status, task.position), (TaskStatus::Queued, 1));
    assert_eq!(task.waiting.unwrap().summary, "on hold");
    assert_eq!(cluster.state(&task.task).reason, "on hold");
    cluster.pass_time(2000, &["a"]);
    assert!(cluster.take_assignments().is_empty());
    assert_eq!(
        cluster.place(&task.task, "a"),
        Err(PlaceError::OnHold(task.task.clone()))
    );

    let younger = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    let last = cluster.submit(&cores(1.0)).task;
    assert_eq!(attempt.task, younger);
    assert_eq!(order(&mut cluster), [&last, &task.task].map(Clone::clone));

    assert_eq!(cluster.hold(&task.task, false), Ok(ChangeOutcome::Kept));

    // It has kept its age.
    assert_eq!(order(&mut cluster), [&task.task, &last].map(Clone::clone));
    assert_eq!(cluster.state(&task.task).reason, "a: CPU short by 1 core");
    cluster.finish("a", &attempt, Exit::Exited(0));
    assert_eq!(cluster.assigned().attempt.task, task.task);
}

#[test]
fn a_release_starts_a_task_at_once_if_there_is_room() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&spec(held())).task;
    cluster.hold(&task, false).unwrap();
    assert_eq!(cluster.assigned().attempt.task, task);
    assert_eq!(cluster.state(&task).status, TaskStatus::Pending);
    // Its change goes before its assignment: a spec that is read holds no hold any more.
    let changed = |record: &Record| matches!(record, Record::SpecChanged(..));
    let assigned = |record: &Record| matches!(record, Record::Assignment(_));
    let place = |which: fn(&Record) -> bool| cluster.written.iter().position(which);
    assert!(place(changed).unwrap() < place(assigned).unwrap());
}

#[test]
fn a_hold_survives_a_restart_and_so_does_a_release() {
    let (mut cluster, attempt) = busy();
    let [held, released] = [(); 2].map(|()| cluster.submit(&cores(1.0)).task);
    for task in [&held, &released] {
        cluster.hold(task, true).unwrap();
    }
    cluster.hold(&released, false).unwrap();

    let mut cluster = cluster.restarted();
    assert_eq!(cluster.core.waiting_count(), 2);
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.heartbeat("a", &[(&attempt, Phase::Running)]);
    assert_eq!(order(&mut cluster), [&released, &held].map(Clone::clone));
    cluster.finish("a", &attempt, Exit::Exited(0));
    let next = cluster.assigned().attempt;
    assert_eq!(next.task, released);
    cluster.finish("a", &next, Exit::Exited(0));
    cluster.pass_time(2000, &["a"]);
    assert!(cluster.take_assignments().is_empty());
    assert_eq!(cluster.why(&held), "on hold");
}

#[test]
fn a_task_on_hold_can_be_cancelled_and_changed() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let [first, second] = [(); 2].map(|()| cluster.submit(&spec(held())).task);
    cluster.change(&second, to_priority(90)).unwrap();
    assert_eq!(order(&mut cluster), [&second, &first].map(Clone::clone));

    cluster.cancel(&second).unwrap();

    assert_eq!(cluster.state(&second).status, TaskStatus::Cancelled);
    assert_eq!(order(&mut cluster), [first]);
    assert_eq!(cluster.core.waiting_count(), 1);
}

#[test]
fn the_queue_time_out_goes_on_while_a_task_is_on_hold() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&spec(TaskDraft {
        queue_timeout_s: Some(60.0),
        ..held()
    }));
    cluster.pass_time(61_000, &["a"]);
    let state = cluster.state(&task.task);
    assert_eq!(state.status, TaskStatus::Failed);
    assert!(state.reason.ends_with(": on hold"), "{}", state.reason);
    assert_eq!(cluster.core.waiting_count(), 0);
}

#[test]
fn a_hold_in_the_pause_after_a_failure_lasts_beyond_it() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let failing = TaskDraft {
        max_retries: Some(5),
        ..draft()
    };
    let task = cluster.submit(&spec(failing)).task;
    let attempt = cluster.assigned().attempt;
    cluster.finish("a", &attempt, Exit::Exited(1));

    cluster.hold(&task, true).unwrap();
    let cause = |cluster: &mut Cluster| cluster.waiting(Which::One(task.clone())).pop().unwrap();
    assert_eq!(cause(&mut cluster).cause, WaitCause::OnHold);
    for mut cluster in [cluster.restarted(), cluster] {
        cluster.hello("a", capacity(1, 0)).unwrap();
        cluster.pass_time(10_000, &["a"]);
        assert!(cluster.take_assignments().is_empty());
        assert_eq!(cause(&mut cluster).cause, WaitCause::OnHold);
        cluster.hold(&task, false).unwrap();
        assert_eq!(cluster.assigned().attempt.task, task);
    }
}

#[test]
fn a_release_in_the_pause_after_a_failure_lets_the_pause_go_on() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let failing = TaskDraft {
        max_retries: Some(5),
        ..draft()
    };
    let task = cluster.submit(&spec(failing)).task;
    let attempt = cluster.assigned().attempt;
    cluster.finish("a", &attempt, Exit::Exited(1));
    cluster.hold(&task, true).unwrap();
    cluster.hold(&task, false).unwrap();
    assert!(cluster.take_assignments().is_empty());
    assert_eq!(cluster.why(&task), "back-off");
    cluster.pass_time(2000, &["a"]);
    assert_eq!(cluster.assigned().attempt.task, task);
}

#[test]
fn a_task_that_is_being_stopped_takes_no_change() {
    let (mut cluster, attempt) = busy();
    cluster.progress("a", &attempt, Phase::Running);
    cluster.cancel(&attempt.task).unwrap();
    let change = TaskChange {
        name: Setting::To("late".into()),
        ..TaskChange::default()
    };
    let refused = cluster.change(&attempt.task, change).unwrap_err();
    assert!(
        matches!(refused, ChangeError::BeingStopped(..)),
        "{refused}"
    );
    // What it has already is no change.
    for same in [
        TaskChange::default(),
        TaskChange {
            priority: Setting::Clear,
            hold: Setting::To(false),
            ..TaskChange::default()
        },
    ] {
        assert!(cluster.change(&attempt.task, same).is_ok());
    }
}
