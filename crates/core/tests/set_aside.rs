//! Workers on which several different tasks fail in a row.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use std::time::Duration;

use cloudai_core::{Event, Settings, WorkerChange, explain::Obstacle};
use cloudai_model::{Exit, TaskDraft, TaskStatus};
use cluster::{Cluster, capacity, draft, id, spec};

/// A task of this user and image ends so on this worker.
fn ends(cluster: &mut Cluster, worker: &str, user: &str, image: &str, exit: Exit) {
    let wanted = spec(TaskDraft {
        user_id: Some(user.into()),
        docker_image: image.into(),
        worker_id: Some(worker.into()),
        ..draft()
    });
    cluster.submit(&wanted);
    let attempt = cluster.assigned().attempt;
    cluster.finish(worker, &attempt, exit);
}

fn fails(cluster: &mut Cluster, worker: &str, user: &str) {
    ends(cluster, worker, user, "job", Exit::Exited(1));
}

fn is_aside(cluster: &Cluster, worker: &str) -> bool {
    let worker = cluster.core.registry().get(&id(worker)).unwrap();
    worker.set_aside.is_some()
}

fn aside_news(cluster: &mut Cluster) -> Vec<(String, Option<String>)> {
    let events = cluster.take_events().into_iter();
    let news = events.filter_map(|event| match event {
        Event::WorkerUpdated {
            worker,
            change: WorkerChange::SetAside(aside),
        } => Some((worker.to_string(), aside.map(|aside| aside.reason))),
        _ => None,
    });
    news.collect()
}

const USERS: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];

#[test]
fn a_worker_on_which_what_runs_well_elsewhere_fails_is_set_aside_and_comes_back() {
    let mut cluster = Cluster::with(&[("a", capacity(9, 0)), ("b", capacity(9, 0))]);
    // Given tasks of two sorts that run well on one worker,
    for user in ["ann", "bob"] {
        ends(&mut cluster, "a", user, "job", Exit::Exited(0));
    }
    cluster.take_events();

    // when five of them fail in a row on another,
    for user in ["ann", "bob", "ann", "bob"] {
        fails(&mut cluster, "b", user);
    }
    assert!(!is_aside(&cluster, "b"));
    fails(&mut cluster, "b", "ann");

    // then it is given nothing for a minute, and says why,
    assert!(is_aside(&cluster, "b"));
    let why = "5 different tasks in a row failed there, the last: exit code 1";
    let news = aside_news(&mut cluster);
    assert_eq!(news, [("b".to_owned(), Some(why.to_owned()))]);
    let waits = cluster.submit(&spec(TaskDraft {
        worker_id: Some("b".into()),
        ..draft()
    }));
    let waiting = waits.waiting.unwrap();
    assert_eq!(
        waiting.verdicts[1].obstacle,
        Some(Obstacle::SetAside(why.to_owned()))
    );
    cluster.pass_time(59_000, &["a", "b"]);
    assert_eq!(cluster.state(&waits.task).status, TaskStatus::Queued);

    // and then it has tasks again.
    cluster.pass_time(1500, &["a", "b"]);
    assert_eq!(aside_news(&mut cluster), [("b".to_owned(), None)]);
    assert_eq!(cluster.assigned().worker, id("b"));
}

#[test]
fn it_is_set_aside_for_twice_as_long_each_time_until_something_runs_well_there() {
    let settings = Settings {
        longest_aside: Duration::from_secs(300),
        ..Settings::default()
    };
    let workers = [("a", capacity(9, 0)), ("b", capacity(9, 0))];
    let mut cluster = Cluster::with_settings(settings, &workers);
    let span_s = |cluster: &mut Cluster| {
        for user in USERS {
            fails(cluster, "b", user);
        }
        let worker = cluster.core.registry().get(&id("b")).unwrap();
        let span = worker.set_aside.as_ref().unwrap().span.as_secs();
        cluster.pass_time(span * 1000 + 500, &["a", "b"]);
        assert!(!is_aside(cluster, "b"));
        span
    };
    let spans: Vec<_> = (0..5).map(|_| span_s(&mut cluster)).collect();
    assert_eq!(spans, [60, 120, 240, 300, 300]);
    ends(&mut cluster, "b", "ann", "job", Exit::Exited(0));
    assert_eq!(span_s(&mut cluster), 60);
}

