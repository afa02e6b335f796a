//! Workers that know the contract's first fields alone: no attempt numbers, no assignment
//! numbers, two words for an end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use std::collections::BTreeMap;

use cloudai_core::{
    Answer, AssignAnswer, Effect, Heartbeat, Held, Hello, Input, Reported, WaitCause, Which,
};
use cloudai_model::{
    AttemptId, Exit, HostUsage, Phase, TaskDraft, TaskId, TaskStatus, WorkerId,
    record::{FilesRecord, Record},
};
use cluster::{Cluster, capacity, cores, draft, id, spec};

/// An id as an old node tells it.
fn told(text: &str) -> AttemptId {
    AttemptId::new(text.parse().unwrap(), 0)
}

/// A cluster with one old worker of two cores.
fn with_old_worker() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add_worker("old");
    let hello = Hello {
        worker: id("old"),
        shown_ip: "localhost".into(),
        capacity: capacity(2, 0),
        version: None,
        labels: BTreeMap::new(),
        home: None,
    };
    let answer = cluster.call(|call| Input::Hello { call, hello });
    assert!(matches!(answer, Answer::Welcomed(Ok(_))), "{answer:?}");
    cluster
}

fn old_heartbeat(cluster: &mut Cluster, running: &[&str]) {
    let held = running.iter().map(|text| Held {
        attempt: told(text),
        phase: Phase::Running,
    });
    let heartbeat = Heartbeat {
        worker: id("old"),
        incarnation: None,
        usage: HostUsage::default(),
        held: held.collect(),
        last_sequence: None,
        unwell: None,
        home: None,
    };
    cluster.call(|call| Input::Heartbeat { call, heartbeat });
}

fn which(cluster: &mut Cluster, worker: Option<&str>, text: &str) -> Option<(WorkerId, AttemptId)> {
    let (worker, told) = (worker.map(id), told(text));
    match cluster.call(|call| Input::WhichAttempt { call, worker, told }) {
        Answer::Attempt(Ok(meant)) => meant,
        other => panic!("{other:?}"),
    }
}

/// A task with this id on the old worker, accepted.
fn given(cluster: &mut Cluster, task: &str) -> AttemptId {
    let task: TaskId = task.parse().unwrap();
    cluster.try_submit(Some(task), &cores(0.5)).unwrap();
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    attempt
}

/// The old worker forgets what it had, and gets the next attempt.
fn forgotten(cluster: &mut Cluster) -> AttemptId {
    old_heartbeat(cluster, &[]);
    assert!(cluster.take_assignments().is_empty(), "one may be a race");
    old_heartbeat(cluster, &[]);
    let next = cluster.assigned().attempt;
    cluster.accepted(&next);
    next
}

#[test]
fn two_heartbeats_without_it_make_a_task_missing_and_the_next_attempt_has_a_name_of_its_own() {
    let mut cluster = with_old_worker();
    let first = given(&mut cluster, "job");
    old_heartbeat(&mut cluster, &["job"]);
    assert_eq!(cluster.state(&first.task).status, TaskStatus::Running);

    let second = forgotten(&mut cluster);
    assert_eq!(second.number, 2);
    assert_eq!(cluster.state(&first.task).failures, 0);

    // By the first's id it still means the first; the second is told apart.
    old_heartbeat(&mut cluster, &["job", "job-2"]);
    let stops: Vec<_> = cluster
        .take_stops()
        .into_iter()
        .map(|stop| stop.attempt)
        .collect();
    assert_eq!(stops, [told("job")], "stopped by the id it was told by");
    assert_eq!(which(&mut cluster, Some("old"), "job"), None);
    let meant = which(&mut cluster, Some("old"), "job-2");
    assert_eq!(meant, Some((id("old"), second.clone())));
    assert_eq!(
        cluster.finish("old", &second, Exit::Exited(0)),
        Reported::Live
    );
    assert_eq!(cluster.state(&first.task).status, TaskStatus::Completed);
}

#[test]
fn an_id_that_could_be_read_two_ways_means_what_was_sent_there() {
    let mut cluster = with_old_worker();
    let plain = given(&mut cluster, "job-2");
    let meant = which(&mut cluster, Some("old"), "job-2");
    assert_eq!(meant, Some((id("old"), plain.clone())));
    assert_eq!(plain.number, 1);
    old_heartbeat(&mut cluster, &["job-2"]);
    assert!(cluster.take_stops().is_empty());
    assert_eq!(which(&mut cluster, Some("old"), "job"), None);
    assert_eq!(which(&mut cluster, Some("stranger"), "job-2"), None);
}

