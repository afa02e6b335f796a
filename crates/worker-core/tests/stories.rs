//! What happens to an attempt, told as stories: what the master sends, what the worker does.

mod support;

use cloudai_model::{AttemptId, Exit, Phase};
use cloudai_worker_core::{
    Answer, AssignAnswer, Blame, CancelAnswer, Effect, Failure, Found, HostRun, Input, Outcome,
    PulledImage, Refusal, SpoolRecord,
};
use support::{Container, Worker, attempt, order};

fn last_refusal(worker: &Worker) -> String {
    let refusal = match worker.answers.last() {
        Some(Answer::Assign(AssignAnswer::Refused(refusal))) => Some(refusal.to_string()),
        _ => None,
    };
    refusal.expect("the last answer is a refusal")
}

fn is_pull(effect: &Effect) -> bool {
    matches!(effect, Effect::Pull { .. })
}

fn is_create(effect: &Effect) -> bool {
    matches!(effect, Effect::Create { .. })
}

fn is_report(effect: &Effect) -> bool {
    matches!(effect, Effect::Report { .. })
}

#[test]
fn an_assignment_is_run_and_reported_and_nothing_stays() {
    // Given a worker, when an attempt is assigned
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));

    // Then nobody is told before the record is on disk
    assert!(worker.answers.is_empty());
    assert_eq!(worker.phase(&id), Some(Phase::Assigned));
    worker.succeed(0);
    assert_eq!(worker.answers, [Answer::Assign(AssignAnswer::Accepted)]);

    // And it runs, ends, is uploaded and reported, in this order
    worker.settle();
    worker.container_ends(&id, 3);
    assert_eq!(worker.phase(&id), Some(Phase::Uploading));
    worker.finish();
    let phases: Vec<_> = worker.progress.iter().map(|(_, phase)| *phase).collect();
    assert_eq!(phases, [Phase::Creating, Phase::Running, Phase::Uploading]);
    assert_eq!(worker.acknowledged[&id], Exit::Exited(3));
}

#[test]
fn a_report_is_repeated_until_it_is_acknowledged() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.container_ends(&id, 0);
    worker.settle_until(is_report);
    for tries in 1..40 {
        worker.fail(0);
        assert!(
            matches!(worker.pending[..], [Effect::Report { tries: t, .. }] if t == tries),
            "{:?}",
            worker.pending
        );
        assert_eq!(
            worker.phase(&id),
            Some(Phase::Uploading),
            "it is still owed"
        );
    }
    worker.finish();
}

#[test]
fn what_a_disk_refuses_is_refused_and_never_runs() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.fail(0);
    assert_eq!(
        last_refusal(&worker),
        "this worker can't write the assignment down: disk full"
    );

    // Then nothing else is taken for a while, with the reason
    worker.assign(order(&attempt(8, 1), 2, 1));
    assert!(last_refusal(&worker).contains("its disk refuses to be written to: disk full"));
    worker.tick(31);
    worker.assign(order(&attempt(9, 1), 3, 1));
    worker.finish();
    assert_eq!(
        worker.acknowledged.keys().collect::<Vec<_>>(),
        [&attempt(9, 1)]
    );
}

#[test]
fn what_does_not_fit_is_refused_with_what_is_missing() {
    let mut worker = Worker::new();
    worker.assign(order(&attempt(1, 1), 1, 3));
    worker.assign(order(&attempt(2, 1), 2, 2));
    assert_eq!(
        last_refusal(&worker),
        "not enough free here: needs 2 cores, 1 free"
    );
    assert_eq!(
        worker.core.tell_sequence(),
        2,
        "it was taken in all the same"
    );

    // When the first has exited, its files still on their way, then its cores are free
    worker.settle();
    worker.container_ends(&attempt(1, 1), 0);
    worker.assign(order(&attempt(3, 1), 3, 4));
    worker.settle();
    assert_eq!(worker.phase(&attempt(3, 1)), Some(Phase::Running));
    worker.finish();
}

#[test]
fn without_an_engine_nothing_is_taken() {
    let mut worker = Worker::new();
    worker.step(Input::EngineUnwell("no Docker Engine".to_owned()));
    assert_eq!(worker.core.unwell().as_deref(), Some("no Docker Engine"));
    worker.assign(order(&attempt(1, 1), 1, 1));
    assert_eq!(
        last_refusal(&worker),
        "this worker takes nothing new: no Docker Engine"
    );
    worker.step(Input::EngineWell);
    worker.assign(order(&attempt(1, 2), 2, 1));
    worker.finish();
    assert!(worker.acknowledged.contains_key(&attempt(1, 2)));
}

