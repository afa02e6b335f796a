//! Each kind of violation is found in a made history that has it, and none in one that is sound.

mod history;

use std::time::Duration;

use cloudai_core::{CancelOutcome, Reported};
use cloudai_model::{Exit, Phase, Setting, TimeOut, Whole, record::TaskState};
use cloudai_worker_core::{EndRecord, SealedLog};

use self::history::*;
use super::*;
use crate::engine::EndCause;

#[test]
fn a_sound_history_has_nothing_amiss() {
    let mut history = History::new();
    history.reported(0).write(&completed());
    let told = Told::Submitted(task());
    history.see(&Seen::UserTold(&told));
    let heard = FromMaster::Heard(Reported::Live);
    history.exchange(0, &report(Exit::Exited(0)), &heard);
    let end = EndRecord {
        end: end(Exit::Exited(0)),
        log: SealedLog {
            length_bytes: 0,
            whole: Whole::Complete,
        },
        had_container: true,
    };
    history.spooled(Some(end));
    let attempt = &attempt(1);
    history.see(&Seen::ContainerRemoved {
        worker: 0,
        attempt,
        by_worker: true,
    });
    history.see(&Seen::SpoolDeleted { worker: 0, attempt });
    assert_eq!(history.found, None);
}

#[test]
fn an_attempt_may_be_given_up_for_what_came_over_the_wire_and_for_silence() {
    let again = || [over(1, 1), changed(state(TaskStatus::Queued, 1))];
    let reasons: &[fn(&mut History)] = &[
        |history| {
            history.answered(&assign(1), &FromWorker::Refused(String::new()));
        },
        |history| {
            history.answered(&cancel(), &FromWorker::NotHeld);
        },
        |history| {
            history.arrives(&heartbeat(false, 1, "start-1"));
        },
        |history| {
            history.after(30_000);
        },
        |history| {
            history.arrives(&report(Exit::Interrupted(String::new())));
        },
    ];
    for (index, reason) in reasons.iter().enumerate() {
        let mut history = History::new();
        history.given().sent();
        reason(&mut history);
        history.write(&again());
        assert_eq!(history.found, None, "reason {index}");
    }
}

#[test]
fn silence_that_nobody_could_hear_is_none() {
    let mut history = History::new();
    history.given().after(5_000).see(&Seen::MasterStandsStill);
    history.after(40_000).see(&Seen::MasterGoesOn);
    history.after(1_000).write(&[over(1, 1)]);
    let kind = history.found.map(|found| found.kind);
    assert_eq!(kind, Some(Kind::GivenUpUnduly));
}

/// A kind, and a history that has it.
type Case = (Kind, fn(&mut History));