#[test]
fn an_undrain_takes_it_back_at_once() {
    let mut cluster = Cluster::with(&[("a", capacity(9, 0)), ("b", capacity(9, 0))]);
    for user in USERS {
        fails(&mut cluster, "b", user);
    }
    assert!(is_aside(&cluster, "b"));
    cluster.take_events();
    cluster.drain("b", false);
    assert!(!is_aside(&cluster, "b"));
    assert_eq!(aside_news(&mut cluster), [("b".to_owned(), None)]);
    // With nothing held against it, and no news at the end of what would have been its time.
    fails(&mut cluster, "b", "ann");
    assert!(!is_aside(&cluster, "b"));
    cluster.pass_time(61_000, &["a", "b"]);
    assert!(aside_news(&mut cluster).is_empty());
}

#[test]
fn one_users_batch_of_failing_tasks_takes_no_worker_out() {
    let workers = ["a", "b", "c", "d"].map(|worker| (worker, capacity(9, 0)));
    let mut cluster = Cluster::with(&workers);
    for n in 0..1000 {
        let wanted = spec(TaskDraft {
            user_id: Some("eve".into()),
            // A hundred images, none of which works.
            docker_image: format!("broken:{}", n % 100),
            ..draft()
        });
        cluster.submit(&wanted);
        let given = cluster.assigned();
        cluster.finish(given.worker.as_str(), &given.attempt, Exit::Exited(1));
        assert!(
            workers
                .iter()
                .all(|(worker, _)| !is_aside(&cluster, worker)),
            "{n}"
        );
    }
}

#[test]
fn at_most_half_of_the_active_workers_are_set_aside_and_never_the_only_one() {
    let mut cluster = Cluster::with(&[("a", capacity(9, 0))]);
    for user in USERS.iter().chain(&USERS) {
        fails(&mut cluster, "a", user);
    }
    assert!(!is_aside(&cluster, "a"));

    let workers = ["a", "b", "c"].map(|worker| (worker, capacity(9, 0)));
    let mut cluster = Cluster::with(&workers);
    for (worker, _) in workers {
        for user in USERS {
            // Of images of their own, so that nothing is known of them elsewhere.
            ends(&mut cluster, worker, user, worker, Exit::Exited(1));
        }
    }
    let aside = workers
        .iter()
        .filter(|(worker, _)| is_aside(&cluster, worker));
    assert_eq!(aside.count(), 1);
}

#[test]
fn own_limits_stops_and_successes_in_between_say_nothing() {
    let mut cluster = Cluster::with(&[("a", capacity(9, 0)), ("b", capacity(9, 0))]);
    for user in USERS.iter().chain(&USERS) {
        ends(&mut cluster, "b", user, "job", Exit::OutOfMemory);
        ends(
            &mut cluster,
            "b",
            user,
            "job",
            Exit::Stopped("over its disk".into()),
        );
    }
    for user in USERS.iter().chain(&USERS) {
        fails(&mut cluster, "b", user);
        if matches!(*user, "bob" | "dan") {
            ends(&mut cluster, "b", "fay", "job", Exit::Exited(0));
        }
    }
    assert!(!is_aside(&cluster, "b"));
    // Switched off, nobody is.
    let settings = Settings {
        set_aside_after: 0,
        ..Settings::default()
    };
    let workers = [("a", capacity(9, 0)), ("b", capacity(9, 0))];
    let mut cluster = Cluster::with_settings(settings, &workers);
    for user in USERS.iter().chain(&USERS) {
        fails(&mut cluster, "b", user);
    }
    assert!(!is_aside(&cluster, "b"));
}

#[test]
fn a_worker_that_is_unregistered_takes_its_past_along() {
    let mut cluster = Cluster::with(&[("a", capacity(9, 0)), ("b", capacity(9, 0))]);
    for user in USERS {
        fails(&mut cluster, "b", user);
    }
    cluster.remove_worker("b");
    cluster.add_worker("b");
    cluster.hello("b", capacity(9, 0)).unwrap();
    assert!(!is_aside(&cluster, "b"));
    cluster.take_events();
    cluster.pass_time(61_000, &["a", "b"]);
    assert!(aside_news(&mut cluster).is_empty());
}
