//! Images that were pulled and that nothing uses go when they are too many; others never.

use std::process::Command as Docker;

use cloudai_model::{Command, ImageRef, TaskDraft, TaskId};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    wait::until,
};

use cloudai_tests::registry::Registry;

/// An image of a test's own registry, gone from the engine when the test is over.
struct Image(String);

impl Image {
    fn of(registry: &Registry, name: &str) -> Self {
        Self(format!("{}/{name}", registry.address))
    }

    async fn is_there(&self, cluster: &Cluster) -> bool {
        let image: ImageRef = self.0.parse().unwrap();
        cluster.engine.image(&image).await.unwrap().is_some()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Docker::new("docker")
            .args(["rmi", "--force", &self.0])
            .output();
    }
}

async fn submit(cluster: &mut Cluster, image: &Image, command: &[&str]) -> TaskId {
    let words = command.iter().map(ToString::to_string).collect();
    let draft = TaskDraft {
        docker_image: image.0.clone(),
        command: Command::Exec(words),
        ..test_task(&[])
    };
    cluster.submit_draft(draft).await
}

async fn runs_through(cluster: &mut Cluster, image: &Image) {
    let task = submit(cluster, image, &["/bin/busybox", "true"]).await;
    cluster.has_status(&task, "completed").await;
}

fn docker(args: &[&str]) {
    let done = Docker::new("docker").args(args).output().unwrap();
    assert!(done.status.success(), "docker {args:?}: {done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_limit_the_image_used_longest_ago_goes_and_only_what_was_pulled_here() {
    let mut cluster = Cluster::start().await;
    let registry = Registry::open().await;
    for name in ["before", "held", "oldest", "older", "newest"] {
        registry.put(name, "1", 8).await;
    }
    let [before, held, oldest, older, newest] =
        ["before:1", "held:1", "oldest:1", "older:1", "newest:1"]
            .map(|name| Image::of(&registry, name));
    // Given an image that was on the engine before
    docker(&["pull", "--quiet", &before.0]);
    let flags = ["-image-gb", "0.025", "-image-min-age", "0s"];
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.args(flags);
        })
        .await;
    runs_through(&mut cluster, &before).await;

    // and one that a running task has
    let task = submit(&mut cluster, &held, &["/bin/busybox", "sleep", "600"]).await;
    cluster.has_status(&task, "running").await;

    // When others come, until they are too many
    runs_through(&mut cluster, &oldest).await;
    assert!(oldest.is_there(&cluster).await);
    runs_through(&mut cluster, &older).await;
    runs_through(&mut cluster, &newest).await;

    // Then those that were used longest ago are gone, with a word, and the others stay
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    for image in [&oldest, &older] {
        let line = worker
            .says(&format!("Removed unused image {}", image.0))
            .await;
        assert!(line.contains("pulled images take 0.0"), "{line}");
    }
    assert!(!oldest.is_there(&cluster).await && !older.is_there(&cluster).await);
    assert!(held.is_there(&cluster).await && before.is_there(&cluster).await);

    // and one that is gone is pulled again.
    runs_through(&mut cluster, &oldest).await;
    cluster.client().await.cancel(&task).await;
    cluster.has_status(&task, "cancelled").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_process_pulled_goes_and_what_any_container_has_stays() {
    let mut cluster = Cluster::start().await;
    let registry = Registry::open().await;
    for name in ["unused", "others"] {
        registry.put(name, "1", 1).await;
    }
    let [unused, others] = ["unused:1", "others:1"].map(|name| Image::of(&registry, name));
    cluster.add_worker("worker-1", 2.0).await;
    for image in [&unused, &others] {
        runs_through(&mut cluster, image).await;
    }
    // Given a container that somebody else made of one of them, which doesn't run
    let name = format!("cloudai-test-{}", cluster.id());
    docker(&["create", "--name", &name, &others.0]);
    assert!(unused.is_there(&cluster).await);

    // When the worker is started again with a disk that is always too full
    cluster.kill_worker("worker-1").await;
    cluster.restart_worker_with("worker-1", 2.0, |command| {
        command.args(["-image-disk-percent", "0", "-image-min-age", "0s"]);
    });

    // Then what is unused goes, with the reason, and the rest stays, with a word on that
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    let line = worker
        .says(&format!("Removed unused image {}", unused.0))
        .await;
    assert!(
        line.contains("the engine's disk is") && line.contains("more than 0 %"),
        "{line}"
    );
    worker.says("No image that was pulled here is unused").await;
    assert!(others.is_there(&cluster).await);

    // until its container is gone, too.
    docker(&["rm", &name]);
    // A pull has it looked at at once.
    registry.put("third", "1", 1).await;
    let third = Image::of(&registry, "third:1");
    runs_through(&mut cluster, &third).await;
    until("the last of them to be gone", async || {
        (!others.is_there(&cluster).await).then_some(())
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_of_one_engine_do_not_take_each_others_images_for_longer_than_a_pull() {
    // Given two workers that keep no image
    let mut cluster = Cluster::start().await;
    let registry = Registry::open().await;
    registry.put("shared", "1", 1).await;
    let shared = Image::of(&registry, "shared:1");
    let flags = ["-image-disk-percent", "0", "-image-min-age", "0s"];
    for worker in ["worker-1", "worker-2"] {
        cluster
            .add_worker_with(worker, 1.0, |command| {
                command.args(flags);
            })
            .await;
    }
    // When many tasks of one image run on both
    let mut tasks = Vec::new();
    for _ in 0..24 {
        tasks.push(submit(&mut cluster, &shared, &["/bin/busybox", "true"]).await);
    }
    // Then each runs through at its first attempt, however often the image went in between.
    for task in &tasks {
        let entry = cluster.has_status(task, "completed").await;
        assert_eq!(entry["attempt"], 1, "{entry}");
    }
    cluster.end().await;
}
