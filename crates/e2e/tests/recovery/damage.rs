//! A worker that finds its spool damaged: it starts, says so, and keeps what can be kept. That each
//! file may be cut at each byte is in the tests of the worker's spool.

use std::{fs, path::PathBuf};

use cloudai_model::{AttemptId, TaskId};
use cloudai_tests::{
    cluster::{Cluster, first},
    wait::until,
};

use crate::task::{gated, let_go};

async fn with_a_running_task() -> (Cluster, TaskId) {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 1.0).await;
    let task = cluster.submit_draft(gated()).await;
    cluster.has_status(&task, "running").await;
    (cluster, task)
}

fn file(cluster: &Cluster, attempt: &AttemptId, name: &str) -> PathBuf {
    cluster.path(&format!("worker-1/spool/{attempt}/{name}"))
}

fn cut(path: &PathBuf) {
    let length = fs::metadata(path).unwrap().len();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(length / 2).unwrap();
}

async fn says(cluster: &mut Cluster, words: &str) {
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says(words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_file_costs_a_running_task_nothing() {
    for name in ["order.json", "state.json"] {
        let (mut cluster, task) = with_a_running_task().await;
        cluster.kill_worker("worker-1").await;
        cut(&file(&cluster, &first(&task), name));
        cluster.restart_worker("worker-1", 1.0);
        says(&mut cluster, &format!("{name} is not valid")).await;
        cluster.worker_is_active("worker-1").await;
        let_go(&cluster, "worker-1", &first(&task));
        let entry = cluster.has_status(&task, "completed").await;
        assert_eq!(
            (
                &entry["attempt"],
                &entry["log_complete"],
                &entry["files_complete"]
            ),
            (&1.into(), &true.into(), &true.into()),
            "{entry}"
        );
        let log = cluster.client().await.follow(&first(&task), |_| {}).await;
        assert_eq!(log.stdout, b"attempt 1\nend\n");
        cluster.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_can_not_be_read_is_given_up_and_its_task_runs_again() {
    let (mut cluster, task) = with_a_running_task().await;
    cluster.kill_worker("worker-1").await;
    for name in ["order.json", "state.json"] {
        cut(&file(&cluster, &first(&task), name));
    }
    cluster.restart_worker("worker-1", 1.0);
    says(
        &mut cluster,
        "its attempt is given up, and what is left of it is kept in",
    )
    .await;
    // Its container goes long before the grace of one that merely isn't known.
    says(
        &mut cluster,
        &format!("Removed a container of attempt {task}-1"),
    )
    .await;

    let second = AttemptId::new(task.clone(), 2);
    until("its second attempt to run", async || {
        let entry = cluster.task(&task).await;
        (entry["attempt"] == 2 && entry["status"] == "running").then_some(())
    })
    .await;
    assert_eq!(cluster.container_count("worker-1").await, 1);
    let_go(&cluster, "worker-1", &second);
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["attempt"], 2, "{entry}");
    let kept = cluster.path(&format!("worker-1/spool/damaged/{task}-1/log"));
    assert!(kept.exists(), "what it printed is not thrown away");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_can_not_be_read_any_more_is_told_by_its_container_or_runs_again() {
    // Given an attempt that has ended and whose master is away
    let (mut cluster, task) = with_a_running_task().await;
    cluster.kill_master().await;
    let_go(&cluster, "worker-1", &first(&task));
    says(&mut cluster, &format!("[Task {task}] ✓ Completed")).await;
    until("its container to be removed", async || {
        (cluster.container_count("worker-1").await == 0).then_some(())
    })
    .await;

    // When its state is damaged before the master heard of it
    cluster.kill_worker("worker-1").await;
    cut(&file(&cluster, &first(&task), "state.json"));
    cluster.restart_worker("worker-1", 1.0);
    cluster.restart_master().await;

    // Then nobody knows how it ended: it counts as the machine's failure, and runs again.
    until("its second attempt to run", async || {
        let entry = cluster.task(&task).await;
        assert_ne!(entry["status"], "failed", "{entry}");
        (entry["attempt"] == 2 && entry["status"] == "running").then_some(())
    })
    .await;
    let_go(&cluster, "worker-1", &AttemptId::new(task.clone(), 2));
    cluster.has_status(&task, "completed").await;
    cluster.end().await;
}