#[test]
fn a_pull_is_tried_again_while_it_may_pass_and_then_reported() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle_until(is_pull);
    let mut tried = 0;
    while worker.pending.first().is_some_and(is_pull) {
        worker.fail(0);
        tried += 1;
    }
    assert_eq!(tried, 6);
    worker.finish();
    let reason = "the engine is away".to_owned();
    assert_eq!(worker.acknowledged[&id], Exit::NotStarted(reason));
    assert!(worker.starts.is_empty());
}

#[test]
fn the_same_assignment_is_answered_the_same_at_any_time() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    for _ in 0..3 {
        worker.assign(order(&id, 1, 3));
    }
    assert!(worker.answers.is_empty(), "all wait for the disk");
    worker.settle();
    worker.assign(order(&id, 1, 3));
    worker.container_ends(&id, 0);
    worker.settle_until(is_report);
    worker.assign(order(&id, 1, 3));
    worker.finish();
    worker.assign(order(&id, 1, 3));
    assert_eq!(
        worker.answers,
        vec![Answer::Assign(AssignAnswer::Accepted); 6]
    );
    assert_eq!(worker.starts[&id], 1);
    worker.finish();
}

#[test]
fn a_newer_attempt_takes_the_place_of_an_older_one() {
    let mut worker = Worker::new();
    worker.assign(order(&attempt(7, 1), 1, 1));
    worker.settle();
    worker.assign(order(&attempt(7, 2), 2, 1));
    assert_eq!(worker.phase(&attempt(7, 1)), Some(Phase::Cancelling));
    worker.assign(order(&attempt(7, 1), 1, 1));
    worker.settle();

    // And one older than what is held comes too late
    worker.assign(order(&attempt(8, 2), 3, 1));
    worker.assign(order(&attempt(8, 1), 2, 1));
    assert!(last_refusal(&worker).contains("older than attempt 2"));
    worker.finish();
    assert_eq!(worker.acknowledged[&attempt(7, 1)], Exit::Cancelled);
    assert_eq!(worker.acknowledged[&attempt(7, 2)], Exit::Exited(0));
}

#[test]
fn a_cancel_that_came_first_keeps_its_attempt_out() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.cancel(&id);
    assert!(worker.answers.is_empty(), "the answer waits for the disk");
    worker.settle();
    assert_eq!(worker.answers, [Answer::Cancel(CancelAnswer::NotHeld)]);

    // Also after a restart
    worker.restart();
    worker.assign(order(&id, 1, 1));
    assert_eq!(
        last_refusal(&worker),
        "attempt task-7-1 was cancelled before it arrived"
    );

    // But not for ever
    worker.tick(3601);
    worker.refused.clear();
    worker.cancelled.clear();
    worker.assign(order(&id, 1, 1));
    worker.settle();
    assert_eq!(worker.phase(&id), Some(Phase::Running));
}

#[test]
fn a_cancel_works_in_every_phase() {
    type Reached = fn(&Effect) -> bool;
    let before: [(Reached, Phase); 4] = [
        (|e| matches!(e, Effect::Save { .. }), Phase::Assigned),
        (is_pull, Phase::Pulling),
        (is_create, Phase::Creating),
        (|e| matches!(e, Effect::Start { .. }), Phase::Creating),
    ];
    for (reached, phase) in before {
        let mut worker = Worker::new();
        let id = attempt(7, 1);
        worker.assign(order(&id, 1, 1));
        worker.settle_until(reached);
        assert_eq!(worker.phase(&id), Some(phase));
        worker.cancel(&id);
        worker.cancel(&id);
        assert_eq!(worker.phase(&id), Some(Phase::Cancelling));
        worker.finish();
        let stopping = |answer: &&Answer| matches!(answer, Answer::Cancel(CancelAnswer::Stopping { attempt, .. }) if *attempt == id);
        assert_eq!(worker.answers.iter().filter(stopping).count(), 2);
        assert_eq!(worker.acknowledged[&id], Exit::Cancelled, "in {phase}");
    }
}

