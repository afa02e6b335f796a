//! Engines over TCP, and workers that aren't root: `/output` is a volume, and nobody who looks at
//! the result can tell.

use std::{os::unix::fs::chown, path::Path};

use cloudai_model::{Command, TaskDraft};
use cloudai_tests::{
    cluster::{Cluster, first, test_task},
    engine::TEST_SHELL,
    relay::{ENGINE, End, Relay},
};
use serde_json::json;

use crate::outputs::{kept, large_file_is_kept, leaves, many_files_are_kept, odd_files_are_kept};

const LARGE_BYTES: usize = 20 << 20;
const MANY: usize = 1000;
/// Nobody, in the group of those who may use the engine.
const NOBODY: u32 = 65_534;

/// Runs tasks that leave all kinds of files on a worker whose outputs are volumes.
async fn all_kinds_of_files_arrive(cluster: &mut Cluster) {
    let (task, entry) = leaves(cluster, &["files", "odd"]).await;
    odd_files_are_kept(&kept(cluster, &task), &entry, false);

    let (task, entry) = leaves(cluster, &["files", "many", &MANY.to_string()]).await;
    assert_eq!(entry["files_complete"], true, "{entry}");
    many_files_are_kept(&kept(cluster, &task), MANY);

    let (task, entry) = leaves(
        cluster,
        &["output", "a/b.bin", &LARGE_BYTES.to_string(), "3"],
    )
    .await;
    assert_eq!(entry["files_complete"], true, "{entry}");
    large_file_is_kept(&kept(cluster, &task).join("a/b.bin"), LARGE_BYTES, 3);

    // Anybody may write there; and a log is a log.
    let task = cluster
        .submit_draft(shell("ls -ld /output; echo here"))
        .await;
    cluster.has_status(&task, "completed").await;
    let log = cluster.client().await.follow(&first(&task), |_| {}).await;
    let log = String::from_utf8(log.stdout).unwrap();
    assert!(
        log.starts_with("drwxrwxrwx") && log.ends_with("\nhere\n"),
        "{log}"
    );
    nothing_is_left(cluster).await;
}

fn shell(line: &str) -> TaskDraft {
    TaskDraft {
        docker_image: TEST_SHELL.to_owned(),
        command: Command::Shell(line.to_owned()),
        ..test_task(&[])
    }
}

async fn nothing_is_left(cluster: &Cluster) {
    let worker = "worker-1".parse().unwrap();
    let left = cluster.engine.volumes(&cluster.id(), &worker).await;
    assert_eq!(left.unwrap(), []);
    assert_eq!(cluster.container_count("worker-1").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_over_tcp_runs_tasks_and_their_files_arrive() {
    let mut cluster = Cluster::start().await;
    let relay = Relay::over_tcp(End::Unix(ENGINE.into())).await;
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.env("DOCKER_HOST", relay.host());
        })
        .await;
    all_kinds_of_files_arrive(&mut cluster).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_root_runs_tasks_and_their_files_arrive() {
    let mut cluster = Cluster::start().await;
    // What it needs: its folder, its program where it may go, and the group of the engine's socket.
    let home = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    chown(home.path(), Some(NOBODY), None).unwrap();
    let program = home.path().join("worker-node");
    std::fs::copy(&cloudai_tests::programs::programs().worker, &program).unwrap();
    let group = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(ENGINE).unwrap());
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            as_nobody(command, home.path(), &program, group);
        })
        .await;
    all_kinds_of_files_arrive(&mut cluster).await;

    // The spool is empty again, too.
    let spool = home.path().join("data/spool");
    let left = std::fs::read_dir(spool)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(left.count(), 0);
    cluster.end().await;
}

