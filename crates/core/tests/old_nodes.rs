//! Workers that know the contract's first fields alone: no attempt numbers, no assignment
//! numbers, two words for an end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use cloudai_core::{
    Answer, AssignAnswer, Effect, Heartbeat, Held, Input, Reported, WaitCause, Which,
    WorkerCallError,
};
use cloudai_model::{
    AttemptId, Exit, HostUsage, Phase, TaskDraft, TaskId, TaskStatus, WorkerId,
    record::{FilesRecord, Record},
};
use cluster::{Cluster, capacity, cores, draft, id, old_node, spec};

/// An id as an old node tells it.
fn told(text: &str) -> AttemptId {
    AttemptId::new(text.parse().unwrap(), 0)
}

/// A cluster with one old worker of two cores.
fn with_old_worker() -> Cluster {
    let mut cluster = Cluster::new();
    add_old_worker(&mut cluster, "old");
    cluster
}

fn add_old_worker(cluster: &mut Cluster, worker: &str) {
    cluster.add_worker(worker);
    let hello = old_node(worker, capacity(2, 0));
    cluster.introduced(hello).unwrap();
}

fn old_heartbeat(cluster: &mut Cluster, running: &[&str]) {
    heartbeat_of(cluster, "old", running);
}

fn heartbeat_of(cluster: &mut Cluster, worker: &str, running: &[&str]) {
    let held = running.iter().map(|text| Held {
        attempt: told(text),
        phase: Phase::Running,
    });
    let heartbeat = Heartbeat {
        worker: id(worker),
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
fn two_attempts_have_never_one_name_wherever_they_are() {
    // Given a second attempt that an old worker knows as job-2,
    let mut cluster = with_old_worker();
    given(&mut cluster, "job");
    let second = forgotten(&mut cluster);
    assert_eq!(second.number, 2);

    // when another user's task has that for its id, on whatever worker,
    add_old_worker(&mut cluster, "older");
    let plain = given(&mut cluster, "job-2");

    // then it has another name, and files by the first go to their own task.
    assert_eq!(plain.number, 2, "it goes as job-2-2");
    let (_, meant) = which(&mut cluster, None, "job-2").unwrap();
    assert_eq!(meant, second);
    let (_, meant) = which(&mut cluster, None, "job-2-2").unwrap();
    assert_eq!(meant, plain);

    // And the other way round; and also when the first has ended, for a while.
    let plain = given(&mut cluster, "a-2");
    assert_eq!(plain.number, 1);
    cluster.cancel(&plain.task).unwrap();
    let (worker, _) = which(&mut cluster, None, "a-2").unwrap();
    cluster.finish(worker.as_str(), &plain, Exit::Cancelled);
    given(&mut cluster, "a");
    for _ in 0..2 {
        old_heartbeat(&mut cluster, &["job-2"]);
        heartbeat_of(&mut cluster, "older", &[]);
    }
    let sent = cluster.take_assignments().into_iter();
    let next = sent
        .map(|sent| sent.attempt)
        .find(|sent| sent.task.to_string() == "a");
    let next = next.unwrap();
    assert_eq!(next.number, 3, "a-2 is not told again");
}

#[test]
fn a_lost_worker_that_comes_back_stops_what_it_held_and_takes_nothing_for_it() {
    // Given an old worker that was lost with a task,
    let mut cluster = with_old_worker();
    let first = given(&mut cluster, "a-2");
    old_heartbeat(&mut cluster, &["a-2"]);
    cluster.pass_time(31_000, &[]);
    assert_eq!(cluster.state(&first.task).status, TaskStatus::Queued);

    // when it comes back and still holds that,
    cluster.introduced(old_node("old", capacity(2, 0))).unwrap();
    let second = cluster.assigned().attempt;
    cluster.accepted(&second);
    let other = given(&mut cluster, "a");
    cluster.take_stops();
    old_heartbeat(&mut cluster, &["a-2", "a-2-2"]);

    // then it is to stop the old run, and keep the new one,
    let stops = cluster.take_stops().into_iter();
    let stops: Vec<_> = stops.map(|stop| stop.attempt).collect();
    assert_eq!(stops, std::slice::from_ref(&first));
    assert_eq!(cluster.state(&second.task).status, TaskStatus::Running);

    // a second attempt of another task doesn't pass for the old run,
    old_heartbeat(&mut cluster, &["a-2", "a-2-2"]);
    let next = cluster.assigned().attempt;
    assert_eq!((next.task, next.number), (other.task, 3));

    // and the old run's result counts for nothing.
    let meant = which(&mut cluster, Some("old"), "a-2");
    assert_eq!(meant, Some((id("old"), first.clone())));
    assert_eq!(
        cluster.finish("old", &first, Exit::Exited(0)),
        Reported::Superseded
    );
    assert_eq!(cluster.state(&second.task).status, TaskStatus::Running);
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

/// A heartbeat of a new node that works from there and holds nothing; whether it was let in.
fn new_heartbeat(cluster: &mut Cluster, home: &str) -> Result<(), WorkerCallError> {
    let heartbeat = Heartbeat {
        worker: id("old"),
        incarnation: Some("first".into()),
        usage: HostUsage::default(),
        held: Vec::new(),
        last_sequence: Some(0),
        unwell: None,
        home: Some(home.to_owned()),
    };
    match cluster.call(|call| Input::Heartbeat { call, heartbeat }) {
        Answer::HeartbeatTaken(taken) => taken.map(|_| ()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_node_takes_an_old_ones_place_when_that_is_silent() {
    // Given an old node with a task,
    let mut cluster = with_old_worker();
    let first = given(&mut cluster, "job");
    old_heartbeat(&mut cluster, &["job"]);

    // when a new one comes under its id, it is kept out while the old one is heard of;
    let duplicate = Err(WorkerCallError::Duplicate(id("old")));
    let comes = |cluster: &mut Cluster| cluster.hello_from("old", capacity(2, 0), Some("/new"));
    assert_eq!(comes(&mut cluster), duplicate);
    assert_eq!(new_heartbeat(&mut cluster, "/new"), duplicate);
    assert_eq!(cluster.state(&first.task).status, TaskStatus::Running);

    // when the old one was stopped, it is the worker, is asked in new words,
    cluster.pass_time(16_000, &[]);
    comes(&mut cluster).unwrap();
    let version = |cluster: &Cluster| {
        let worker = cluster.core.registry().get(&id("old"));
        worker.and_then(|worker| worker.version.clone())
    };
    assert_eq!(version(&cluster).as_deref(), Some("1"));

    // and what the old one ran runs anew there, at no cost to the task.
    new_heartbeat(&mut cluster, "/new").unwrap();
    let second = cluster.assigned().attempt;
    assert_eq!(second.number, 2);
    cluster.accepted(&second);
    let taken = cluster.finish("old", &second, Exit::Exited(0));
    assert_eq!(taken, Reported::Taken);
    assert_eq!(cluster.state(&first.task).failures, 0);
}

#[test]
fn an_old_node_does_not_take_the_place_of_a_new_one_that_is_heard_of() {
    // Given a new node with a task,
    let mut cluster = Cluster::new();
    cluster.add_worker("old");
    cluster
        .hello_from("old", capacity(2, 0), Some("/new"))
        .unwrap();
    let attempt = given(&mut cluster, "job");

    // when an old one is started under its id,
    let hello = cluster.introduced(old_node("old", capacity(9, 0)));
    assert_eq!(hello, Err(WorkerCallError::Duplicate(id("old"))));
    for _ in 0..3 {
        old_heartbeat(&mut cluster, &[]);
    }

    // then the worker is what it was, and its task isn't missing.
    let worker = cluster.core.registry().get(&id("old")).unwrap();
    assert_eq!(worker.capacity, Some(capacity(2, 0)));
    assert!(worker.attempts.contains(&attempt));
    assert!(cluster.take_assignments().is_empty());

    // When it is silent, the old one is taken for it.
    cluster.pass_time(16_000, &[]);
    cluster.introduced(old_node("old", capacity(9, 0))).unwrap();
}
