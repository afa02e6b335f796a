//! What nobody wants is removed from the engine, and nothing else is.

use std::{fs, process::Command};

use cloudai_tests::{cluster::Cluster, wait::until};

/// Flags that make a test quick.
const SOON: [&str; 2] = ["-orphan-grace", "3s"];

fn docker(args: &[&str]) -> String {
    let done = Command::new("docker").args(args).output().unwrap();
    assert!(done.status.success(), "docker {args:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// Makes a container by hand, as a worker labels those of its attempts.
fn stray(cluster: &str, worker: &str, task: &str) -> String {
    let label = |key: &str, value: &str| format!("--label=cloudai.{key}={value}");
    docker(&[
        "create",
        &label("cluster", cluster),
        &label("worker", worker),
        &label("task", task),
        &label("attempt", "1"),
        "cloudai/test-task",
        "/test-task",
        "sleep",
        "600",
    ])
}

fn exists(container: &str) -> bool {
    let listed = docker(&["ps", "--all", "--quiet", "--no-trunc"]);
    listed.lines().any(|id| id == container)
}

/// Removed by hand when the test is over, however it ends.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["rm", "--force", &self.0])
            .output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_without_its_spool_goes_and_its_task_runs_again() {
    // Given a running task,
    let mut cluster = Cluster::start().await;
    let patient = |command: &mut tokio::process::Command| {
        command.args(SOON);
    };
    cluster.add_worker_with("worker-1", 1.0, patient).await;
    let task = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&task, "running").await;
    let first = docker(&[
        "ps",
        "--quiet",
        "--no-trunc",
        "--filter",
        &format!("label=cloudai.task={task}"),
    ]);

    // when the worker comes back without its spool,
    cluster.kill_worker("worker-1").await;
    fs::remove_dir_all(cluster.path("worker-1/spool")).unwrap();
    cluster.restart_worker_with("worker-1", 1.0, patient);

    // then the task runs anew, and the container that nobody wants is removed with a word.
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker
        .says(&format!(
            "Removed a container of attempt {task}-1 of cluster"
        ))
        .await;
    assert!(!exists(&first));
    let entry = until("its second attempt to run", async || {
        let entry = cluster.task(&task).await;
        (entry["attempt"] == 2 && entry["status"] == "running").then_some(entry)
    })
    .await;
    assert_eq!(entry["worker_id"], "worker-1", "{entry}");
    assert_eq!(cluster.container_count("worker-1").await, 1);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_and_volumes_of_others_are_left_alone_for_ever() {
    let mut cluster = Cluster::start().await;
    cluster
        .add_worker_with("worker-1", 1.0, |command| {
            command.args(SOON);
        })
        .await;
    let ours = cluster.id().to_string();
    let identity = fs::read_to_string(cluster.path("worker-1/identity")).unwrap();
    let old = format!("old-{}", identity.trim());

    // Given what is like what this worker left, in one point each of another
    let others = [
        stray(&ours, "worker-2", "task-1"),
        stray("another-cluster", "worker-1", "task-1"),
        stray("old-of-another-folder", "worker-1", "task-1"),
    ]
    .map(Container);
    let volume = format!("cloudai-test-{ours}");
    let label = |key: &str, value: &str| format!("--label=cloudai.{key}={value}");
    docker(&[
        "volume",
        "create",
        &label("cluster", &ours),
        &label("worker", "worker-2"),
        &label("task", "task-1"),
        &label("attempt", "1"),
        &volume,
    ]);
    // and what it left itself: under its master, and under an old one before
    let own = [
        stray(&ours, "worker-1", "task-1"),
        stray(&old, "worker-1", "task-1"),
    ]
    .map(Container);

    // When that is gone, and a second grace has passed, which the next to go shows
    until("what it left to be removed", async || {
        own.iter().all(|own| !exists(&own.0)).then_some(())
    })
    .await;
    let last = Container(stray(&ours, "worker-1", "task-2"));
    until("what came later to be removed", async || {
        (!exists(&last.0)).then_some(())
    })
    .await;

    // Then all that is others' is still there.
    for other in &others {
        assert!(exists(&other.0));
    }
    let left = docker(&[
        "volume",
        "ls",
        "--quiet",
        "--filter",
        &format!("name={volume}"),
    ]);
    assert_eq!(left, volume);
    docker(&["volume", "rm", &volume]);
    cluster.end().await;
}
