//! Draining, and the two views of the cluster: what is promised and what workers said.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod cluster;

use cloudai_core::{
    Answer, Event, Input, WorkerChange,
    explain::Outlook,
    inspect::{Deed, Difference, Inspection, Mended},
    lifecycle::AttemptState,
};
use cloudai_model::{AttemptId, Phase, TaskId, TaskStatus, WorkerStatus};
use cluster::{Cluster, capacity, cores, id};

fn inspect(cluster: &mut Cluster) -> Inspection {
    match cluster.call(|call| Input::Inspect { call }) {
        Answer::Inspected(Ok(inspection)) => inspection,
        other => panic!("{other:?}"),
    }
}

fn mend(cluster: &mut Cluster) -> Vec<Mended> {
    match cluster.call(|call| Input::Mend { call }) {
        Answer::Mended(Ok(mended)) => mended,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_draining_worker_ends_what_it_has_and_gets_nothing_new_also_after_a_restart() {
    let mut cluster = Cluster::with(&[("a", capacity(2, 0))]);
    cluster.submit(&cores(1.0));
    let running = cluster.assigned().attempt;
    assert_eq!(cluster.drain("a", true), std::slice::from_ref(&running));

    let waiting = cluster.submit(&cores(1.0));
    let why = waiting.waiting.unwrap();
    assert_eq!(
        (why.outlook, &*why.summary),
        (Outlook::Later, "a: draining")
    );
    let worker = cluster.core.registry().get(&id("a")).unwrap();
    assert_eq!(worker.status(), WorkerStatus::Draining);
    assert!(cluster.take_stops().is_empty(), "what runs goes on");

    let mut cluster = cluster.restarted();
    cluster.hello("a", capacity(2, 0)).unwrap();
    cluster.heartbeat("a", &[(&running, Phase::Running)]);
    assert!(cluster.take_assignments().is_empty());
    cluster.drain("a", false);
    assert_eq!(cluster.assigned().attempt.task, waiting.task);
    let events = cluster.take_events();
    assert!(events.contains(&Event::WorkerUpdated {
        worker: id("a"),
        change: WorkerChange::Draining(false)
    }));
}

#[test]
fn both_views_are_told_with_their_differences() {
    let mut cluster = Cluster::with(&[("a", capacity(4, 0))]);
    let held = cluster.submit(&cores(1.0)).task;
    cluster.submit(&cores(1.0));
    let [first, second] = cluster.take_assignments().try_into().unwrap();
    cluster.accepted(&first.attempt);
    let stranger = AttemptId::new(TaskId::numbered(99), 3);
    let before = first.sequence;
    cluster.heartbeat_with(
        "a",
        &[
            (&first.attempt, Phase::Running),
            (&stranger, Phase::Pulling),
        ],
        Some(before),
        "first",
    );

    let inspection = inspect(&mut cluster);

    assert_eq!((inspection.live, inspection.waiting), (2, 0));
    let [a] = inspection.workers.as_slice() else {
        panic!("{inspection:?}")
    };
    let promises: Vec<_> = a
        .promises
        .iter()
        .map(|promise| (&promise.attempt, promise.state.unwrap(), promise.said))
        .collect();
    assert_eq!(
        promises,
        [
            (&first.attempt, AttemptState::Running, Some(Phase::Running)),
            (&second.attempt, AttemptState::Sent, None)
        ]
    );
    assert_eq!(
        a.differences,
        [
            Difference::Missing(second.attempt.clone()),
            Difference::Unwanted(stranger.clone(), Phase::Pulling)
        ]
    );
    assert_eq!(cluster.state(&held).status, TaskStatus::Running);
}

#[test]
fn mending_stops_what_is_unwanted_and_leaves_alone_what_may_be_on_its_way() {
    let mut cluster = Cluster::with(&[("a", capacity(4, 0))]);
    cluster.submit(&cores(1.0));
    let on_its_way = cluster.assigned();
    let stranger = AttemptId::new(TaskId::numbered(99), 3);
    cluster.heartbeat_with("a", &[(&stranger, Phase::Running)], Some(0), "first");
    cluster.take_stops();

    let mended = mend(&mut cluster);

    let on_a = |difference, deed| Mended {
        worker: id("a"),
        difference,
        deed,
    };
    assert_eq!(
        mended,
        [
            on_a(Difference::Missing(on_its_way.attempt.clone()), None),
            on_a(
                Difference::Unwanted(stranger.clone(), Phase::Running),
                Some(Deed::StopAsked)
            )
        ]
    );
    let stops = cluster.take_stops();
    assert_eq!(stops.len(), 1);
    assert_eq!(stops[0].attempt, stranger);
    assert_eq!(
        inspect(&mut cluster).workers[0].promises[0].attempt,
        on_its_way.attempt
    );
}
