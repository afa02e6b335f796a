//! A Docker Engine that is stopped, killed and started again under its worker. (One that can't be
//! reached for a while is in the tests of the worker.)

use std::time::Duration;

use cloudai_model::AttemptId;
use cloudai_tests::{cluster::Cluster, own_engine::OwnEngine, wait::until};

use crate::task::{gated, let_go};

/// The engine takes ten seconds to stop a container that won't.
const PATIENCE: Duration = Duration::from_secs(120);

async fn engine_ends_and_comes_back(kill: bool) {
    // Given a worker on an engine of its own, with a task
    let engine = OwnEngine::new().await;
    let mut cluster = Cluster::start().await;
    cluster
        .add_worker_with("worker-1", 1.0, |command| {
            command.env("DOCKER_HOST", engine.host());
        })
        .await;
    let mut draft = gated();
    // That engine has no bridge.
    draft.container.network = Some("none".to_owned());
    let task = cluster.submit_draft(draft.clone()).await;
    cluster.has_status(&task, "running").await;

    // When the engine ends, and takes its containers with it
    if kill {
        engine.kill().await;
    } else {
        engine.stop().await;
    }
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("takes no tasks until it answers").await;
    until("the master to know", async || {
        let workers = cluster.json("workers").await;
        let reason = workers[0]["reason"].as_str()?.to_owned();
        (!reason.is_empty()).then_some(())
    })
    .await;
    let waits = cluster.submit_draft(draft).await;
    assert_eq!(cluster.task(&waits).await["status"], "queued");
    engine.start().await;

    // Then that is no failure of the task, which runs again as soon as there is an engine,
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("✓ Docker Engine is back").await;
    until("the second attempt to run", async || {
        let entry = cluster.task(&task).await;
        assert_ne!(entry["status"], "failed", "{entry}");
        (entry["attempt"] == 2 && entry["status"] == "running").then_some(())
    })
    .await;
    let_go(&cluster, "worker-1", &AttemptId::new(task.clone(), 2));
    cluster
        .has_status_within(PATIENCE, &task, "completed")
        .await;

    // and so does what came meanwhile; nothing is left behind.
    let entry = cluster.has_status_within(PATIENCE, &waits, "running").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    let_go(&cluster, "worker-1", &AttemptId::new(waits.clone(), 1));
    cluster
        .has_status_within(PATIENCE, &waits, "completed")
        .await;
    let client = engine.client().await;
    let (id, worker) = (cluster.id(), "worker-1".parse().unwrap());
    until("no container to be left", async || {
        let left = client.list(&id, &worker).await.unwrap();
        left.is_empty().then_some(())
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_stopped_and_started_costs_its_tasks_time_and_no_failure() {
    engine_ends_and_comes_back(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_and_started_costs_its_tasks_time_and_no_failure() {
    engine_ends_and_comes_back(true).await;
}
