//! Time-outs of the queue, the pull and the run, and a run's that is changed while it runs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use std::time::Duration;

use cloudai_core::{AssignAnswer, ChangeError, ChangeOutcome, Input};
use cloudai_model::{
    AttemptId, Exit, Phase, Setting, TaskDraft, TaskId, TaskStatus, TimeOut, record::TaskState,
};
use cluster::{Cluster, capacity, cores, draft, id, report, spec};

fn submit(cluster: &mut Cluster, set: impl FnOnce(&mut TaskDraft)) -> TaskId {
    let mut draft = draft();
    set(&mut draft);
    cluster.submit(&spec(draft)).task
}

fn ended(state: &TaskState) -> (TaskStatus, Option<TimeOut>, &str) {
    (state.status, state.time_out, state.reason.as_str())
}

fn secs(seconds: u64) -> Setting<Duration> {
    Setting::To(Duration::from_secs(seconds))
}

#[test]
fn a_wait_that_is_too_long_ends_with_what_was_waited_for() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    cluster.submit(&cores(1.0));
    let task = submit(&mut cluster, |draft| draft.queue_timeout_s = Some(60.0));
    cluster.pass_time(59_000, &["a"]);
    assert_eq!(cluster.state(&task).status, TaskStatus::Queued);

    let mut cluster = cluster.restarted();
    cluster.pass_time(1500, &[]);
    let state = cluster.state(&task);
    assert_eq!(
        ended(&state),
        (
            TaskStatus::Failed,
            Some(TimeOut::Queue),
            "timed out after 1m in the queue: no worker is active"
        )
    );
    assert_eq!(
        (cluster.core.waiting_count(), cluster.core.live_count()),
        (0, 1)
    );
}

#[test]
fn what_a_worker_has_when_the_wait_is_over_is_left_to_it_and_what_ran_waits_as_long_as_it_takes() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = submit(&mut cluster, |draft| {
        draft.queue_timeout_s = Some(5.0);
        draft.max_retries = Some(2);
    });
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Pulling);
    cluster.pass_time(20_000, &["a"]);
    assert_eq!(cluster.state(&task).status, TaskStatus::Pending);

    // It has started: from now on it waits for its retries, and for workers.
    cluster.progress("a", &attempt, Phase::Running);
    cluster.finish("a", &attempt, Exit::Exited(1));
    cluster.drain("a", true);
    cluster.pass_time(600_000, &["a"]);
    assert_eq!(cluster.state(&task).status, TaskStatus::Queued);
}

#[test]
fn what_comes_back_unstarted_after_its_wait_is_over_ends() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = submit(&mut cluster, |draft| draft.queue_timeout_s = Some(5.0));
    let attempt = cluster.assigned().attempt;
    cluster.pass_time(6000, &[]);
    let answer = AssignAnswer::Refused("its disk is full".into());
    cluster.step(Input::AssignAnswered { attempt, answer });
    cluster.pass_time(4000, &["a"]);
    let state = cluster.state(&task);
    assert_eq!(
        ended(&state),
        (
            TaskStatus::Failed,
            Some(TimeOut::Queue),
            "timed out after 5s in the queue: a: left alone for a moment: its disk is full"
        )
    );
    assert_eq!(cluster.core.live_count(), 0);
}

#[test]
fn a_pull_that_takes_too_long_is_stopped_and_has_failed() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = submit(&mut cluster, |draft| {
        draft.pull_timeout_s = Some(10.0);
        draft.max_retries = Some(3);
    });
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    cluster.pass_time(20_000, &["a"]);
    assert!(cluster.take_stops().is_empty(), "it doesn't pull yet");
    cluster.progress("a", &attempt, Phase::Pulling);
    cluster.pass_time(9500, &["a"]);
    assert!(cluster.take_stops().is_empty());
    cluster.pass_time(1000, &["a"]);
    let stop = cluster.take_stops().remove(0);
    assert_eq!(stop.reason, "its pull took longer than 10s");
    cluster.finish("a", &attempt, Exit::Cancelled);
    let state = cluster.state(&task);
    assert_eq!(
        ended(&state),
        (
            TaskStatus::Failed,
            Some(TimeOut::Pull),
            "the pull of its image timed out after 10s"
        )
    );
}