/// The engine has lost the image of the attempt whose container is to be made.
fn image_goes(worker: &mut Worker, id: &AttemptId) {
    worker.settle_until(is_create);
    worker.pending.remove(0);
    worker.outcome(id, Outcome::ImageGone);
}

#[test]
fn an_image_that_was_removed_before_it_was_used_is_pulled_again_as_at_first() {
    // Given an attempt whose image is gone when its container is to be made
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    image_goes(&mut worker, &id);

    // Then it is pulling again, for the master, too,
    assert_eq!(worker.phase(&id), Some(Phase::Pulling));
    assert_eq!(worker.progress.last(), Some(&(id.clone(), Phase::Pulling)));
    // and what that brings is what runs, though its name stands for another one by now.
    worker.settle_until(is_pull);
    worker.pending.remove(0);
    let newer = PulledImage {
        id: "sha256:2".to_owned(),
        digest: None,
    };
    worker.outcome(&id, Outcome::Pulled(newer.clone()));
    let next = worker.pending.first();
    assert!(
        matches!(next, Some(Effect::Create { image, tries: 0, .. }) if *image == newer),
        "{next:?}"
    );
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Exited(0));

    // A cancel ends that pull as any other.
    let id = attempt(8, 1);
    worker.assign(order(&id, 2, 1));
    image_goes(&mut worker, &id);
    worker.settle_until(is_pull);
    worker.cancel(&id);
    assert!(!worker.pending.iter().any(is_pull), "{:?}", worker.pending);
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Cancelled);
}

#[test]
fn an_image_that_is_removed_each_time_is_no_failure_of_the_task() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    for _ in 0..6 {
        image_goes(&mut worker, &id);
    }
    worker.finish();
    let exit = worker.acknowledged[&id].clone();
    let expected = "its image was removed 6 times before it could be used";
    assert_eq!(exit, Exit::Interrupted(expected.to_owned()));

    // One that is being stopped pulls nothing any more.
    let id = attempt(8, 1);
    worker.assign(order(&id, 2, 1));
    worker.settle_until(is_create);
    worker.cancel(&id);
    image_goes(&mut worker, &id);
    assert!(!worker.pending.iter().any(is_pull), "{:?}", worker.pending);
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Cancelled);
}

#[test]
fn a_cancel_of_a_running_container_stops_it() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.cancel(&id);
    assert!(
        matches!(&worker.pending[..], [Effect::Save { .. }]),
        "{:?}",
        worker.pending
    );
    // Once that is on disk, and not before: what stops it must be known after a crash.
    worker.succeed(0);
    assert!(
        matches!(&worker.pending[..], [Effect::Stop { grace, .. }] if grace.as_secs() == 10),
        "{:?}",
        worker.pending
    );
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Cancelled);
}

#[test]
fn a_stop_is_not_held_up_by_a_disk_that_refuses_its_reason() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.cancel(&id);
    worker.fail(0);
    let is_stop = |effect: &Effect| matches!(effect, Effect::Stop { .. });
    assert_eq!(worker.pending.iter().filter(|e| is_stop(e)).count(), 1);
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Cancelled);
}

#[test]
fn what_is_left_in_a_volume_is_not_given_up_while_the_engine_is_away() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.container_ends(&id, 0);
    let is_remove = |effect: &Effect| matches!(effect, Effect::Remove { .. });
    worker.settle_until(is_remove);
    worker.step(Input::EngineUnwell("no answer".to_owned()));
    for _ in 0..50 {
        worker.fail(0);
        assert!(matches!(&worker.pending[..], [Effect::Remove { .. }]));
    }
    worker.step(Input::EngineWell);
    // From now on it is.
    for _ in 0..10 {
        if is_remove(&worker.pending[0]) {
            worker.fail(0);
        }
    }
    assert!(!worker.pending.iter().any(is_remove));
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Exited(0));
}

#[test]
fn nor_before_anybody_has_noticed_that_it_is_away() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.container_ends(&id, 0);
    let is_remove = |effect: &Effect| matches!(effect, Effect::Remove { .. });
    worker.settle_until(is_remove);
    for _ in 0..50 {
        assert!(worker.pending.iter().all(is_remove));
        worker.pending.clear();
        worker.outcome(
            &id,
            Outcome::RemoveFailed(Failure {
                reason: "connection refused".to_owned(),
                blame: Blame::Machine,
            }),
        );
    }
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Exited(0));
}

