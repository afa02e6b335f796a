//! A worker under an old master, which numbers nothing: it gives a task once more under the same
//! id, and knows one word for "not now" and "never".

mod support;

use cloudai_model::{Exit, Phase, Whole};
use cloudai_worker_core::{
    Answer, AssignAnswer, Delivery, Effect, Input, Order, Outcome, Refusal, SentFiles, StopTarget,
};
use support::{Worker, attempt};

/// An assignment of an old master.
fn order(task: u64, cores: u64) -> Order {
    support::order(&attempt(task, 1), 0, cores)
}

fn last_answer(worker: &Worker) -> &AssignAnswer {
    match worker.answers.last() {
        Some(Answer::Assign(answer)) => answer,
        other => unreachable!("expected an answer to an assignment, got {other:?}"),
    }
}

fn is_delete(effect: &Effect) -> bool {
    matches!(effect, Effect::Delete { .. })
}

fn is_upload(effect: &Effect) -> bool {
    matches!(effect, Effect::Upload { .. })
}

fn is_report(effect: &Effect) -> bool {
    matches!(effect, Effect::Report { .. })
}

/// A worker whose first effect is this one, for a task that has ended.
fn ended_and_at(stop: fn(&Effect) -> bool) -> Worker {
    let mut worker = Worker::new();
    worker.assign(order(7, 1));
    worker.settle();
    worker.container_ends(&attempt(7, 1), 0);
    worker.settle_until(stop);
    worker
}

/// What was sent is answered so.
fn answered(worker: &mut Worker, outcome: Outcome) {
    worker.pending.remove(0);
    worker.step(Input::Outcome(attempt(7, 1), outcome));
}

fn refused_result(worker: &mut Worker) {
    answered(
        worker,
        Outcome::Reported(Delivery::Refused("no".to_owned())),
    );
}

#[test]
fn it_cancels_whichever_attempt_is_held() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(7, 1));
    worker.settle();
    let call = worker.cancel_target(StopTarget::Task(id.task.clone()), &id);
    worker.settle();
    assert!(worker.is_answered(call));
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Cancelled);
}

#[test]
fn what_is_pulled_is_cancelled_at_once() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(7, 1));
    worker.settle_until(|effect| matches!(effect, Effect::Pull { .. }));
    worker.cancel_target(StopTarget::Task(id.task.clone()), &id);
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Cancelled);
    assert!(worker.starts.is_empty());
}

#[test]
fn what_was_refused_for_want_of_room_is_taken_when_there_is_some() {
    let mut worker = Worker::new();
    worker.assign(order(1, 3));
    worker.settle();
    worker.assign(order(2, 2));
    assert!(matches!(
        last_answer(&worker),
        AssignAnswer::Refused(Refusal::Shortage(_))
    ));
    worker.container_ends(&attempt(1, 1), 0);
    worker.settle();
    worker.begin_anew(&attempt(2, 1));
    worker.assign(order(2, 2));
    worker.settle();
    assert_eq!(worker.phase(&attempt(2, 1)), Some(Phase::Running));
    worker.finish();
}

#[test]
fn what_its_disk_refused_is_taken_when_it_is_well() {
    let mut worker = Worker::new();
    worker.assign(order(7, 1));
    worker.fail(0);
    worker.settle();
    worker.tick(31);
    worker.begin_anew(&attempt(7, 1));
    worker.assign(order(7, 1));
    worker.settle();
    assert_eq!(worker.phase(&attempt(7, 1)), Some(Phase::Running));
    worker.finish();
}

#[test]
fn a_task_that_was_reported_is_run_once_more() {
    // Given one whose report was taken, and whose folder is just being removed,
    let mut worker = ended_and_at(is_delete);

    // when it is given again, it has to wait for that;
    worker.begin_anew(&attempt(7, 1));
    worker.assign(order(7, 1));
    assert_eq!(
        last_answer(&worker),
        &AssignAnswer::Refused(Refusal::JustEnded)
    );
    worker.settle();

    // then it runs from the start.
    worker.begin_anew(&attempt(7, 1));
    worker.assign(order(7, 1));
    worker.settle();
    assert_eq!(last_answer(&worker), &AssignAnswer::Accepted);
    assert_eq!(worker.starts[&attempt(7, 1)], 1);
    worker.container_ends(&attempt(7, 1), 5);
    worker.finish();
    assert_eq!(worker.acknowledged[&attempt(7, 1)], Exit::Exited(5));
}

#[test]
fn while_it_is_held_the_same_task_is_answered_the_same() {
    let mut worker = ended_and_at(is_report);
    worker.assign(order(7, 1));
    assert_eq!(last_answer(&worker), &AssignAnswer::Accepted);
    worker.finish();
    assert_eq!(worker.starts[&attempt(7, 1)], 1);
}

#[test]
fn a_result_is_given_up_after_an_hour_of_refusals() {
    let mut worker = ended_and_at(is_report);
    for _ in 0..360 {
        refused_result(&mut worker);
        assert!(is_report(&worker.pending[0]), "{:?}", worker.pending);
        worker.tick(10);
    }
    refused_result(&mut worker);
    assert!(worker.superseded.contains(&attempt(7, 1)), "it was said");
    assert!(is_delete(&worker.pending[0]), "{:?}", worker.pending);
    worker.finish();
    assert!(worker.acknowledged.is_empty());
}

#[test]
fn a_master_that_was_away_for_long_has_not_refused_for_long() {
    let mut worker = ended_and_at(is_report);
    for _ in 0..1000 {
        let away = Delivery::Undelivered("nobody answers".to_owned());
        answered(&mut worker, Outcome::Reported(away));
        worker.tick(10);
    }
    refused_result(&mut worker);
    worker.tick(7200);
    for _ in 0..8 {
        refused_result(&mut worker);
    }
    assert!(is_report(&worker.pending[0]), "nine times is not for good");
    worker.finish();
    assert_eq!(worker.acknowledged[&attempt(7, 1)], Exit::Exited(0));
}

#[test]
fn files_that_are_refused_do_not_hold_up_the_result_for_ever() {
    let mut worker = ended_and_at(is_upload);
    for _ in 0..60 {
        let refused = Delivery::Refused("no room".to_owned());
        answered(&mut worker, Outcome::Uploaded(refused));
        assert!(is_upload(&worker.pending[0]), "{:?}", worker.pending);
        worker.tick(10);
    }
    let refused = Delivery::Refused("no room".to_owned());
    answered(&mut worker, Outcome::Uploaded(refused));
    let Effect::Report { report, .. } = &worker.pending[0] else {
        unreachable!("expected the report, got {:?}", worker.pending);
    };
    let reason = "the master refused them: no room".to_owned();
    assert_eq!(report.report.files, Whole::Incomplete(reason));
    assert!(report.file_names.is_empty());

    // And the result has all its time yet.
    refused_result(&mut worker);
    worker.finish();
    assert_eq!(worker.acknowledged[&attempt(7, 1)], Exit::Exited(0));
}

#[test]
fn the_result_names_the_files_that_were_sent() {
    let mut worker = ended_and_at(is_upload);
    let sent = SentFiles {
        whole: Whole::Complete,
        names: vec!["a".to_owned(), "b/c".to_owned()],
    };
    answered(&mut worker, Outcome::Uploaded(Delivery::Acknowledged(sent)));
    let Effect::Report { report, .. } = &worker.pending[0] else {
        unreachable!("expected the report, got {:?}", worker.pending);
    };
    assert_eq!(report.file_names, ["a", "b/c"]);
    worker.finish();
}