#[test]
fn who_does_not_say_who_it_is_is_known_by_what_it_was_given() {
    let mut cluster = with_old_worker();
    let attempt = given(&mut cluster, "job");
    let meant = Some((id("old"), attempt.clone()));
    assert_eq!(which(&mut cluster, None, "job"), meant);
    cluster.finish("old", &attempt, Exit::Exited(0));
    assert_eq!(which(&mut cluster, None, "job"), meant, "for a while");

    // What a new worker was given is not open to those who don't say who they are.
    cluster.remove_worker("old");
    assert_eq!(which(&mut cluster, None, "job"), None);
    cluster.add_worker("new");
    cluster.hello("new", capacity(2, 0)).unwrap();
    let on_new = given(&mut cluster, "other");
    assert_eq!(which(&mut cluster, None, "other"), None);
    cluster.finish("new", &on_new, Exit::Exited(0));
    assert_eq!(which(&mut cluster, None, "other"), None);
}

#[test]
fn a_word_on_an_attempt_shows_that_the_worker_has_it() {
    let mut cluster = with_old_worker();
    let attempt = given(&mut cluster, "job");
    for _ in 0..5 {
        // It has ended there, and its files are on their way.
        old_heartbeat(&mut cluster, &[]);
        which(&mut cluster, Some("old"), "job");
    }
    assert!(cluster.take_assignments().is_empty());
    assert_eq!(
        cluster.finish("old", &attempt, Exit::Exited(0)),
        Reported::Live
    );
}

#[test]
fn an_assignment_that_got_no_answer_is_not_sent_twice() {
    let mut cluster = with_old_worker();
    cluster.submit(&cores(1.0));
    let sent = cluster.assigned();
    cluster.step(Input::AssignAnswered {
        attempt: sent.attempt.clone(),
        answer: AssignAnswer::Undelivered("the line broke".into()),
    });
    old_heartbeat(&mut cluster, &[]);
    assert!(
        cluster.take_assignments().is_empty(),
        "it might run it twice"
    );
    let text = sent.attempt.task.to_string();
    old_heartbeat(&mut cluster, &[&text]);
    assert_eq!(
        cluster.state(&sent.attempt.task).status,
        TaskStatus::Running
    );
}

#[test]
fn failure_of_what_was_cancelled_is_its_cancel() {
    let mut cluster = with_old_worker();
    let failure = || Exit::Stopped("the worker reported failure".into());
    let cancelled = given(&mut cluster, "one");
    cluster.cancel(&cancelled.task).unwrap();
    cluster.finish("old", &cancelled, failure());
    assert_eq!(cluster.state(&cancelled.task).status, TaskStatus::Cancelled);

    let failed = given(&mut cluster, "two");
    cluster.finish("old", &failed, failure());
    assert_eq!(cluster.state(&failed.task).status, TaskStatus::Failed);
}

#[test]
fn files_that_come_after_the_result_are_kept() {
    let mut cluster = with_old_worker();
    let attempt = given(&mut cluster, "job");
    cluster.finish("old", &attempt, Exit::Exited(0));
    let files = FilesRecord {
        attempt: attempt.clone(),
        user: "admin".parse().unwrap(),
        task_name: String::new(),
        files: Vec::new(),
        storage_path: "admin/job".into(),
        uploaded_at: cluster.now.wall,
    };
    let answer = cluster.call(|call| Input::FilesStored {
        call,
        worker: id("old"),
        files: Box::new(files),
    });
    assert_eq!(answer, Answer::Reported(Ok(Reported::Ended)));
    let kept = |effect: &Effect| matches!(effect, Effect::Write(Record::Files(_)));
    assert!(cluster.effects.iter().any(kept));
}

#[test]
fn what_an_old_node_cannot_be_told_waits_for_a_new_one() {
    let mut cluster = with_old_worker();
    let with_env = spec(TaskDraft {
        env: [("A".to_owned(), "b".to_owned())].into(),
        ..draft()
    });
    let task = cluster.submit(&with_env).task;
    assert!(cluster.take_assignments().is_empty());
    let waiting = cluster.waiting(Which::One(task));
    let WaitCause::Room(why) = &waiting[0].cause else {
        panic!("{waiting:?}");
    };
    assert!(
        why.summary
            .contains("an old node, which knows no environment variables"),
        "{}",
        why.summary
    );
    cluster.add_worker("new");
    cluster.hello("new", capacity(2, 0)).unwrap();
    assert_eq!(cluster.assigned().worker, id("new"));
}
