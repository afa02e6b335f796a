//! A Docker Engine that is stopped, killed and started again under its worker. (One that can't be
//! reached for a while is in the tests of the worker.)

use std::time::Duration;

use cloudai_engine::HeldState;
use cloudai_model::{AttemptId, TaskDraft};
use cloudai_tests::{
    cluster::{Cluster, first},
    own_engine::OwnEngine,
    wait::until,
};
use serde_json::json;

use crate::task::{gated, let_go, shell};

/// The engine takes ten seconds to stop a container that won't.
const PATIENCE: Duration = Duration::from_secs(120);

/// A gated task for an engine of a test's own, where it needs no network.
fn gated_apart() -> TaskDraft {
    let mut draft = gated();
    draft.container.network = Some("none".to_owned());
    draft
}

async fn engine_ends_and_comes_back(kill: bool) {
    // Given a worker on an engine of its own, with a task
    let engine = OwnEngine::new().await;
    let mut cluster = Cluster::start().await;
    cluster
        .add_worker_with("worker-1", 1.0, |command| {
            command.env("DOCKER_HOST", engine.host());
        })
        .await;
    let draft = gated_apart();
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

    // Then that is no failure of the task, which runs again as soon as there is an engine, and is
    // counted with what takes its workers down,
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("✓ Docker Engine is back").await;
    until("the second attempt to run", async || {
        let entry = cluster.task(&task).await;
        assert_ne!(entry["status"], "failed", "{entry}");
        (entry["attempt"] == 2 && entry["status"] == "running").then_some(())
    })
    .await;
    let_go(&cluster, "worker-1", &AttemptId::new(task.clone(), 2));
    let entry = cluster
        .has_status_within(PATIENCE, &task, "completed")
        .await;
    assert_eq!(entry["taken_down"], json!(["worker-1"]), "{entry}");

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

/// The worker is away, too, so that nobody sees what becomes of its container.
async fn engine_ends_unseen_and_comes_back(kill: bool) {
    // Given a worker on an engine of its own, with a task
    let engine = OwnEngine::new().await;
    let mut cluster = Cluster::start_with("127.0.0.1", &["-lost-after", "600s"]).await;
    let host = engine.host();
    cluster
        .add_worker_with("worker-1", 1.0, |command| {
            command.env("DOCKER_HOST", &host);
        })
        .await;
    let task = cluster.submit_draft(gated_apart()).await;
    cluster.has_status(&task, "running").await;

    // When both end, and are back before the master takes the worker for lost
    cluster.kill_worker("worker-1").await;
    if kill {
        engine.kill().await;
    } else {
        engine.stop().await;
    }
    engine.start().await;
    cluster.restart_worker_with("worker-1", 1.0, |command| {
        command.env("DOCKER_HOST", &host);
    });

    // Then that is no failure of the task, which runs again.
    until("the second attempt to run", async || {
        let entry = cluster.task(&task).await;
        assert_ne!(entry["status"], "failed", "{entry}");
        (entry["attempt"] == 2 && entry["status"] == "running").then_some(())
    })
    .await;
    let_go(&cluster, "worker-1", &AttemptId::new(task.clone(), 2));
    let entry = cluster
        .has_status_within(PATIENCE, &task, "completed")
        .await;
    assert_eq!(entry["taken_down"], json!(["worker-1"]), "{entry}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_stopped_and_started_while_its_worker_is_away_fails_no_task() {
    engine_ends_unseen_and_comes_back(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_and_started_while_its_worker_is_away_fails_no_task() {
    engine_ends_unseen_and_comes_back(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_by_itself_while_its_worker_is_away_ends_as_it_did_whatever_its_code() {
    // Given tasks that will end with codes that an engine's end leaves, too
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let mut tasks = Vec::new();
    for code in [143, 137, 255] {
        let line = format!("while [ ! -e /output/go ]; do usleep 10000; done; exit {code}");
        let task = cluster.submit_draft(shell(&line)).await;
        cluster.has_status(&task, "running").await;
        tasks.push((task, code));
    }

    // When they do while their worker is away, under an engine that stays
    cluster.kill_worker("worker-1").await;
    for (task, _) in &tasks {
        let_go(&cluster, "worker-1", &first(task));
    }
    let (id, worker) = (cluster.id(), "worker-1".parse().unwrap());
    until("their containers to end", async || {
        let held = cluster.engine.list(&id, &worker).await.unwrap();
        let mut ended = held.iter().filter(|held| held.state == HeldState::Ended);
        (ended.by_ref().count() == tasks.len()).then_some(())
    })
    .await;
    cluster.restart_worker("worker-1", 2.0);

    // Then that is what they ended with.
    for (task, code) in &tasks {
        let entry = cluster.has_status(task, "failed").await;
        assert_eq!(
            (&entry["attempt"], &entry["exit_code"]),
            (&1.into(), &(*code).into()),
            "{entry}"
        );
    }
    cluster.end().await;
}