const CASES: &[Case] = &[
    (Kind::SubmitLost, |history| {
        history.see(&Seen::UserTold(&Told::Submitted(task())));
    }),
    (Kind::IdGivenTwice, |history| {
        history.added(spec(|_| {})).added(spec(|_| {}));
    }),
    (Kind::AnswerNotTrue, |history| {
        history.running();
        let told = Told::Cancelled(task(), CancelOutcome::AlreadyEnded);
        history.see(&Seen::UserTold(&told));
    }),
    (Kind::SentBeforePersisted, |history| {
        history.joined(0).added(spec(|_| {})).sent();
    }),
    (Kind::StopBeforePersisted, |history| {
        history.given().see(&Seen::SentToWorker {
            worker: 0,
            request: &cancel(),
        });
    }),
    (Kind::TakenBeforePersisted, |history| {
        let heard = FromMaster::Heard(Reported::Ended);
        history
            .running()
            .exchange(0, &report(Exit::Exited(0)), &heard);
    }),
    (Kind::LiveRefused, |history| {
        let heard = FromMaster::Heard(Reported::Superseded);
        history
            .running()
            .exchange(0, &progress(Phase::Running), &heard);
    }),
    (Kind::StatusLeap, |history| {
        history.added(spec(|_| {}));
        history.write(&[changed(state(TaskStatus::Running, 0))]);
    }),
    (Kind::ChangedAfterFinal, |history| {
        history.reported(0).write(&completed());
        history.write(&[changed(state(TaskStatus::Queued, 1))]);
    }),
    (Kind::SecondResult, |history| {
        history.reported(0).write(&completed());
        history.write(&[result(TaskStatus::Completed, Some(Exit::Exited(0)))]);
    }),
    (Kind::EndWithoutResult, |history| {
        history.reported(0).write(&completed()[..2]);
    }),
    (Kind::TwoLiveAttempts, |history| {
        history.given().write(&[given(2, 0, 2)]);
    }),
    (Kind::StatusOutOfStep, |history| {
        history.joined(0).added(spec(|_| {}));
        history.write(&[changed(state(TaskStatus::Pending, 1))]);
    }),
    (Kind::NumberOutOfStep, |history| {
        history.joined(0).added(spec(|_| {}));
        history.write(&[given(3, 0, 1)]);
    }),
    (Kind::SupersededCounted, |history| {
        history.ended(0).write(&[files()]);
        history.after(31_000).write(&completed());
    }),
    (Kind::WrongResult, |history| {
        history.ended(3).arrives(&report(Exit::Exited(0)));
        history.write(&[files()]).write(&completed());
    }),
    (Kind::FailedWithoutCause, |history| {
        history.given().sent().after(31_000);
        history.write(&failed(None, None));
    }),
    (Kind::RetryNotOwed, |history| {
        history.given().sent().after(31_000);
        let failures = TaskState {
            failures: 1,
            ..state(TaskStatus::Queued, 1)
        };
        history.write(&[over(1, 1), changed(failures)]);
    }),
    (Kind::RetryNotTaken, |history| {
        let spec = spec(|draft| draft.max_retries = Some(2));
        history.given_with(spec).sent().spooled(None);
        history.answered(&assign(1), &FromWorker::Taken);
        let attempt = &attempt(1);
        history.see(&Seen::ContainerStarted { worker: 0, attempt });
        history.see(&Seen::ContainerEnded {
            worker: 0,
            attempt,
            end: &raw(3, EndCause::Itself),
        });
        history.arrives(&report(Exit::Exited(3)));
        history.write(&failed(None, Some(Exit::Exited(3))));
    }),
    (Kind::GivenUpUnduly, |history| {
        history.running().after(5_000).write(&[over(1, 1)]);
    }),
    (Kind::MachineLimitPassed, |history| {
        history.joined(0).added(spec(|_| {}));
        for number in 1..=5 {
            let sequence = u64::from(number);
            let pending = changed(state(TaskStatus::Pending, number));
            history.write(&[given(number, 0, sequence), pending]);
            let mut interrupted = report(Exit::Interrupted(String::new()));
            if let ToMaster::Report { report, .. } = &mut interrupted {
                report.attempt = attempt(number);
            }
            history.arrives(&interrupted);
            let queued = changed(state(TaskStatus::Queued, number));
            history.write(&[over(number, sequence), queued]);
        }
    }),
    (Kind::TimedOutUnduly, |history| {
        let spec = spec(|draft| draft.timeout_s = Some(60.0));
        history.given_with(spec).sent();
        history.see(&Seen::ContainerStarted {
            worker: 0,
            attempt: &attempt(1),
        });
        history.arrives(&progress(Phase::Running));
        history.write(&[changed(state(TaskStatus::Running, 1))]);
        let timed_out = TaskState {
            time_out: Some(TimeOut::Run),
            ..state(TaskStatus::Running, 1)
        };
        history.after(59_000).write(&[changed(timed_out)]);
    }),
    (Kind::TimeOutMissed, |history| {
        history.added(spec(|draft| draft.queue_timeout_s = Some(10.0)));
        history.after(13_000).see(&Seen::Second {
            master_troubled: false,
        });
    }),
    (Kind::Oversubscribed, |history| {
        history.joined(0).added(spec(|_| {}));
        let Record::Assignment(mut whole) = given(1, 0, 1) else {
            return;
        };
        whole.grant.cpu_milli = 2001;
        history.write(&[Record::Assignment(whole)]);
    }),
    (Kind::OldOfferKept, |history| {
        history.joined(0);
        history.exchange(0, &heartbeat(false, 0, "start-2"), &taken(false));
    }),
    (Kind::MachineOvercommitted, |history| {
        let small = Capacity {
            cpu_milli: 500,
            ..CAPACITY
        };
        history.given().sent();
        history.see(&Seen::WorkerStarts {
            worker: 0,
            capacity: &small,
        });
        history.spooled(None).see(&Seen::ContainerStarted {
            worker: 0,
            attempt: &attempt(1),
        });
    }),
    (Kind::WrongWorker, |history| {
        history.joined(0).added(spec(|_| {}));
        history.write(&[given(1, 1, 1)]);
    }),
    (Kind::StartedTwice, |history| {
        let attempt = &attempt(1);
        history.running();
        history.see(&Seen::ContainerStarted { worker: 0, attempt });
    }),
    (Kind::NotAssigned, |history| {
        let attempt = &attempt(1);
        history.see(&Seen::ContainerCreated { worker: 0, attempt });
    }),
    (Kind::StartedAfterCancel, |history| {
        history.taken().answered(&cancel(), &FromWorker::NotHeld);
        let attempt = &attempt(1);
        history.see(&Seen::ContainerStartAsked { worker: 0, attempt });
    }),
    (Kind::StoppedUnasked, |history| {
        let attempt = &attempt(1);
        history.running();
        history.see(&Seen::ContainerStopAsked { worker: 0, attempt });
    }),
    (Kind::OrphanIsHeld, |history| {
        let attempt = &attempt(1);
        history.running();
        history.see(&Seen::OrphanFound { worker: 0, attempt });
    }),
    (Kind::CancelledUnasked, |history| {
        let cancelled = TaskState {
            cancel_requested: true,
            ..state(TaskStatus::Pending, 1)
        };
        history.given().write(&[changed(cancelled)]);
    }),
    (Kind::AssignedAfterCancel, |history| {
        let cancelled = TaskState {
            cancel_requested: true,
            ..state(TaskStatus::Queued, 0)
        };
        history.joined(0).added(spec(|_| {})).cancelled();
        history.write(&[changed(cancelled)]);
        history.write(&[given(1, 0, 1)]);
    }),
    (Kind::StopTakenForFailure, |history| {
        let asked = |status| TaskState {
            cancel_requested: true,
            ..state(status, 1)
        };
        history.ended(143).cancelled().write(&[files()]);
        history.write(&[changed(asked(TaskStatus::Running))]);
        let signalled = Exit::Signalled(15);
        history.arrives(&report(signalled.clone()));
        let [over, _, result] = failed(None, Some(signalled));
        history.write(&[over, changed(asked(TaskStatus::Failed)), result]);
    }),
    (Kind::AcceptedUnkept, |history| {
        history.given().sent();
        history.answered(&assign(1), &FromWorker::Taken);
    }),
    (Kind::AnsweredOtherwise, |history| {
        let refused = FromWorker::Refused(String::new());
        history.taken().answered(&assign(1), &refused);
    }),
    (Kind::ReportDropped, |history| {
        let attempt = &attempt(1);
        history.taken();
        history.see(&Seen::SpoolDeleted { worker: 0, attempt });
    }),
    (Kind::RemovedTooSoon, |history| {
        history.ended(0).see(&Seen::ContainerRemoved {
            worker: 0,
            attempt: &attempt(1),
            by_worker: true,
        });
    }),
    (Kind::FilesLost, |history| {
        history.ended(0).arrives(&report(Exit::Exited(0)));
        history.write(&completed());
    }),
    (Kind::TakenWhileFull, |history| {
        history.see(&Seen::DiskIsFull(true)).added(spec(|_| {}));
    }),
    (Kind::StrangerLetIn, |history| {
        let hello = history.hello(1, "start-1");
        history.exchange(1, &hello, &welcome());
    }),
    (Kind::LostWorkerKept, |history| {
        history.given().after(36_000).see(&Seen::Second {
            master_troubled: false,
        });
    }),
    (Kind::OverUserLimit, |history| {
        history.limited(500, true).given();
    }),
    (Kind::PlacedOnHold, |history| {
        history.given_with(spec(|draft| draft.hold = true));
    }),
    (Kind::BatchTorn, |history| {
        let label = (BATCH_LABEL.to_owned(), "0/2".to_owned());
        history.added(spec(|draft| draft.labels = [label].into()));
    }),
    (Kind::AnsweredTwice, |history| {
        history.see(&Seen::AnsweredTwice);
    }),
    (Kind::StoreRefused, |history| {
        history.see(&Seen::StoreRefused(&TableError::UnknownTask(task())));
    }),
];

