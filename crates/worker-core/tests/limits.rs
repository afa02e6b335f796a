//! A container that takes more than it was given is stopped, and why survives a restart.

mod support;

use cloudai_model::{Exit, Phase};
use cloudai_worker_core::{Effect, Outcome, StopCause};
use support::{Worker, attempt, order};

const REASON: &str = "over its storage limit of 1 GB: its files and /output take 2 GB";

fn over_limit() -> Outcome {
    Outcome::OverLimit(REASON.to_owned())
}

#[test]
fn a_container_over_its_limit_is_stopped_with_the_reason_as_its_end() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    assert_eq!(worker.phase(&id), Some(Phase::Running));

    worker.outcome(&id, over_limit());

    // The reason is being written down, so that a worker that dies now still knows it.
    let saved = worker.pending.iter().find_map(|effect| match effect {
        Effect::Save { record, .. } => record.stop.clone(),
        _ => None,
    });
    assert_eq!(saved, Some(StopCause::OverLimit(REASON.to_owned())));
    let is_stop = |effect: &Effect| matches!(effect, Effect::Stop { .. });
    assert!(
        !worker.pending.iter().any(is_stop),
        "not before it is there"
    );
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Stopped(REASON.to_owned()));
}

#[test]
fn a_limit_that_is_heard_of_after_the_end_changes_nothing() {
    let mut worker = Worker::new();
    let id = attempt(7, 1);
    worker.assign(order(&id, 1, 1));
    worker.settle();
    worker.container_ends(&id, 0);
    worker.outcome(&id, over_limit());
    worker.finish();
    assert_eq!(worker.acknowledged[&id], Exit::Exited(0));
}