#[test]
fn a_pull_in_time_leaves_the_run_alone_and_is_run_again_where_that_was_asked_for() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = submit(&mut cluster, |draft| {
        draft.pull_timeout_s = Some(10.0);
        draft.max_retries = Some(1);
        draft.retry_on = Some("pull-timeout".into());
    });
    let first = cluster.assigned().attempt;
    cluster.progress("a", &first, Phase::Pulling);
    cluster.pass_time(11_000, &["a"]);
    cluster.finish("a", &first, Exit::Cancelled);
    assert_eq!(cluster.state(&task).failures, 1);
    cluster.pass_time(1500, &["a"]);
    cluster.take_stops();
    let second = cluster.assigned().attempt;
    cluster.progress("a", &second, Phase::Pulling);
    cluster.pass_time(9000, &["a"]);
    cluster.progress("a", &second, Phase::Creating);
    cluster.pass_time(5000, &["a"]);
    cluster.progress("a", &second, Phase::Running);
    cluster.pass_time(60_000, &["a"]);
    assert!(cluster.take_stops().is_empty());
}

#[test]
fn a_stop_for_want_of_time_is_not_forgotten_and_the_time_of_a_pull_is_not_counted_anew() {
    // Asked to stop before the master was killed:
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = submit(&mut cluster, |draft| draft.pull_timeout_s = Some(10.0));
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Pulling);
    cluster.pass_time(11_000, &["a"]);
    let mut cluster = cluster.restarted();
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.finish("a", &attempt, Exit::Cancelled);
    assert_eq!(cluster.state(&task).time_out, Some(TimeOut::Pull));

    // Within its time before, and beyond it after:
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    submit(&mut cluster, |draft| draft.pull_timeout_s = Some(10.0));
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Pulling);
    cluster.pass_time(6000, &["a"]);
    let mut cluster = cluster.restarted();
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.heartbeat("a", &[(&attempt, Phase::Pulling)]);
    cluster.pass_time(3000, &["a"]);
    assert!(cluster.take_stops().is_empty());
    cluster.pass_time(1500, &["a"]);
    assert!(!cluster.take_stops().is_empty());

    // One that had not reached its worker has all of its time.
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    submit(&mut cluster, |draft| draft.pull_timeout_s = Some(10.0));
    cluster.assigned();
    cluster.pass_time(20_000, &[]);
    let mut cluster = cluster.restarted();
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.heartbeat_with("a", &[], Some(0), "first");
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Pulling);
    cluster.pass_time(9000, &["a"]);
    assert!(cluster.take_stops().is_empty());
}

#[test]
fn a_runs_time_out_is_lengthened_and_taken_away_while_it_runs() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = submit(&mut cluster, |draft| draft.timeout_s = Some(10.0));
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Running);
    cluster.pass_time(8000, &["a"]);
    assert_eq!(
        cluster.change_timeout(&task, secs(20)),
        Ok(ChangeOutcome::Kept)
    );
    cluster.pass_time(8000, &["a"]);
    assert!(cluster.take_stops().is_empty());

    // That holds over a restart.
    let mut cluster = cluster.restarted();
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.heartbeat("a", &[(&attempt, Phase::Running)]);
    cluster.pass_time(3000, &["a"]);
    assert!(cluster.take_stops().is_empty());
    let cleared = cluster.change_timeout(&task, Setting::Clear);
    assert_eq!(cleared, Ok(ChangeOutcome::Kept));
    cluster.pass_time(3_600_000, &["a"]);
    assert!(cluster.take_stops().is_empty());
    let mut cluster = cluster.restarted();
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.heartbeat("a", &[(&attempt, Phase::Running)]);
    cluster.pass_time(3_600_000, &["a"]);
    assert!(cluster.take_stops().is_empty());

    // What has ended can't be changed.
    cluster.finish("a", &attempt, Exit::Exited(0));
    let error = cluster.change_timeout(&task, secs(5));
    assert_eq!(error, Err(ChangeError::NotLive(task)));
}