#[test]
fn what_the_machine_can_not_do_is_no_failure_of_the_task() {
    for (blame, is_the_machines) in [
        (Blame::Task, false),
        (Blame::Passing, false),
        (Blame::Machine, true),
    ] {
        let mut worker = Worker::new();
        let id = attempt(7, 1);
        worker.assign(order(&id, 1, 1));
        worker.settle_until(|effect| matches!(effect, Effect::Create { .. }));
        while let Some(Effect::Create { .. }) = worker.pending.first() {
            worker.pending.remove(0);
            let reason = "the disk is full".to_owned();
            worker.outcome(&id, Outcome::CreateFailed(Failure { reason, blame }));
        }
        worker.finish();
        let exit = &worker.acknowledged[&id];
        let interrupted = matches!(exit, Exit::Interrupted(_));
        assert_eq!(interrupted, is_the_machines, "{blame:?}: {exit:?}");
    }
}

#[test]
fn a_container_that_ended_before_the_stop_keeps_its_own_result() {
    // Given a cancel under way while the container ends by itself
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.cancel(&id);
    worker.container_ends(&id, 0);
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Exited(0));

    // And one that comes when it has ended
    let id = attempt(8, 1);
    worker.assign(order(&id, 2, 1));
    worker.settle();
    worker.container_ends(&id, 5);
    worker.cancel(&id);
    assert_eq!(
        worker.answers.last(),
        Some(&Answer::Cancel(CancelAnswer::Ended(id.clone())))
    );
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Exited(5));
}

#[test]
fn what_could_not_be_run_is_said_to_have_ended_when_no_restart_can_run_it() {
    // Given an attempt whose pull has failed for good, and whose end is not on disk yet
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle_until(|effect| matches!(effect, Effect::Pull { .. }));
    let failure = Failure {
        reason: "no registry has it".to_owned(),
        blame: Blame::Task,
    };
    let failed = Outcome::PullFailed(failure);
    worker.pending.clear();
    worker.step(Input::Outcome(id.clone(), failed));

    // When it is cancelled, before and after its log is sealed
    let first = worker.cancel(&id);
    worker.settle_until(|effect| matches!(effect, Effect::Save { .. }));
    let second = worker.cancel(&id);

    // Then nobody is told that it has ended, for a restart would pull and run it
    assert!(!worker.is_answered(first) && !worker.is_answered(second));
    let save = worker.pending_of(&id).unwrap();
    worker.succeed(save);
    assert!(worker.is_answered(first) && worker.is_answered(second));
    worker.restart();
    worker.finish();
    assert!(!worker.starts.contains_key(&id));
}

#[test]
fn a_restart_takes_each_attempt_up_where_it_was() {
    let at_pull = attempt(1, 1);
    let created = attempt(2, 1);
    let running = attempt(3, 1);
    let ended = attempt(4, 1);

    // Given attempts in four phases
    let mut worker = Worker::new();
    for (id, sequence) in [(&at_pull, 1), (&created, 2), (&running, 3), (&ended, 4)] {
        worker.assign(order(id, sequence, 1));
    }
    let of = |id: &cloudai_model::AttemptId, worker: &mut Worker, stop: fn(&Effect) -> bool| {
        while let Some(index) = worker.pending_of(id)
            && !stop(&worker.pending[index])
        {
            worker.succeed(index);
        }
    };
    of(&at_pull, &mut worker, is_pull);
    of(&created, &mut worker, |e| matches!(e, Effect::Start { .. }));
    of(&running, &mut worker, |_| false);
    of(&ended, &mut worker, |_| false);
    worker.container_ends(&ended, 0);
    of(&ended, &mut worker, is_report);
    assert_eq!(worker.containers[&created], Container::Created);

    // When the worker is killed and started again
    worker.restart();

    // Then a heartbeat tells of all of them at once
    assert_eq!(worker.core.held().len(), 4);
    assert_eq!(worker.core.tell_sequence(), 4);
    assert_eq!(worker.phase(&running), Some(Phase::Running));
    worker.settle();
    for id in [&at_pull, &created, &running] {
        assert_eq!(worker.phase(id), Some(Phase::Running), "{id}");
        assert_eq!(worker.starts[id], 1, "{id}");
    }
    assert!(worker.acknowledged.contains_key(&ended));
    worker.finish();
}

