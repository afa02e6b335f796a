//! Containers and volumes of this worker that no attempt of it has: left behind when the spool was
//! lost, or by a removal that was given up.
//!
//! Several workers, and several clusters, may share an engine. What is looked at has this worker's
//! own id in its labels, and the cluster where it is registered, or the one that stood for an old
//! master and that this data directory alone has ever used. What another worker of the cluster left
//! is that worker's, also while it is away: it may come back and take it up.

use std::time::Duration;

use cloudai_engine::{Engine, EngineError};
use cloudai_model::ClusterId;
use cloudai_worker_core::{Input, Labelled};

use crate::{console, context::Context, engine_link};

/// How often the engine's containers are compared with what the core holds, at most.
const INTERVAL: Duration = Duration::from_secs(30);
/// And at least, however short the grace is.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// Tells the core now and then what the engine has of this worker, once a cluster is known.
pub(crate) async fn keep(context: Context) {
    let interval = context.settings.orphan_grace / 2;
    let interval = interval.clamp(LEAST_INTERVAL, INTERVAL);
    let mut cluster = context.master.watch_cluster();
    loop {
        let known = cluster.borrow_and_update().clone();
        let Some(known) = known else {
            if cluster.changed().await.is_err() {
                return;
            }
            continue;
        };
        let engine = context.engine.ready().await;
        match find(&context, &engine, known).await {
            Ok(found) => context.core.tell(Input::Containers(found)),
            Err(error) => tracing::debug!(%error, "containers can't be listed"),
        }
        tokio::time::sleep(interval).await;
    }
}

async fn find(
    context: &Context,
    engine: &Engine,
    cluster: ClusterId,
) -> Result<Vec<Labelled>, EngineError> {
    let worker = &context.settings.id;
    let mut clusters = vec![cluster];
    if clusters[0] != context.old_cluster {
        clusters.push(context.old_cluster.clone());
    }
    let mut found = Vec::new();
    for cluster in clusters {
        let containers = engine.list(&cluster, worker).await?;
        let attempts = containers.into_iter().map(|held| held.attempt);
        // A volume may be left without its container.
        let volumes = engine.volumes(&cluster, worker).await?;
        found.extend(attempts.chain(volumes).map(|attempt| Labelled {
            cluster: cluster.clone(),
            attempt,
        }));
    }
    Ok(found)
}

/// Removes one that nobody wants. The core takes no attempt of its name meanwhile, so an engine that is
/// away is not waited for without end: the next look finds it again.
pub(crate) async fn remove(context: Context, orphan: Labelled) {
    if let Ok(engine) = context.engine.ready_soon().await {
        remove_from(&context, &engine, &orphan).await;
    }
    context.core.tell(Input::OrphanDone(orphan));
}

async fn remove_from(context: &Context, engine: &Engine, orphan: &Labelled) {
    let Labelled { cluster, attempt } = orphan;
    let worker = &context.settings.id;
    let removed = async {
        let held = engine_link::find(engine, cluster, worker, attempt).await?;
        if let Some(held) = &held {
            engine.remove(&held.id).await?;
        }
        let had_volume = engine.remove_volume(cluster, attempt).await?;
        Ok::<_, EngineError>((held.is_some(), had_volume))
    };
    let what = match removed.await {
        Ok((true, _)) => "container",
        Ok((false, true)) => "volume",
        // Somebody else was quicker.
        Ok((false, false)) => return,
        Err(error) => {
            tracing::warn!(%attempt, %error, "a container that nobody wants can't be removed");
            return;
        }
    };
    console::line(format_args!(
        "⚠ Removed a {what} of attempt {attempt} of cluster {cluster}, which nobody wants"
    ));
}