#[test]
fn a_time_out_that_is_over_by_a_change_ends_the_run_at_once() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Running);
    cluster.pass_time(60_000, &["a"]);
    let changed = cluster.change_timeout(&task, secs(30));
    assert_eq!(changed, Ok(ChangeOutcome::EndsNow(id("a"))));
    assert_eq!(cluster.take_stops().len(), 1);

    // It is too late for another.
    let error = cluster.change_timeout(&task, secs(600)).unwrap_err();
    assert!(matches!(error, ChangeError::BeingStopped(..)), "{error}");

    cluster.finish("a", &attempt, Exit::Cancelled);
    let state = cluster.state(&task);
    assert_eq!(
        ended(&state),
        (
            TaskStatus::Failed,
            Some(TimeOut::Run),
            "timed out: it had run for 1m and may run for 30s"
        )
    );
}

#[test]
fn a_change_before_the_start_holds_for_the_run_and_for_those_after_it() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = submit(&mut cluster, |draft| {
        draft.max_retries = Some(1);
        draft.retry_on = Some("timeout".into());
    });
    let first = cluster.assigned().attempt;
    cluster.change_timeout(&task, secs(2)).unwrap();
    cluster.progress("a", &first, Phase::Running);
    cluster.pass_time(2500, &["a"]);
    assert!(!cluster.take_stops().is_empty());
    cluster.finish("a", &first, Exit::Cancelled);
    // While it waits for its retry, the last run's time is nothing to go by.
    let changed = cluster.change_timeout(&task, secs(1));
    assert_eq!(changed, Ok(ChangeOutcome::Kept));
    cluster.pass_time(1500, &["a"]);
    let second = cluster.assigned().attempt;
    assert_eq!(second, AttemptId::new(task, 2));
    cluster.progress("a", &second, Phase::Running);
    assert!(cluster.take_stops().is_empty());
    cluster.pass_time(1500, &["a"]);
    assert!(!cluster.take_stops().is_empty());
}

#[test]
fn what_never_ran_is_not_taken_for_a_start_and_its_wait_goes_on() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = submit(&mut cluster, |draft| {
        draft.queue_timeout_s = Some(60.0);
        draft.max_retries = Some(100);
    });
    // A heartbeat tells of its end before the report does, which can't be created there.
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    cluster.heartbeat("a", &[(&attempt, Phase::Uploading)]);
    let state = cluster.state(&task);
    assert_eq!(
        (state.status, state.started_at),
        (TaskStatus::Pending, None)
    );
    let mut report = report(&attempt, Exit::NotStarted("no such image".into()));
    report.end.started_at = None;
    cluster.call(|call| Input::Finished {
        call,
        worker: id("a"),
        report: Box::new(report),
        log_tail: String::new(),
    });
    assert_eq!(cluster.state(&task).first_started_at, None);

    cluster.drain("a", true);
    cluster.pass_time(61_000, &["a"]);
    let state = cluster.state(&task);
    assert_eq!(
        (state.status, state.time_out),
        (TaskStatus::Failed, Some(TimeOut::Queue))
    );
}

#[test]
fn a_clock_that_was_set_forth_shortens_no_run() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = submit(&mut cluster, |draft| draft.timeout_s = Some(7200.0));
    let attempt = cluster.assigned().attempt;
    cluster.progress("a", &attempt, Phase::Running);
    cluster.now.wall.0 += 24 * 3600 * 1000;
    cluster.pass_time(1000, &["a"]);
    assert_eq!(
        cluster.change_timeout(&task, secs(3600)),
        Ok(ChangeOutcome::Kept)
    );
    cluster.pass_time(3_590_000, &["a"]);
    assert!(cluster.take_stops().is_empty());
    cluster.pass_time(10_000, &["a"]);
    // It is asked again with each heartbeat.
    assert_eq!(cluster.take_stops()[0].attempt, attempt);
}