/// What a run finds at its end by looking, or by catching a panic: `tests/bugs.rs` and `run.rs` show
/// those.
const OF_THE_RUN: &[Kind] = &[
    Kind::NeverFinal,
    Kind::StillOwed,
    Kind::ContainerLeft,
    Kind::AskedInVain,
    Kind::Panicked,
];

#[test]
fn each_kind_is_found_in_a_history_that_has_it() {
    for (kind, tell) in CASES {
        let mut history = History::new();
        tell(&mut history);
        let found = history.found.as_ref().map(|found| found.kind);
        assert_eq!(found, Some(*kind), "{:?}", history.found);
    }
}

#[test]
fn each_kind_has_its_history() {
    for kind in Kind::ALL {
        let cases = CASES.iter().filter(|(of, _)| of == kind).count();
        let expected = usize::from(!OF_THE_RUN.contains(kind));
        assert_eq!(cases, expected, "{kind:?}");
    }
}

#[test]
fn a_limit_holds_from_when_its_admin_has_heard_so_and_as_far_as_it_goes() {
    for (cpu_milli, heard) in [(500, false), (1000, true)] {
        let mut history = History::new();
        history.limited(cpu_milli, heard).given();
        assert_eq!(history.found, None);
    }
}

#[test]
fn a_change_of_a_time_out_counts_from_then_on() {
    let mut history = History::new();
    let spec = spec(|draft| draft.timeout_s = Some(60.0));
    history.given_with(spec).sent();
    history.see(&Seen::ContainerStarted {
        worker: 0,
        attempt: &attempt(1),
    });
    history.arrives(&progress(Phase::Running));
    history.write(&[changed(state(TaskStatus::Running, 1))]);
    let sooner = cloudai_model::TaskChange {
        timeout: Setting::To(Duration::from_secs(20)),
        ..cloudai_model::TaskChange::default()
    };
    history.write(&[Record::SpecChanged(task(), sooner)]);
    history.exchange(0, &heartbeat(true, 1, "start-1"), &taken(false));
    let timed_out = TaskState {
        time_out: Some(TimeOut::Run),
        ..state(TaskStatus::Running, 1)
    };
    history.after(20_000).write(&[changed(timed_out)]);
    assert_eq!(history.found, None);
}