#[test]
fn a_container_that_was_taken_away_is_not_run_a_second_time() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.containers.clear();
    worker.restart();
    worker.settle_until(is_report);
    let Effect::Report { report, .. } = worker.pending[0].clone() else {
        unreachable!("settled until there was one");
    };
    assert!(!report.report.log.is_complete(), "nobody knows its end");
    worker.finish();
    let Exit::Interrupted(reason) = &worker.acknowledged[&id] else {
        panic!("{:?}", worker.acknowledged);
    };
    assert!(
        reason.contains("removed while its worker was away"),
        "{reason}"
    );
    assert_eq!(worker.starts[&id], 1);
}

#[test]
fn what_the_master_does_not_want_is_dropped_whole() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.superseded.insert(id.clone());
    worker.finish();
    assert!(worker.acknowledged.is_empty());
}

#[test]
fn a_worker_that_shuts_down_takes_nothing_and_stops_only_if_told_to() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.step(Input::Shutdown { stop_tasks: false });
    worker.assign(order(&attempt(8, 1), 2, 1));
    assert_eq!(last_refusal(&worker), Refusal::ShuttingDown.to_string());
    assert_eq!(worker.phase(&id), Some(Phase::Running));

    worker.step(Input::Shutdown { stop_tasks: true });
    worker.settle_until(is_report);
    assert!(is_in_order(&worker));
    // What the next process reports of it is the same.
    worker.restart();
    worker.settle_until(is_report);
    assert!(is_in_order(&worker));
    worker.finish();
    assert!(matches!(worker.acknowledged[&id], Exit::Interrupted(_)));

    // Given one that goes down with its machine
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.containers.clear();
    worker.restart();
    worker.settle_until(is_report);
    assert!(!is_in_order(&worker));
    worker.finish();
    assert!(matches!(worker.acknowledged[&id], Exit::Interrupted(_)));
}

/// Whether what is reported next was stopped as its worker was told to end.
fn is_in_order(worker: &Worker) -> bool {
    let next = worker.pending.first();
    matches!(next, Some(Effect::Report { report, .. }) if report.report.in_order)
}

fn run(engine: &str) -> HostRun {
    HostRun {
        boot: Some("boot".to_owned()),
        engine: Some(engine.to_owned()),
    }
}

#[test]
fn an_attempt_remembers_the_run_of_the_engine_in_which_it_was_started() {
    // Given an attempt that was started in one run
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.step(Input::HostRun(run("first")));
    worker.assign(order(&id, 1, 1));
    worker.settle();
    assert_eq!(worker.disk[&id].host_run, run("first"));

    // When there is another, then it goes on being of the first, also in the next process.
    worker.step(Input::HostRun(run("second")));
    worker.restart();
    worker.step(Input::HostRun(run("third")));
    worker.settle();
    worker.cancel(&id);
    worker.settle_until(is_report);
    assert_eq!(worker.disk[&id].host_run, run("first"));
    worker.finish();
}

#[test]
fn an_attempt_whose_start_was_in_vain_is_of_the_run_in_which_it_is_started_after_all() {
    // Given a worker that is killed when its attempt is about to be started
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.step(Input::HostRun(run("first")));
    worker.assign(order(&id, 1, 1));
    worker.settle_until(|effect| matches!(effect, Effect::Start { .. }));
    let Some(Effect::Start { record, .. }) = worker.pending.first() else {
        panic!("it is about to be started");
    };
    let record = SpoolRecord::clone(record);
    let before = record.revision;
    worker.disk.insert(id.clone(), record);
    worker.restart();

    // When the next one starts it in another
    worker.step(Input::HostRun(run("second")));
    worker.settle();

    // Then it is of that, on disk, too.
    let record = &worker.disk[&id];
    assert_eq!(record.host_run, run("second"));
    assert!(record.revision > before, "an older one is not written");
    worker.finish();
}