/// Makes the worker's command one that nobody runs, with a folder of its own.
fn as_nobody(command: &mut tokio::process::Command, home: &Path, program: &Path, group: u32) {
    let mut words: Vec<_> = command.as_std().get_args().map(ToOwned::to_owned).collect();
    let data = words.iter().position(|word| word == "-data-dir").unwrap();
    words[data + 1] = home.join("data").into();
    *command = tokio::process::Command::new("setpriv");
    command
        .args([
            "--reuid",
            &NOBODY.to_string(),
            "--regid",
            &group.to_string(),
        ])
        .args(["--clear-groups", "--"])
        .arg(program)
        .args(words)
        .env("HOME", home);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_measured_too_and_outlives_a_restart_of_the_worker() {
    let mut cluster = Cluster::start().await;
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.args(["-output", "volume"]);
        })
        .await;
    // Given a task that waits, and one that fills its volume
    let waits = cluster
        .submit_draft(shell("echo kept > /output/file; sleep 15"))
        .await;
    let mut fills = shell("dd if=/dev/zero of=/output/filled bs=1M count=40 && sleep 600");
    fills.storage_gb = Some(0.03125);
    let fills = cluster.submit_draft(fills).await;
    cluster.has_status(&waits, "running").await;

    // When the worker is killed, and started again with volumes no longer asked for
    cluster.workers.remove("worker-1").unwrap().kill().await;
    cluster.restart_worker("worker-1", 2.0);

    // Then what was in a volume is had from there
    let entry = cluster.has_status(&waits, "completed").await;
    assert_eq!(entry["files_complete"], true, "{entry}");
    let file = std::fs::read(kept(&cluster, &waits).join("file")).unwrap();
    assert_eq!(file, b"kept\n");
    let entry = cluster.has_status(&fills, "failed").await;
    let reason = entry["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("over its storage limit of 32.0 MB: "),
        "{entry}"
    );
    assert_eq!(entry["exit_code"], json!(null));
    nothing_is_left(&cluster).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_of_terabytes_in_a_volume_is_not_fetched() {
    let mut cluster = Cluster::start().await;
    let relay = Relay::over_tcp(End::Unix(ENGINE.into())).await;
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.env("DOCKER_HOST", relay.host());
        })
        .await;
    let line = "echo kept > /output/a; dd if=/dev/zero of=/output/b bs=1M count=0 seek=4000000";
    let task = cluster.submit_draft(shell(line)).await;
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["files_complete"], false, "{entry}");
    let reason = entry["files_reason"].as_str().unwrap();
    assert!(
        reason.contains("left out b and what follows it: together more than"),
        "{reason}"
    );
    let folder = kept(&cluster, &task);
    assert_eq!(std::fs::read(folder.join("a")).unwrap(), b"kept\n");
    assert!(!folder.join("b").exists());
    nothing_is_left(&cluster).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_a_task_runs_as_can_write_to_a_volume_also_under_a_read_only_root() {
    let mut cluster = Cluster::start().await;
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.args(["-output", "volume"]);
        })
        .await;
    for read_only in [false, true] {
        let mut draft = shell("id -u > /output/user; touch /elsewhere || echo no");
        draft.container.read_only = read_only;
        draft.container.run_as = Some("1234".to_owned());
        let task = cluster.submit_draft(draft).await;
        let entry = cluster.has_status(&task, "completed").await;
        assert_eq!(entry["files_complete"], true, "{entry}");
        let user = std::fs::read(kept(&cluster, &task).join("user")).unwrap();
        assert_eq!(user, b"1234\n");
    }
    nothing_is_left(&cluster).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_looks_local_and_sees_other_files_costs_one_try() {
    // Given a worker whose folder is in a mount namespace of its own, as in a container
    let mut cluster = Cluster::start().await;
    let data = cluster.path("worker-1");
    std::fs::create_dir_all(&data).unwrap();
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            in_a_mount_namespace(command, &data);
        })
        .await;
    let task = cluster
        .submit_draft(shell("echo here > /output/file"))
        .await;
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("/output is a volume from now on").await;
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(
        (&entry["attempt"], &entry["files_complete"]),
        (&1.into(), &true.into())
    );
    let file = std::fs::read(kept(&cluster, &task).join("file")).unwrap();
    assert_eq!(file, b"here\n");
    nothing_is_left(&cluster).await;
    cluster.end().await;
}

/// Lets a command see a file system of its own at this folder.
fn in_a_mount_namespace(command: &mut tokio::process::Command, folder: &Path) {
    let program = command.as_std().get_program().to_owned();
    let words: Vec<_> = command.as_std().get_args().map(ToOwned::to_owned).collect();
    let line = format!("mount -t tmpfs tmpfs '{}' && exec \"$@\"", folder.display());
    *command = tokio::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", &line, "sh"]);
    command.arg(program).args(words);
}
