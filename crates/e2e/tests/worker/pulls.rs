//! Images from a real registry: progress by layer, credentials, and what can go wrong on the way.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cloudai_model::{Command, TaskDraft, TaskId};
use cloudai_tests::{
    cluster::{Cluster, first, test_task},
    registry::{PASSWORD, Registry, USER},
    relay::{End, Relay},
    wait::until,
};
use serde_json::{Value, json};

/// The engine asks a registry that broke off five times, later each time, for 50 s together.
const ENGINE_RETRIES: Duration = Duration::from_secs(150);

/// A task of an image in this registry that says hello.
async fn submit(cluster: &mut Cluster, registry: SocketAddr, image: &str) -> TaskId {
    let draft = TaskDraft {
        docker_image: format!("{registry}/{image}"),
        command: Command::Image,
        ..test_task(&[])
    };
    cluster.submit_draft(draft).await
}

/// A folder with the file that `docker login` writes.
fn docker_config(cluster: &Cluster, registry: SocketAddr, password: &str) -> PathBuf {
    let folder = cluster.path("docker-config");
    std::fs::create_dir_all(&folder).unwrap();
    let auth = STANDARD.encode(format!("{USER}:{password}"));
    let config = json!({"auths": {registry.to_string(): {"auth": auth}}});
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    folder
}

/// Waits until the listing says this of a task that is being pulled.
async fn is_said(cluster: &mut Cluster, task: &TaskId, words: &str) -> Value {
    until(&format!("{words:?} in the listing"), async || {
        let entry = cluster.task(task).await;
        assert_ne!(entry["status"], "failed", "{entry}");
        let reason = entry["reason"].as_str().unwrap();
        reason.contains(words).then(|| entry.clone())
    })
    .await
}

fn reason(entry: &Value) -> &str {
    entry["reason"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_seen_layer_by_layer_in_the_listing_and_by_whoever_watches() {
    // Given a registry on a slow line
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let registry = Registry::open().await;
    let digest = registry.put("team/app", "1", 16).await;
    let relay = Relay::over_tcp(End::Tcp(registry.address)).await;
    relay.allow(8 << 20);

    // When a task needs an image from there
    let task = submit(&mut cluster, relay.address(), "team/app:1").await;

    // Then both see how far it is, in layers and in bytes
    let entry = is_said(&mut cluster, &task, "of 16.0 MB").await;
    assert_eq!(
        (&entry["status"], &entry["phase"]),
        (&json!("pending"), &json!("pulling"))
    );
    assert!(reason(&entry).contains("of 2 layers; "), "{entry}");
    assert!(reason(&entry).contains(" downloading "), "{entry}");
    cluster.master.type_line(&format!("monitor {task}")).await;
    let monitored = format!("Task {task} pending on worker-1: pulling: ");
    let line = cluster.master.says(&monitored).await;
    assert!(line.contains("of 2 layers; "), "{line}");

    // And when the line is good again, it runs
    relay.allow(u64::MAX / 2);
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["image_digest"], json!(digest), "{entry}");
    let log = cluster.client().await.follow(&first(&task), |_| {}).await;
    assert_eq!(log.stdout, b"hello from a registry\n");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_image_needs_the_credentials_of_the_workers_docker_config() {
    let mut cluster = Cluster::start().await;
    let registry = Registry::with_password().await;
    registry.put("secret/app", "1", 0).await;

    // Without: refused, with what to do
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.env("DOCKER_CONFIG", "/nonexistent");
        })
        .await;
    let task = submit(&mut cluster, registry.address, "secret/app:1").await;
    let entry = cluster.has_status(&task, "failed").await;
    assert!(reason(&entry).contains("docker login"), "{entry}");
    assert_eq!(entry["exit_code"], Value::Null);

    // With wrong ones: refused, and not told to log in
    let folder = docker_config(&cluster, registry.address, "wrong");
    cluster.workers.remove("worker-1").unwrap().kill().await;
    cluster.restart_worker_with("worker-1", 2.0, |command| {
        command.env("DOCKER_CONFIG", &folder);
    });
    let task = submit(&mut cluster, registry.address, "secret/app:1").await;
    let entry = cluster.has_status(&task, "failed").await;
    let expected = format!("was refused by {}: ", registry.address);
    assert!(reason(&entry).contains(&expected), "{entry}");
    assert!(
        reason(&entry).contains("the credentials of this worker's Docker config"),
        "{entry}"
    );

    // With the right ones, which the worker reads anew for each pull: it runs
    docker_config(&cluster, registry.address, PASSWORD);
    let task = submit(&mut cluster, registry.address, "secret/app:1").await;
    cluster.has_status(&task, "completed").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_a_registry_and_a_registry_that_is_not_there_are_told_apart() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let registry = Registry::open().await;
    registry.put("app", "1", 0).await;
    let nobody: SocketAddr = ([127, 0, 0, 1], cloudai_tests::cluster::free_port()).into();
    for (address, image, expected) in [
        (
            registry.address,
            "app:2",
            "does not exist in its registry; check name and tag",
        ),
        (
            registry.address,
            "nothing:1",
            "does not exist in its registry; check name and tag",
        ),
        (nobody, "app:1", "is not reachable from this worker"),
    ] {
        let task = submit(&mut cluster, address, image).await;
        let entry = cluster.has_status(&task, "failed").await;
        assert!(reason(&entry).contains(expected), "{entry}");
        assert!(
            reason(&entry).contains(&format!("{address}/{image}")),
            "{entry}"
        );
        assert_eq!(
            (&entry["exit_code"], &entry["started_at"]),
            (&Value::Null, &Value::Null)
        );
    }
    assert_eq!(cluster.container_count("worker-1").await, 0);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_goes_down_midway_and_comes_back_only_costs_time() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let registry = Registry::open().await;
    registry.put("app", "1", 16).await;
    let mut relay = Relay::over_tcp(End::Tcp(registry.address)).await;
    relay.allow(8 << 20);
    let task = submit(&mut cluster, relay.address(), "app:1").await;
    is_said(&mut cluster, &task, "of 16.0 MB").await;

    relay.cut().await;
    is_said(&mut cluster, &task, "lost its registry, tried again in").await;
    relay.mend().await;
    cluster
        .has_status_within(ENGINE_RETRIES, &task, "completed")
        .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_goes_down_midway_for_good_fails_the_task_and_says_which() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let registry = Registry::open().await;
    registry.put("app", "1", 16).await;
    let mut relay = Relay::over_tcp(End::Tcp(registry.address)).await;
    relay.allow(8 << 20);
    let task = submit(&mut cluster, relay.address(), "app:1").await;
    is_said(&mut cluster, &task, "of 16.0 MB").await;

    relay.cut().await;
    let entry = cluster
        .has_status_within(ENGINE_RETRIES, &task, "failed")
        .await;
    let expected = format!("registry {} of image", relay.address());
    assert!(reason(&entry).contains(&expected), "{entry}");
    assert!(
        reason(&entry).contains("is not reachable from this worker"),
        "{entry}"
    );
    assert_eq!(cluster.container_count("worker-1").await, 0);
    cluster.end().await;
}
