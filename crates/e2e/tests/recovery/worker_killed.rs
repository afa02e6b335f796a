//! A worker that is killed in each phase of an attempt, and at any instant.

use std::time::Duration;

use cloudai_engine::HeldState;
use cloudai_model::{Command, TaskDraft};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    engine::containers,
    registry::Registry,
    relay::{ENGINE, End, Relay},
    wait::until,
};
use tokio::time::sleep;

use crate::task::{is_whole, some, telling};

#[tokio::test(flavor = "multi_thread")]
async fn while_it_pulls_the_next_one_pulls_on() {
    // Given an image on a slow line
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let registry = Registry::open().await;
    registry.put("app", "1", 16).await;
    let relay = Relay::over_tcp(End::Tcp(registry.address)).await;
    relay.allow(8 << 20);
    let draft = TaskDraft {
        docker_image: format!("{}/app:1", relay.address()),
        command: Command::Image,
        ..test_task(&[])
    };
    let task = cluster.submit_draft(draft).await;
    until("the pull to be under way", async || {
        let entry = cluster.task(&task).await;
        let reason = entry["reason"].as_str().unwrap().to_owned();
        reason.contains("of 16.0 MB").then_some(())
    })
    .await;

    cluster.kill_worker("worker-1").await;
    cluster.restart_worker("worker-1", 2.0);
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("Taking up 1 task(s) of an earlier run").await;
    relay.allow(u64::MAX / 2);
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    cluster.end().await;
}

/// Kills the worker after the engine has made its container's state so and before the worker can
/// have heard of it: what the engine answers is let through in small pieces.
async fn killed_when(state: HeldState) {
    let mut cluster = Cluster::start().await;
    let near = End::Unix(cluster.path("engine.sock"));
    let relay = Relay::new(near, End::Unix(ENGINE.into())).await;
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.env("DOCKER_HOST", relay.host());
        })
        .await;
    relay.allow(0);
    let task = cluster.submit_draft(telling(20, 50, 100)).await;
    let id = cluster.id();
    until("the container to stand so", async || {
        let held = containers(&cluster.engine, &id, "worker-1").await;
        let stands = held.iter().any(|held| held.state == state);
        if !stands {
            relay.allow(200);
        }
        stands.then_some(())
    })
    .await;
    cluster.kill_worker("worker-1").await;
    assert_eq!(cluster.container_count("worker-1").await, 1);

    // Then the next process takes that very container up.
    relay.allow(u64::MAX / 2);
    cluster.restart_worker("worker-1", 2.0);
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    is_whole(&mut cluster, &task, 20, &entry).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_its_container_is_made_and_it_has_not_heard_of_it() {
    killed_when(HeldState::Created).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_its_container_runs_and_it_has_not_heard_of_it() {
    killed_when(HeldState::Running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_sends_files_the_next_one_sends_them_whole() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let mut killed = 0;
    // It must be met while it sends; a machine that is quick just then may need another go.
    for _ in 0..5 {
        let task = cluster.submit_draft(telling(1, 1, 96 * 1024)).await;
        let sends = until("the files to be on their way, or there", async || {
            let entry = cluster.task(&task).await;
            let phase = entry["phase"].as_str().unwrap().to_owned();
            match &*phase {
                "uploading" => Some(true),
                "done" => Some(false),
                _ => None,
            }
        })
        .await;
        if sends {
            cluster.kill_worker("worker-1").await;
            let entry = cluster.task(&task).await;
            killed += u32::from(entry["phase"] == "uploading");
            cluster.restart_worker("worker-1", 2.0);
        }
        let entry = cluster
            .has_status_within(Duration::from_secs(120), &task, "completed")
            .await;
        assert_eq!(entry["attempt"], 1, "{entry}");
        is_whole(&mut cluster, &task, 1, &entry).await;
        if killed > 0 {
            break;
        }
    }
    assert!(killed > 0, "it was never met while it sent");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_any_instant_nothing_is_lost_and_nothing_runs_twice_at_a_time() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let mut tasks = Vec::new();
    for _ in 0..10 {
        tasks.push(cluster.submit_draft(telling(10, 40, 100)).await);
        sleep(some(Duration::from_millis(1500))).await;
        cluster.kill_worker("worker-1").await;
        cluster.restart_worker("worker-1", 2.0);
        let worker = cluster.workers.get_mut("worker-1").unwrap();
        worker.says("gRPC server listening").await;
    }
    for task in &tasks {
        let entry = cluster.has_status(task, "completed").await;
        is_whole(&mut cluster, task, 10, &entry).await;
    }
    cluster.end().await;
}