#[test]
fn another_clusters_assignment_is_refused() {
    // Given a worker of a cluster with a task of its own
    let mut worker = Worker::new();
    let mine = |cluster: &str| Input::Registered {
        cluster: cluster.parse().unwrap(),
    };
    worker.step(mine("c-1"));
    worker.assign(order(&attempt(7, 1), 5, 1));
    worker.settle();

    // When another's master knows a task by the same name
    let mut foreign = order(&attempt(7, 2), 900, 1);
    foreign.cluster = "c-2".parse().unwrap();
    worker.assign(foreign);

    // Then that changes nothing here,
    assert!(last_refusal(&worker).contains("belongs to cluster c-1"));
    assert_eq!(worker.phase(&attempt(7, 1)), Some(Phase::Running));
    assert_eq!(worker.core.tell_sequence(), 5);
    assert!(worker.pending.is_empty(), "{:?}", worker.pending);

    // and numbers begin anew with a new cluster.
    worker.step(mine("c-2"));
    assert_eq!(worker.core.tell_sequence(), 0);
    worker.step(mine("c-1"));
    assert_eq!(worker.core.tell_sequence(), 5);
}

#[test]
fn late_and_repeated_outcomes_change_nothing() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    let before = format!("{:?}", worker.core);
    for outcome in [
        Outcome::Created,
        Outcome::Started,
        Outcome::Removed,
        Outcome::Deleted,
        Outcome::Located(Found::Nothing),
        Outcome::Saved(1),
    ] {
        worker.step(Input::Outcome(id.clone(), outcome));
    }
    worker.step(Input::Outcome(attempt(99, 1), Outcome::Started));
    assert_eq!(format!("{:?}", worker.core), before);
    assert!(worker.pending.is_empty());
    worker.finish();
}

#[test]
fn another_job_under_an_attempt_that_is_held_is_refused_and_changes_nothing() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    let first = order(&id, 1, 1);
    worker.assign(first.clone());
    worker.settle();

    // When the same comes again it is the same, also under another number of assignments
    let mut again = first.clone();
    again.sequence = 2;
    worker.assign(again);
    assert_eq!(
        worker.answers.last(),
        Some(&Answer::Assign(AssignAnswer::Accepted))
    );

    // When another job comes, or the same with more, then it is told apart
    let mut other = first.clone();
    let mut job = (*first.job).clone();
    job.name = "other".to_owned();
    other.job = job.into();
    for other in [other, order(&id, 3, 2)] {
        worker.assign(other);
        assert!(last_refusal(&worker).contains("with another job"));
    }
    assert_eq!(worker.phase(&id), Some(Phase::Running));

    // And that is not remembered against the first
    worker.assign(first);
    assert_eq!(
        worker.answers.last(),
        Some(&Answer::Assign(AssignAnswer::Accepted))
    );
    worker.container_ends(&id, 0);
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Exited(0));
}

#[test]
fn a_start_that_may_have_been_asked_for_before_says_so() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    let is_start = |effect: &Effect| matches!(effect, Effect::Start { .. });
    let asked_before = |worker: &Worker| match worker.pending.last() {
        Some(Effect::Start { asked_before, .. }) => *asked_before,
        other => panic!("{other:?}"),
    };
    worker.settle_until(is_start);
    assert!(!asked_before(&worker));
    // The record says so, and the process ends before it hears what became of it.
    if let Some(Effect::Start { record, .. }) = worker.pending.last().cloned() {
        worker.disk.insert(id.clone(), *record);
    }
    worker.restart();
    worker.settle_until(is_start);
    assert!(asked_before(&worker));
    worker.finish();
}

#[test]
fn what_a_heartbeat_has_told_to_be_missing_is_not_taken_later() {
    let mut worker = Worker::new();
    // The second assignment overtakes the first, and a heartbeat tells of it.
    worker.assign(order(&attempt(2, 1), 2, 1));
    assert_eq!(worker.core.tell_sequence(), 2);
    assert_eq!(worker.core.held().len(), 1);

    worker.assign(order(&attempt(1, 1), 1, 1));
    assert_eq!(
        last_refusal(&worker),
        format!(
            "attempt {} was overtaken by a later assignment and counted as not held here",
            attempt(1, 1)
        )
    );
    // What it holds is confirmed all the same, and what was overtaken untold is taken.
    worker.assign(order(&attempt(2, 1), 2, 1));
    worker.assign(order(&attempt(4, 1), 4, 1));
    worker.assign(order(&attempt(3, 1), 3, 1));
    worker.finish();
    let ended: Vec<_> = worker.acknowledged.keys().cloned().collect();
    assert_eq!(ended, [attempt(2, 1), attempt(3, 1), attempt(4, 1)]);
}
