//! Bugs that are put in, one at a time: each is found within the seeds that stand here, and without
//! it the same seeds find nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use cloudai_sim::{
    audit::Kind,
    bugs::Bug,
    plan::{Generator, generate},
    run::run,
};

/// Looks for a bug seed by seed. It must be found within `seeds`, as one of `kinds`, and none of the
/// seeds that it took may find anything without it.
fn assert_found(bug: Bug, seeds: u64, kinds: &[Kind]) {
    for seed in 0..seeds {
        let plan = generate(seed, &Generator::default());
        let sound = run(&plan, None, false).finding;
        assert!(sound.is_none(), "without {bug}, seed {seed}: {sound:?}");
        if let Some(finding) = run(&plan, Some(bug), false).finding {
            let kind = finding.violation.kind;
            assert!(
                kinds.contains(&kind),
                "{bug} shows at seed {seed} as {finding}"
            );
            return;
        }
    }
    panic!("{bug} is not found within {seeds} seeds");
}

#[test]
fn a_missing_fence_around_attempts_is_found() {
    let kinds = [
        Kind::SupersededCounted,
        Kind::WrongResult,
        Kind::GivenUpUnduly,
    ];
    assert_found(Bug::NoFencing, 60, &kinds);
}

#[test]
fn what_is_sent_before_it_is_kept_is_found() {
    let kinds = [
        Kind::AnswerNotTrue,
        Kind::SubmitLost,
        Kind::SentBeforePersisted,
    ];
    assert_found(Bug::SendBeforePersist, 5, &kinds);
}

#[test]
fn a_missing_count_of_promises_is_found() {
    assert_found(Bug::NoReservationCheck, 5, &[Kind::Oversubscribed]);
}

#[test]
fn a_worker_that_forgets_its_reports_is_found() {
    assert_found(Bug::NoOutbox, 60, &[Kind::ReportDropped]);
}

#[test]
fn a_worker_that_does_not_know_an_assignment_again_is_found() {
    let kinds = [
        Kind::AnsweredOtherwise,
        Kind::StartedTwice,
        Kind::StartedAfterCancel,
    ];
    assert_found(Bug::NoDeduplication, 30, &kinds);
}

#[test]
fn a_master_that_does_not_compare_is_found() {
    assert_found(Bug::NoReconcile, 10, &[Kind::StillOwed, Kind::NeverFinal]);
}

#[test]
fn what_stays_promised_after_a_cancel_is_found() {
    let kinds = [Kind::NeverFinal, Kind::StillOwed];
    assert_found(Bug::NoReleaseAtCancel, 10, &kinds);
}

#[test]
fn a_worker_that_is_never_given_up_is_found() {
    assert_found(Bug::NoLostWorkerTimer, 10, &[Kind::LostWorkerKept]);
}

#[test]
fn a_user_beyond_their_limits_is_found() {
    assert_found(Bug::NoUserLimits, 30, &[Kind::OverUserLimit]);
}

#[test]
fn a_task_on_hold_that_is_placed_is_found() {
    assert_found(Bug::NoHold, 30, &[Kind::PlacedOnHold]);
}

#[test]
fn a_batch_that_is_taken_in_parts_is_found() {
    assert_found(Bug::TornBatches, 30, &[Kind::BatchTorn]);
}

#[test]
fn a_worker_that_is_given_up_too_soon_is_found() {
    assert_found(Bug::HastyLostWorkerTimer, 20, &[Kind::GivenUpUnduly]);
}

#[test]
fn silence_that_nobody_could_have_heard_through_is_found() {
    assert_found(Bug::NoForgiveness, 30, &[Kind::GivenUpUnduly]);
}

#[test]
fn a_worker_that_sweeps_away_what_it_holds_is_found() {
    assert_found(Bug::SweepsAll, 20, &[Kind::OrphanIsHeld]);
}

#[test]
fn a_cancel_that_no_worker_hears_of_is_found() {
    assert_found(Bug::NoStopAtCancel, 20, &[Kind::NeverFinal]);
}

#[test]
fn a_time_out_that_never_comes_is_found() {
    assert_found(Bug::NoTimeOuts, 20, &[Kind::TimeOutMissed]);
}

#[test]
fn a_time_out_that_comes_too_soon_is_found() {
    assert_found(Bug::HastyTimeOuts, 20, &[Kind::TimedOutUnduly]);
}

#[test]
fn an_offer_that_does_not_hold_any_more_is_found() {
    let kinds = [Kind::Oversubscribed, Kind::NeverFinal];
    assert_found(Bug::FirstOfferCounts, 30, &kinds);
}

#[test]
fn each_bug_that_can_be_put_in_has_its_test_here() {
    let tests = include_str!("bugs.rs");
    for bug in Bug::ALL {
        let call = format!("assert_found(Bug::{bug:?},");
        assert!(tests.contains(&call), "{bug} has no test");
    }
}
