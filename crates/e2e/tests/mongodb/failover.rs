//! A replica set of three whose primary steps down and is killed under a stream of submits.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use cloudai_store::mongod::ReplicaSet;
use cloudai_tests::{cluster::Cluster, wait::until};

use crate::{IMPATIENT, blocking, is_well, listed, submit_once};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_there_once_when_primaries_step_down_and_are_killed() {
    // Given a stream of submits to a master on a replica set,
    let set = blocking(ReplicaSet::start);
    let uri = set.settings().uri.unwrap();
    let mut cluster = Cluster::start_in("127.0.0.1", &IMPATIENT, &[("MONGODB_URI", &uri)]).await;
    let (count, stop) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut client = cluster.client().await;
    let stream = tokio::spawn({
        let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
        async move {
            let mut accepted = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                // Nothing is refused, whatever happens behind.
                let (task, _) = submit_once(&mut client).await.unwrap();
                accepted.push(task);
                count.store(accepted.len(), Ordering::Relaxed);
            }
            accepted
        }
    });
    let more = async |more: usize| {
        let goal = count.load(Ordering::Relaxed) + more;
        until("more to be accepted", async || {
            (count.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    };

    // when the primary steps down and is killed, twice,
    for _ in 0..2 {
        more(50).await;
        set.step_down().await;
        more(50).await;
        let primary = set.primary().await;
        blocking(|| primary.kill());
        more(50).await;
        blocking(|| primary.again());
    }
    more(50).await;
    stop.store(true, Ordering::Relaxed);
    let accepted = stream.await.unwrap();
    is_well(&cluster).await;

    // then all that was accepted is there, once, in order, and nothing else; after a restart, too.
    assert_eq!(listed(&mut cluster).await, accepted);
    cluster.kill_master().await;
    cluster.restart_master().await;
    is_well(&cluster).await;
    assert_eq!(listed(&mut cluster).await, accepted);
    cluster.master.signal("TERM").await;
    assert_eq!(cluster.master.ends().await, Some(0));
}
