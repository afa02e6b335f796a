//! Retention: what is old goes, what failed stays longer, and whoever looks for it is told.

use std::{fs, path::PathBuf};

use cloudai_model::TaskId;
use cloudai_tests::{
    cluster::{Cluster, first},
    wait::until,
};

use crate::{asks, submit};

const LOCAL: &str = "127.0.0.1";

fn log_of(cluster: &Cluster, task: &TaskId) -> PathBuf {
    cluster.path("master").join(format!("logs/{task}"))
}

fn files_of(cluster: &Cluster, task: &TaskId) -> PathBuf {
    cluster.path("master").join(format!("files/admin/{task}"))
}

async fn is_gone(path: PathBuf) {
    until(&format!("{path:?} to be gone"), async || {
        (!path.exists()).then_some(())
    })
    .await;
}

/// That all who look for what this task left are told what became of it.
async fn is_told(cluster: &mut Cluster, task: &TaskId) {
    let by = "by retention after 2 s";
    let said = asks(cluster, &format!("monitor {task}")).await;
    assert!(said.contains("Note: the log was removed on 20"), "{said}");
    assert!(said.contains(by), "{said}");
    assert!(said.contains(&format!("Task {task} completed")), "{said}");
    let said = asks(cluster, &format!("task-files {task} admin")).await;
    let expected = format!("The files of task {task} were removed on 20");
    assert!(said.contains(&expected) && said.contains(by), "{said}");
    let said = asks(cluster, "files admin").await;
    let row = said.lines().find(|line| line.contains(&task.to_string()));
    assert!(row.unwrap().contains("removed"), "{said}");
    let folder = cluster.path("nothing-there");
    let said = asks(
        cluster,
        &format!("download {task} admin {}", folder.display()),
    )
    .await;
    let expected = format!("❌ Failed to download: the files of task {task} were removed on 20");
    assert!(said.contains(&expected) && said.contains(by), "{said}");
    assert!(!folder.exists());
    let said = asks(cluster, &format!("explain {task}")).await;
    assert!(said.contains("the log was removed on"), "{said}");
    let listed = cluster.task(task).await;
    assert_eq!(listed["log_removed"]["by"], "retention after 2 s");
    assert_eq!(listed["files_removed"]["by"], "retention after 2 s");

    let watched = cluster.client().await.watch(&first(task), |_, _| ()).await;
    let status = watched.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    let expected = format!("the log of task {task} was removed on 20");
    assert!(status.message().starts_with(&expected), "{status}");
    // Asking for it has not brought it back.
    assert!(!log_of(cluster, task).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_and_is_told_and_what_failed_stays_longer() {
    let flags = [
        "-keep-logs",
        "2s",
        "-keep-failed-logs",
        "1h",
        "-keep-files",
        "2s",
    ];
    let flags = [&flags[..], &["-keep-failed-files", "1h"]].concat();
    let mut cluster = Cluster::start_with(LOCAL, &flags).await;
    cluster.add_worker("worker-1", 2.0).await;
    let failed = submit(&mut cluster, "echo why; echo x > /output/x; exit 3").await;
    cluster.has_status(&failed, "failed").await;
    let done = submit(&mut cluster, "echo words; echo 42 > /output/answer").await;
    let runs = submit(&mut cluster, "echo running; sleep 600").await;
    cluster.has_status(&done, "completed").await;
    cluster.has_status(&runs, "running").await;

    is_gone(log_of(&cluster, &done)).await;
    is_gone(files_of(&cluster, &done)).await;

    is_told(&mut cluster, &done).await;
    for task in [&failed, &runs] {
        assert!(log_of(&cluster, task).exists(), "{task}");
    }
    assert!(files_of(&cluster, &failed).exists());
    let said = asks(&mut cluster, &format!("monitor {failed}")).await;
    assert!(said.contains("why") && !said.contains("removed"), "{said}");
    cluster.master.says("retention removed what was due").await;
    let said = asks(&mut cluster, "status").await;
    assert!(said.contains("Retention: removed the "), "{said}");
    assert!(said.contains("Kept: "), "{said}");

    // After a start it is told as before.
    cluster.master.signal("KILL").await;
    cluster.master.ends().await;
    cluster.restart_master().await;
    cluster.worker_is_active("worker-1").await;
    is_told(&mut cluster, &done).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_limit_the_oldest_goes_first_and_what_failed_last() {
    let mut cluster = Cluster::start_with(LOCAL, &["-keep-bytes", "5MB"]).await;
    cluster.add_worker("worker-1", 2.0).await;
    let leaves = |then: &str| format!("dd if=/dev/urandom of=/output/data bs=1M count=2; {then}");
    let failed = submit(&mut cluster, &leaves("exit 3")).await;
    cluster.has_status(&failed, "failed").await;
    let mut done = Vec::new();
    for _ in 0..3 {
        let task = submit(&mut cluster, &leaves("true")).await;
        cluster.has_status(&task, "completed").await;
        done.push(task);
    }

    for task in &done[..2] {
        is_gone(files_of(&cluster, task)).await;
    }

    assert!(files_of(&cluster, &done[2]).exists());
    assert!(files_of(&cluster, &failed).exists());
    let said = asks(&mut cluster, &format!("task-files {} admin", done[0])).await;
    assert!(said.contains("by retention of at most 5 MB"), "{said}");
    let status = cluster.json("status").await;
    assert_eq!(status["kept_limit_bytes"], 5 << 20, "{status}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_task_is_unknown_and_its_number_is_not_given_out_again() {
    let mut cluster = Cluster::start_with(LOCAL, &["-keep-results", "2s"]).await;
    cluster.add_worker("worker-1", 2.0).await;
    let task = submit(&mut cluster, "echo words; echo 42 > /output/answer").await;
    until("it to be listed no more", async || {
        let tasks = cluster.json("list-tasks").await;
        tasks.as_array()?.is_empty().then_some(())
    })
    .await;
    is_gone(log_of(&cluster, &task)).await;
    is_gone(files_of(&cluster, &task)).await;
    let said = asks(&mut cluster, &format!("explain {task}")).await;
    assert!(said.contains(&format!("there is no task {task}")), "{said}");
    assert!(
        fs::read_dir(cluster.path("master/logs"))
            .unwrap()
            .all(|entry| {
                let name = entry.unwrap().file_name();
                name == ".removed"
            })
    );

    cluster.master.signal("KILL").await;
    cluster.master.ends().await;
    cluster.restart_master().await;
    cluster.worker_is_active("worker-1").await;
    let next = submit(&mut cluster, "sleep 600").await;
    assert!(next > task, "{next} after {task}");
    cluster.end().await;
}
