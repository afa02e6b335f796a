//! A registered worker that lies about what others were given, or about what it holds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use cloudai_core::{Answer, Effect, Input, Reported};
use cloudai_model::{
    AttemptId, Exit, Phase, TaskStatus,
    record::{FilesRecord, Record},
};
use cluster::{Cluster, capacity, cores, id};

/// A cluster of an honest worker with room and a liar without any.
fn with_liar() -> Cluster {
    Cluster::with(&[("honest", capacity(2, 0)), ("liar", capacity(0, 0))])
}

fn files_stored(cluster: &mut Cluster, worker: &str, attempt: &AttemptId) -> Reported {
    let files = FilesRecord {
        attempt: attempt.clone(),
        user: "admin".parse().unwrap(),
        task_name: String::new(),
        files: Vec::new(),
        storage_path: format!("admin/{}", attempt.task),
        uploaded_at: cluster.now.wall,
    };
    reported(cluster.call(|call| Input::FilesStored {
        call,
        worker: id(worker),
        files: Box::new(files),
    }))
}

fn vet(cluster: &mut Cluster, worker: &str, attempt: &AttemptId) -> Reported {
    let (worker, attempt) = (id(worker), attempt.clone());
    reported(cluster.call(|call| Input::Vet {
        call,
        worker,
        attempt,
    }))
}

fn reported(answer: Answer) -> Reported {
    match answer {
        Answer::Reported(Ok(reported)) => reported,
        other => panic!("{other:?}"),
    }
}

/// Whatever the liar says of an attempt is superseded, and nothing is written or done.
fn has_no_say(cluster: &mut Cluster, attempt: &AttemptId) {
    cluster.effects.clear();
    let phases = [Phase::Running, Phase::Uploading, Phase::Done];
    for phase in phases {
        let answer = cluster.progress("liar", attempt, phase);
        assert_eq!(answer, Reported::Superseded, "{attempt} {phase}");
    }
    let answers = [
        vet(cluster, "liar", attempt),
        files_stored(cluster, "liar", attempt),
        cluster.finish("liar", attempt, Exit::Exited(0)),
    ];
    assert_eq!(answers, [Reported::Superseded; 3], "{attempt}");
    assert_eq!(cluster.effects, [], "{attempt}");
}

#[test]
fn a_worker_has_no_say_in_anothers_attempt_before_or_after_its_end() {
    let mut cluster = with_liar();
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    has_no_say(&mut cluster, &attempt);

    cluster.finish("honest", &attempt, Exit::Exited(3));
    has_no_say(&mut cluster, &attempt);
    assert_eq!(cluster.state(&task).status, TaskStatus::Failed);

    // The one that ran it is told that it is known; that changes nothing, either.
    assert_eq!(vet(&mut cluster, "honest", &attempt), Reported::Ended);
    let late = files_stored(&mut cluster, "honest", &attempt);
    assert_eq!(late, Reported::Ended);
    let again = cluster.finish("honest", &attempt, Exit::Exited(0));
    assert_eq!(again, Reported::Ended);
    let is_written = |effect: &Effect| matches!(effect, Effect::Write(Record::Files(_)));
    assert!(!cluster.effects.iter().any(is_written));
    assert_eq!(cluster.state(&task).status, TaskStatus::Failed);
}

#[test]
fn nobody_has_a_say_in_a_task_that_ended_before_any_attempt() {
    let mut cluster = Cluster::with(&[("liar", capacity(0, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    cluster.cancel(&task).unwrap();
    has_no_say(&mut cluster, &AttemptId::new(task, 0));
}

#[test]
fn what_a_worker_says_to_hold_of_anothers_ended_task_it_is_asked_to_stop() {
    let mut cluster = with_liar();
    cluster.submit(&cores(1.0));
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    cluster.finish("honest", &attempt, Exit::Exited(0));
    // Given heartbeats that left before the report was answered, one of them a lie
    for (worker, asked) in [("honest", 0), ("liar", 1)] {
        cluster.heartbeat(worker, &[(&attempt, Phase::Done)]);
        assert_eq!(cluster.take_stops().len(), asked, "{worker}");
    }
}

#[test]
fn a_worker_that_says_to_hold_a_million_is_stopped_a_few_at_a_time() {
    let mut cluster = with_liar();
    cluster.submit(&cores(1.0));
    let wanted = cluster.assigned().attempt;
    cluster.accepted(&wanted);
    let made_up: Vec<_> = (0..1000)
        .map(|number| AttemptId::new(format!("made-up-{number:04}").parse().unwrap(), 1))
        .collect();
    let mut held: Vec<_> = made_up
        .iter()
        .map(|attempt| (attempt, Phase::Running))
        .collect();
    held.push((&wanted, Phase::Running));
    cluster.heartbeat("honest", &held);
    let first = cluster.take_stops();
    assert!(first.len() <= 64, "{}", first.len());

    // Those that it stopped make room for the next, and what is wanted is never among them.
    let mut stopped = 0;
    while held.len() > 1 {
        cluster.heartbeat("honest", &held);
        let stops = cluster.take_stops();
        assert!(!stops.is_empty(), "{} left", held.len());
        stopped += stops.len();
        held.retain(|(attempt, _)| !stops.iter().any(|stop| stop.attempt == **attempt));
    }
    assert_eq!((stopped, held[0].0), (1000, &wanted));
}
