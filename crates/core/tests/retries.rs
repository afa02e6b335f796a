//! What is run again, when and how often: failures of tasks and of machines.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use cloudai_core::{Input, Settings, StopAnswer, WaitCause, Which};
use cloudai_model::{AttemptId, Exit, Phase, TaskDraft, TaskId, TaskStatus, Whole, record::Record};
use cluster::{Cluster, capacity, cores, draft, id, report, spec};

fn with_retries(cluster: &mut Cluster, retries: i64, on: Option<&str>) -> TaskId {
    let wanted = spec(TaskDraft {
        max_retries: Some(retries),
        retry_on: on.map(str::to_owned),
        ..draft()
    });
    cluster.submit(&wanted).task
}

/// A worker starts what it was given.
fn runs(cluster: &mut Cluster, worker: &str) -> AttemptId {
    let attempt = cluster.assigned().attempt;
    cluster.accepted(&attempt);
    cluster.progress(worker, &attempt, Phase::Running);
    attempt
}

fn pause_of(cluster: &mut Cluster, task: &TaskId) -> u64 {
    let waiting = cluster.waiting(Which::One(task.clone()));
    match &waiting[0].cause {
        WaitCause::BackOff(left) => u64::try_from(left.as_millis()).unwrap(),
        cause @ (WaitCause::Room(_) | WaitCause::OnHold) => panic!("{cause:?}"),
    }
}

#[test]
fn each_pause_is_about_twice_the_one_before_and_no_two_tasks_have_the_same() {
    let mut cluster = Cluster::with(&[("a", capacity(9, 0))]);
    let tasks = [(); 2].map(|()| with_retries(&mut cluster, 9, None));
    let mut pauses = [vec![], vec![]];
    for round in 0..8 {
        for given in cluster.take_assignments() {
            cluster.finish("a", &given.attempt, Exit::Exited(1));
        }
        for (task, pauses) in tasks.iter().zip(&mut pauses) {
            assert_eq!(cluster.state(task).failures, round + 1);
            pauses.push(pause_of(&mut cluster, task));
        }
        cluster.pass_time(75_000, &["a"]);
    }
    assert_ne!(pauses[0], pauses[1]);
    for pauses in pauses {
        for (pause, middle) in pauses.iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
            let span = middle * 800..=middle * 1200;
            assert!(span.contains(pause), "{pauses:?}");
        }
    }
}

#[test]
fn only_what_is_listed_is_run_again() {
    let ends = |on: Option<&str>, exit: Exit| {
        let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
        let task = with_retries(&mut cluster, 3, on);
        let attempt = runs(&mut cluster, "a");
        cluster.finish("a", &attempt, exit);
        cluster.state(&task).status == TaskStatus::Failed
    };
    assert!(!ends(None, Exit::Exited(1)));
    assert!(!ends(None, Exit::OutOfMemory));
    let listed = Some("75,100-110,oom");
    assert!(!ends(listed, Exit::Exited(75)));
    assert!(!ends(listed, Exit::Exited(104)));
    assert!(!ends(listed, Exit::OutOfMemory));
    assert!(ends(listed, Exit::Exited(1)));
    assert!(ends(listed, Exit::Signalled(9)));
    assert!(ends(listed, Exit::NotStarted("no such image".into())));
}

#[test]
fn a_pause_and_what_was_used_survive_a_restart() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = with_retries(&mut cluster, 5, None);
    for _ in 0..4 {
        let attempt = runs(&mut cluster, "a");
        cluster.finish("a", &attempt, Exit::Exited(7));
        cluster.pass_time(6000, &["a"]);
    }
    // Of the fourth pause, about eight seconds, some are left.
    let left = pause_of(&mut cluster, &task);
    assert!((300..4000).contains(&left), "{left}");
    let state = cluster.state(&task);
    assert_eq!(
        (state.failures, state.reason.as_str()),
        (4, "exit code 7"),
        "for whoever reads the store"
    );

    let mut cluster = cluster.restarted();
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.heartbeat("a", &[]);
    assert!(cluster.take_assignments().is_empty());
    let again = pause_of(&mut cluster, &task);
    assert!(again.abs_diff(left) <= 1, "{again} after {left}");
    cluster.pass_time(left + 500, &["a"]);
    assert_eq!(cluster.assigned().attempt.number, 5);
    assert_eq!(cluster.state(&task).failures, 4);

    // A clock that was set back by a day makes no wait of a day.
    let attempt = AttemptId::new(task.clone(), 5);
    cluster.finish("a", &attempt, Exit::Exited(7));
    cluster.now.wall.0 -= 86_400_000;
    let mut cluster = cluster.restarted();
    assert!(pause_of(&mut cluster, &task) <= 72_000);
}

