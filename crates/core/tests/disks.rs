//! What the master's disks bring about: new work waits while they are full, and what retention
//! removes is never a live task's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use std::sync::Arc;

use cloudai_core::{
    Answer, Input, PlaceError, Reported, Retired, SubmitError, WaitCause, Which, explain::Outlook,
};
use cloudai_model::{
    Exit, Phase, TaskId, TaskStatus, Wall,
    record::{Record, Removal, Removed, RemovedRecord},
};
use cluster::{Cluster, capacity, cores, id};

const WHY: &str = "the master's disk is nearly full";

fn hold_up(cluster: &mut Cluster) {
    cluster.step(Input::HoldUp(Some(Arc::from(WHY))));
}

fn retire(cluster: &mut Cluster, tasks: Vec<Retired>) -> Vec<TaskId> {
    match cluster.call(|call| Input::Retire { call, tasks }) {
        Answer::Retired(Ok(live)) => live,
        other => panic!("{other:?}"),
    }
}

fn without_log(task: &TaskId) -> Retired {
    let log = Some(Removal {
        at: Wall(1),
        by: "retention".into(),
    });
    Retired {
        task: task.clone(),
        records: vec![Record::Removed(RemovedRecord {
            task: task.clone(),
            removed: Removed { log, files: None },
        })],
    }
}

#[test]
fn while_it_is_held_up_nothing_new_is_taken_or_placed_and_what_runs_goes_on() {
    // Given one task that runs, one that waits for its room, and a worker that has some
    let mut cluster = Cluster::with(&[("a", capacity(2, 0))]);
    let runs = cluster.submit(&cores(1.0));
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    let waits = cluster.submit(&cores(2.0)).task;

    // when there is no room on the disk,
    hold_up(&mut cluster);

    // then a new one is refused with the reason, and no agent gets its way,
    let refused = cluster.try_submit(None, &cores(1.0));
    assert_eq!(refused, Err(SubmitError::HeldUp(WHY.into())));
    let placed = cluster.call(|call| Input::Place {
        call,
        task: waits.clone(),
        worker: id("a"),
    });
    assert_eq!(placed, Answer::Placed(Err(PlaceError::HeldUp(WHY.into()))));
    // what runs comes to its end, and what waits doesn't get its place,
    cluster.progress("a", &attempt, Phase::Running);
    cluster.finish("a", &attempt, Exit::Exited(0));
    assert_eq!(cluster.state(&runs.task).status, TaskStatus::Completed);
    cluster.pass_time(1_000, &["a"]);
    assert!(cluster.take_assignments().is_empty());
    let waiting = cluster.waiting(Which::One(waits.clone()));
    let [entry] = &waiting[..] else {
        panic!("{waiting:?}")
    };
    let WaitCause::Room(why) = &entry.cause else {
        panic!("{entry:?}")
    };
    assert_eq!((why.outlook, why.summary.as_str()), (Outlook::Later, WHY));
    let snapshot = cluster.core.snapshot(cluster.now);
    assert_eq!(snapshot.held_up.as_deref(), Some(WHY));

    // and when there is room again it is placed at once.
    cluster.step(Input::HoldUp(None));
    assert_eq!(cluster.assigned().attempt.task, waits);
    cluster.submit(&cores(1.0));
}

#[test]
fn a_start_on_a_full_disk_holds_up_from_the_first_moment_on() {
    let mut before = Cluster::with(&[("a", capacity(1, 0))]);
    before.submit(&cores(1.0));
    let second = before.submit(&cores(1.0)).task;
    let mut cluster = before.restarted();
    hold_up(&mut cluster);
    cluster.hello("a", capacity(4, 0)).unwrap();
    cluster.pass_time(1_000, &["a"]);
    assert!(cluster.take_assignments().is_empty());
    let why = cluster.waiting(Which::One(second));
    assert_eq!(why.len(), 1);
}

#[test]
fn nothing_of_a_live_task_is_removed_and_nothing_comes_back_to_one_that_was_cleared() {
    let mut cluster = Cluster::with(&[("a", capacity(2, 0))]);
    let ended = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    cluster.finish("a", &attempt, Exit::Exited(0));
    let runs = cluster.submit(&cores(1.0)).task;
    let waits = cluster.submit(&cores(4.0)).task;
    // A report that is repeated is known.
    let again = cluster.finish("a", &attempt, Exit::Exited(0));
    assert_eq!(again, Reported::Ended);

    let written = cluster.written.len();
    let wanted = [&ended, &runs, &waits].map(without_log).into();
    assert_eq!(retire(&mut cluster, wanted), [runs, waits]);
    let records = cluster.written.split_off(written);
    assert_eq!(records, without_log(&ended).records);

    let late = cluster.finish("a", &attempt, Exit::Exited(0));
    assert_eq!(late, Reported::Superseded);
}

#[test]
fn a_forgotten_id_may_be_used_again() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let mine: TaskId = "nightly-7".parse().unwrap();
    cluster.try_submit(Some(mine.clone()), &cores(1.0)).unwrap();
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    cluster.finish("a", &attempt, Exit::Exited(0));
    let forget = Retired {
        task: mine.clone(),
        records: vec![Record::TaskForgotten(mine.clone())],
    };
    assert!(retire(&mut cluster, vec![forget]).is_empty());
    let again = cluster.try_submit(Some(mine.clone()), &cores(1.0));
    assert_eq!(again.unwrap().task, mine);
}
