//! Containers of this worker that no attempt of it has: `crates/worker/src/sweep.rs`.

use std::rc::Rc;

use cloudai_worker_core::{Input, Labelled};

use super::WorkerShell;

const INTERVAL_MS: u64 = 30_000;

/// Tells the core now and then what the engine has of this worker, once a cluster is known.
pub(super) async fn keep(shell: Rc<WorkerShell>) {
    let world = shell.world.clone();
    loop {
        let cluster = shell.cluster.wait_for(Option::clone).await;
        shell.engine_ready().await;
        if let Ok(found) = world.list_containers(shell.index).await {
            let labelled = found.into_iter().map(|attempt| Labelled {
                cluster: cluster.clone(),
                attempt,
            });
            shell.tell(Input::Containers(labelled.collect()));
        }
        world.sim.sleep(INTERVAL_MS).await;
    }
}

/// Removes one that nobody wants. An engine that is away is not waited for without end: the next look
/// finds it again.
pub(super) async fn remove(shell: Rc<WorkerShell>, orphan: Labelled) {
    if shell.engine_ready_soon().await.is_ok() {
        let (world, attempt) = (&shell.world, &orphan.attempt);
        let removed = world.remove_container(shell.index, attempt).await;
        let _ = removed.is_ok();
    }
    shell.tell(Input::OrphanDone(orphan));
}