#[test]
fn an_end_for_want_of_memory_names_peak_and_limit() {
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = cluster.submit(&cores(1.0)).task;
    let attempt = runs(&mut cluster, "a");
    let mut last = report(&attempt, Exit::OutOfMemory);
    last.end.usage.memory_bytes = 512 << 20;
    cluster.call(|call| Input::Finished {
        call,
        worker: id("a"),
        report: Box::new(last),
        log_tail: String::new(),
    });
    let expected = "out of memory: peak 512 MB of 512 MB";
    assert_eq!(cluster.state(&task).reason, expected);
    let told = cluster.written.iter().filter_map(|record| match record {
        Record::Result(result) => Some(result.reason.as_str()),
        Record::Assignment(attempt) => attempt.ended.as_ref().map(|(_, words)| words.as_str()),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [expected, expected]);
}

/// The worker is silent until its tasks are lost, and comes back.
fn goes_down(cluster: &mut Cluster, worker: &str) {
    cluster.pass_time(31_000, &[]);
    cluster.hello(worker, capacity(1, 0)).unwrap();
    cluster.heartbeat(worker, &[]);
}

#[test]
fn a_task_that_takes_its_workers_down_is_given_up_at_the_limit_and_names_them() {
    let settings = Settings {
        machine_failure_limit: 3,
        ..Settings::default()
    };
    let workers = [("a", capacity(1, 0))];
    let mut cluster = Cluster::with_settings(settings, &workers);
    let task = with_retries(&mut cluster, 9, None);
    for lost in 1..=2 {
        runs(&mut cluster, "a");
        goes_down(&mut cluster, "a");
        let state = cluster.state(&task);
        assert_eq!((state.failures, state.taken_down.len()), (0, lost));
    }
    // What was counted is stored.
    let mut cluster = cluster.restarted();
    cluster.hello("a", capacity(1, 0)).unwrap();
    let held = [AttemptId::new(task.clone(), 3)];
    cluster.heartbeat("a", &[(&held[0], Phase::Running)]);
    cluster.pass_time(31_000, &[]);
    let state = cluster.state(&task);
    assert_eq!(state.status, TaskStatus::Failed);
    assert_eq!(
        state.reason,
        "given up: 3 times a worker was lost or failed under it: a 3 times"
    );
    assert_eq!(cluster.core.live_count(), 0);
}

/// Whether a task's one result says that its log and its files are whole, or why not.
fn told_of_the_log(cluster: &Cluster) -> Whole {
    let results = cluster.written.iter().filter_map(|record| match record {
        Record::Result(result) => Some(result),
        _ => None,
    });
    let [result] = results.collect::<Vec<_>>()[..] else {
        panic!("{:?}", cluster.written);
    };
    assert_eq!(result.log, result.files);
    result.log.clone()
}

#[test]
fn a_result_that_no_worker_could_tell_doesn_t_call_log_and_files_whole() {
    let words = "what its worker had not sent by then is missing: worker a was lost";
    let missing = Whole::Incomplete(words.to_owned());
    // Given a task whose worker is lost while it is being cancelled,
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = with_retries(&mut cluster, 0, None);
    runs(&mut cluster, "a");
    cluster.cancel(&task).unwrap();
    cluster.pass_time(31_000, &[]);
    assert_eq!(cluster.state(&task).status, TaskStatus::Cancelled);
    assert_eq!(told_of_the_log(&cluster), missing);

    // one that is cancelled while it waits for another worker, in a master that is started again, too,
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = with_retries(&mut cluster, 0, None);
    runs(&mut cluster, "a");
    cluster.pass_time(31_000, &[]);
    let mut again = cluster.restarted();
    cluster.cancel(&task).unwrap();
    assert_eq!(told_of_the_log(&cluster), missing);
    again.cancel(&task).unwrap();
    assert_eq!(told_of_the_log(&again), missing);

    // then that is said; of one whose last attempt's end was told, and of one that never ran, it is not.
    let mut cluster = Cluster::with(&[("a", capacity(1, 0))]);
    let task = with_retries(&mut cluster, 1, None);
    runs(&mut cluster, "a");
    goes_down(&mut cluster, "a");
    let attempt = runs(&mut cluster, "a");
    cluster.finish("a", &attempt, Exit::Exited(1));
    cluster.cancel(&task).unwrap();
    assert_eq!(told_of_the_log(&cluster), Whole::Complete);
    let mut cluster = Cluster::new();
    let task = with_retries(&mut cluster, 0, None);
    cluster.cancel(&task).unwrap();
    assert_eq!(told_of_the_log(&cluster), Whole::Complete);
}

#[test]
fn a_container_that_went_down_with_its_machine_counts_and_one_that_was_stopped_in_order_does_not() {
    let settings = Settings {
        machine_failure_limit: 2,
        ..Settings::default()
    };
    // Its start is known, or not: it was found gone.
    let began = Some(cloudai_model::Wall(1));
    for (started_at, in_order) in [(began, false), (None, false), (began, true), (None, true)] {
        let workers = [("a", capacity(1, 0))];
        let mut cluster = Cluster::with_settings(settings.clone(), &workers);
        let task = cluster.submit(&cores(1.0)).task;
        for _ in 0..4 {
            if cluster.state(&task).status.is_final() {
                break;
            }
            let attempt = runs(&mut cluster, "a");
            let mut last = report(&attempt, Exit::Interrupted("its machine".into()));
            last.end.started_at = started_at;
            last.in_order = in_order;
            cluster.call(|call| Input::Finished {
                call,
                worker: id("a"),
                report: Box::new(last),
                log_tail: String::new(),
            });
            cluster.pass_time(10_000, &["a"]);
        }
        let failed = cluster.state(&task).status == TaskStatus::Failed;
        assert_eq!(failed, !in_order);
        let counted = cluster.state(&task).taken_down.len();
        assert_eq!(counted, if in_order { 0 } else { 2 });
    }
}

#[test]
fn what_admins_workers_and_masters_do_in_order_is_no_failure_of_a_machine() {
    let settings = Settings {
        machine_failure_limit: 1,
        ..Settings::default()
    };
    let workers = [("a", capacity(1, 0))];
    let mut cluster = Cluster::with_settings(settings, &workers);
    let task = cluster.submit(&cores(1.0)).task;
    for step in 0..5 {
        match step {
            // Refused, and taken later.
            0 => {
                let attempt = cluster.assigned().attempt;
                let answer = cloudai_core::AssignAnswer::Refused("full".into());
                cluster.step(Input::AssignAnswered { attempt, answer });
                cluster.pass_time(3000, &[]);
            }
            // Never confirmed, and not there when asked.
            1 => {
                let attempt = cluster.assigned().attempt;
                cluster.step(Input::StopAnswered {
                    attempt,
                    worker: id("a"),
                    answer: StopAnswer::NotHeld,
                });
            }
            // Unregistered while it runs.
            2 => {
                runs(&mut cluster, "a");
                cluster.remove_worker("a");
                cluster.add_worker("a");
                cluster.hello("a", capacity(1, 0)).unwrap();
            }
            // Drained while it runs: it goes on.
            3 => {
                runs(&mut cluster, "a");
                cluster.drain("a", true);
                cluster.pass_time(5000, &["a"]);
                cluster.drain("a", false);
            }
            // A master that is started again.
            _ => {
                cluster = cluster.restarted();
                cluster.hello("a", capacity(1, 0)).unwrap();
                let attempt = AttemptId::new(task.clone(), cluster.state(&task).attempt);
                cluster.heartbeat("a", &[(&attempt, Phase::Running)]);
                cluster.pass_time(40_000, &["a"]);
            }
        }
        let state = cluster.state(&task);
        assert!(!state.status.is_final(), "{step}: {state:?}");
        assert!(state.taken_down.is_empty(), "{step}: {state:?}");
    }
}
