//! Several tasks in one submit: all of them, or none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use cloudai_core::{
    BatchRefused, Core, Input, Settings, SubmitError, SubmitManyError, TaskClass,
    policy::{Placement, Policy, RoundRobin, View},
};
use cloudai_model::{TaskDraft, TaskId, TaskStatus, UserLimits, record::Record};
use cluster::{Cluster, capacity, cores, draft, id, of, spec};

fn added(cluster: &Cluster) -> Vec<TaskId> {
    let added = cluster.written.iter().filter_map(|record| match record {
        Record::TaskAdded(task) => Some(task.task.clone()),
        _ => None,
    });
    added.collect()
}

fn refused(error: &SubmitManyError) -> Vec<(usize, &SubmitError)> {
    let SubmitManyError::Refused(refused) = error else {
        panic!("{error:?}")
    };
    let refused = refused.iter();
    refused
        .map(|one: &BatchRefused| (one.index, &one.error))
        .collect()
}

#[test]
fn a_batch_gets_its_ids_in_order_and_is_placed_in_one_step() {
    let mut cluster = Cluster::with(&[("a", capacity(2, 0))]);
    let held = spec(TaskDraft {
        hold: true,
        ..draft()
    });
    let specs = [cores(1.0), held, cores(1.0), cores(1.0)];

    let taken = cluster.submit_many(&specs).unwrap();

    let ids: Vec<_> = taken.iter().map(|taken| taken.task.clone()).collect();
    assert!(ids.is_sorted() && ids.windows(2).all(|two| two[0] != two[1]));
    assert_eq!(added(&cluster), ids);
    let statuses: Vec<_> = taken
        .iter()
        .map(|taken| (taken.status, taken.worker.clone(), taken.reason.as_str()))
        .collect();
    let a = Some(id("a"));
    assert_eq!(
        statuses,
        [
            (TaskStatus::Pending, a.clone(), ""),
            (TaskStatus::Queued, None, "on hold"),
            (TaskStatus::Pending, a, ""),
            (TaskStatus::Queued, None, "a: CPU short by 1 core"),
        ]
    );
    let given = cluster.take_assignments().into_iter();
    let given: Vec<_> = given.map(|given| given.attempt.task).collect();
    assert_eq!(given, [ids[0].clone(), ids[2].clone()]);
    // The first record of each says how it stands; nothing of it is written twice.
    let twice = |record: &Record| matches!(record, Record::TaskChanged(..));
    assert!(!cluster.written.iter().any(twice));
    for (taken, spec) in taken.iter().zip(&specs) {
        assert_eq!(cluster.state(&taken.task).status, taken.status);
        assert_eq!(taken.reason, cluster.state(&taken.task).reason);
        let kept = cluster.written.iter().any(|record| {
            matches!(record, Record::TaskAdded(added) if added.task == taken.task && added.spec == **spec)
        });
        assert!(kept);
    }
    // Each record of a task comes before those of its attempts.
    let mut restarted = cluster.restarted();
    assert_eq!(restarted.core.live_count(), 4);
    let next = restarted.submit(&cores(1.0)).task;
    assert!(ids.iter().all(|id| *id < next));
}

#[test]
fn one_bad_task_keeps_all_out_and_each_is_named() {
    let mut cluster = Cluster::with(&[("a", capacity(8, 0))]);
    let limits = UserLimits {
        queued_tasks: Some(2),
        cpu_milli: Some(2000),
        ..UserLimits::default()
    };
    cluster.set_limits("alice", limits);
    let nowhere = spec(TaskDraft {
        worker_id: Some("nowhere".into()),
        ..draft()
    });
    let batch = [
        cores(1.0),
        nowhere,
        of("alice", 1.0),
        of("alice", 3.0),
        of("alice", 1.0),
    ];
    cluster.effects.clear();
    let written = cluster.written.len();

    let error = cluster.submit_many(&batch).unwrap_err();

    let refused = refused(&error);
    let places: Vec<_> = refused.iter().map(|(index, _)| *index).collect();
    assert_eq!(places, [1, 3, 4]);
    assert!(matches!(refused[0].1, SubmitError::UnknownTarget(_)));
    assert!(matches!(refused[1].1, SubmitError::BeyondLimit(_)));
    assert!(matches!(
        refused[2].1,
        SubmitError::UserQueueFull { limit: 2, .. }
    ));
    assert_eq!(
        error.to_string(),
        "3 of the tasks can't be taken, so none was: task 1: worker nowhere is not registered: \
         register it first, or name no worker; task 3: alice may use 2 cores at a time, and this needs \
         3: ask for less, or an admin for a higher limit; task 4: alice may have 2 tasks waiting at a \
         time: try again when some have been started, or cancel some"
    );
    assert_eq!((cluster.written.len(), cluster.effects.len()), (written, 0));
    assert_eq!(cluster.core.live_count(), 0);
}

#[test]
fn a_batch_beyond_the_queue_is_refused_whole() {
    let settings = Settings {
        queue_limit: 5,
        ..Settings::default()
    };
    let mut cluster = Cluster::with_settings(settings, &[]);
    let batch = |tasks| vec![cores(1.0); tasks];
    assert_eq!(cluster.submit_many(&batch(3)).unwrap().len(), 3);
    let error = cluster.submit_many(&batch(3)).unwrap_err();
    assert_eq!(error, SubmitManyError::QueueFull { room: 2, tasks: 3 });
    assert_eq!(cluster.core.live_count(), 3);
    assert_eq!(cluster.submit_many(&batch(2)).unwrap().len(), 2);
    cluster.step(Input::HoldUp(Some(Arc::from("no room on the disk"))));
    let error = cluster.submit_many(&batch(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no new task is taken: no room on the disk"
    );
}

#[test]
fn before_the_store_is_read_no_batch_is_taken() {
    let mut cluster = Cluster::unread();
    let error = cluster.submit_many(&[cores(1.0)]).unwrap_err();
    assert!(matches!(error, SubmitManyError::NotReady(_)));
}

/// Round-robin that counts how often it is asked.
struct Counting(Arc<AtomicUsize>);

impl Policy for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn description(&self) -> &'static str {
        "round-robin that counts how often it is asked"
    }

    fn place(&self, class: &TaskClass, view: View<'_>) -> Option<Placement> {
        self.0.fetch_add(1, Ordering::Relaxed);
        RoundRobin.place(class, view)
    }
}

/// Ten thousand at once that all differ, of ten users, into a cluster that is full: the other inputs must
/// not wait for long.
#[test]
fn of_ten_thousand_shapes_at_once_the_first_shows_that_nothing_is_free() {
    let asked = Arc::new(AtomicUsize::new(0));
    let policy = Box::new(Counting(asked.clone()));
    let mut cluster = Cluster::unread();
    cluster.core = Core::new(Settings::default(), policy, "c-1".parse().unwrap());
    cluster.step(Input::Restored {
        highest_task_number: None,
        highest_order: 0,
    });
    cluster.add_worker("a");
    cluster.hello("a", capacity(1, 0)).unwrap();
    cluster.submit(&of("u3", 1.0));
    // One user of the ten is at a limit, and no worker is asked about that.
    cluster.set_limits(
        "u3",
        UserLimits {
            cpu_milli: Some(11_000),
            ..UserLimits::default()
        },
    );
    let specs: Vec<_> = (0..10_000_u32)
        .map(|n| of(&format!("u{}", n % 10), 1.0 + f64::from(n) / 1000.0))
        .collect();
    asked.store(0, Ordering::Relaxed);

    let taken = cluster.submit_many(&specs).unwrap();

    assert_eq!(taken.len(), 10_000);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
