//! What a script can ask about the inside of a cluster, over stdin.

use std::fs;

use cloudai_tests::{
    cluster::Cluster,
    engine::{TEST_SHELL, TEST_TASK},
    wait::until,
};

/// Sends a command, and answers what was said up to the next command's answer.
async fn asks(cluster: &mut Cluster, line: &str) -> String {
    let seen = cluster.master.lines().len();
    cluster.master.type_line(line).await;
    cluster.master.type_line("help quit").await;
    cluster.master.says_after(seen, "The same as exit.").await;
    let said = cluster.master.lines().split_off(seen);
    let said = said.into_iter().take_while(|row| row != "quit");
    said.collect::<Vec<_>>().join("\n")
}

/// Submits a task by its line, and answers its id.
async fn submits(cluster: &mut Cluster, line: &str) -> String {
    let said = asks(cluster, line).await;
    let id = said
        .split_whitespace()
        .find(|word| word.starts_with("task-"));
    id.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_ends_its_task_and_what_waits_for_it_is_explained() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let line = format!("task {TEST_TASK} -mem 0.125 -- /test-task sleep 600");
    let running = submits(&mut cluster, &line).await;
    cluster
        .has_status(&running.parse().unwrap(), "running")
        .await;

    // Given a worker that is given nothing new.
    let said = asks(&mut cluster, "drain worker-1").await;
    assert_eq!(
        said,
        "✓ Worker worker-1 is given nothing new; 1 attempt goes on there to its end"
    );
    let worker = cluster.json("stats worker-1").await;
    assert_eq!(worker["status"], "draining");
    assert_eq!(worker["attempts"][0]["task_id"], running.as_str());
    assert_eq!(worker["attempts"][0]["task"]["phase"], "running");
    assert!(
        worker["usage"]["memory_gb"].as_f64().unwrap() > 0.0,
        "{worker}"
    );
    let shown = asks(&mut cluster, "stats worker-1").await;
    assert!(
        shown.contains("Draining") && shown.contains("1 attempt:"),
        "{shown}"
    );

    // When two tasks wait, one that never fits and one that does not now.
    let waiting = submits(&mut cluster, &line).await;
    let never = submits(&mut cluster, &format!("task {TEST_TASK} -gpu_cores 2")).await;

    // Then each is told why; and of one that runs, where and since when.
    let why = cluster.json(&format!("explain {waiting}")).await;
    assert_eq!(
        why["waiting"]["workers"][0]["obstacles"][0]["kind"],
        "draining"
    );
    assert_eq!(why["waiting"]["outlook"], "later");
    let text = asks(&mut cluster, &format!("explain {never}")).await;
    assert!(
        text.contains("Never fits:\n    worker-1: 2 GPUs short, even when idle; draining"),
        "{text}"
    );
    let text = asks(&mut cluster, &format!("explain {running}")).await;
    assert!(
        text.starts_with(&format!("Task {running} is running on worker-1 for ")),
        "{text}"
    );

    let said = asks(&mut cluster, "undrain worker-1").await;
    assert_eq!(said, "✓ Worker worker-1 takes tasks again");
    cluster
        .has_status(&waiting.parse().unwrap(), "running")
        .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_views_agree_after_a_heartbeat_and_nothing_is_amiss() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let task = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&task, "running").await;

    let both = until("a heartbeat that names the task", async || {
        let both = cluster.json("internal-state").await;
        let promise = &both["workers"][0]["promises"][0];
        (promise["reported_phase"] == "running").then_some(both)
    })
    .await;
    assert_eq!(both["live"], 1);
    assert_eq!(
        both["workers"][0]["promises"][0]["task_id"],
        task.to_string()
    );
    assert_eq!(both["workers"][0]["differences"], serde_json::json!([]));
    let text = asks(&mut cluster, "internal-state").await;
    assert!(
        text.contains("1 task live, 0 of them waiting; both views agree"),
        "{text}"
    );
    assert_eq!(
        asks(&mut cluster, "fix-resources").await,
        "✓ Nothing is amiss: 1 worker with 1 attempt compared"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_listed_and_downloaded_with_a_word_on_what_is_missing() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let line = format!(
        "task {TEST_SHELL} -user alice -name sum -cmd 'mkfifo /output/p; echo 42 >/output/sum'"
    );
    let task = submits(&mut cluster, &line).await;
    cluster
        .has_status(&task.parse().unwrap(), "completed")
        .await;

    let of_user = cluster.json("files alice").await;
    assert_eq!(of_user[0]["task_id"], task.as_str());
    assert_eq!(
        (&of_user[0]["files"], &of_user[0]["bytes"]),
        (&1.into(), &3.into())
    );
    let files = cluster.json(&format!("task-files {task} alice")).await;
    assert_eq!(files["files_complete"], false);
    assert_eq!(files["files_reason"], "left out p: is a FIFO");
    let files = &files["files"];
    assert_eq!(files[0]["path"], "sum");
    assert_eq!(files[0]["sha256"].as_str().unwrap().len(), 64);
    // Nobody learns of another's.
    assert_eq!(
        asks(&mut cluster, "files eve").await,
        "No task of user eve left files"
    );
    let said = asks(&mut cluster, &format!("task-files {task} eve")).await;
    assert_eq!(
        said,
        format!("❌ Failed to list files: there is no task {task} of user eve")
    );

    let folder = cluster.path("results").display().to_string();
    let line = format!("download {task} alice {folder}");
    // Whoever has the files knows that there were more.
    let gap = "   Note: files not complete: left out p: is a FIFO";
    assert_eq!(
        asks(&mut cluster, &line).await,
        format!("✓ 1 file to {folder} (3 B)\n{gap}")
    );
    assert_eq!(
        asks(&mut cluster, &line).await,
        format!("✓ 0 files to {folder} (0 B, 1 there already)\n{gap}")
    );
    assert_eq!(fs::read_to_string(format!("{folder}/sum")).unwrap(), "42\n");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_done_says_so_and_the_exit_code_too() {
    let mut cluster = Cluster::start().await;
    for line in ["workers", "internal-state", "fix-resources", "files admin"] {
        assert!(!asks(&mut cluster, line).await.is_empty(), "{line}");
    }
    cluster.master.type_line("exit").await;
    assert_eq!(cluster.master.ends().await, Some(0));

    cluster.restart_master().await;
    for (line, expected) in [
        (
            "status -w",
            "❌ status -w needs a terminal: expected `status`, which shows it once",
        ),
        (
            "stats w",
            "❌ worker w is not registered: `workers` shows those that are",
        ),
        (
            "drain w",
            "❌ Failed to drain worker: worker w is not registered: `workers` shows those that are",
        ),
        (
            "undrain w",
            "❌ Failed to undrain worker: worker w is not registered: `workers` shows those that are",
        ),
        (
            "explain task-1",
            "❌ Failed to explain: there is no task task-1: `list-tasks` shows those that there are",
        ),
        (
            "download task-1 a b",
            "❌ Failed to download: there is no task task-1 of user a",
        ),
    ] {
        assert_eq!(asks(&mut cluster, line).await, expected);
    }
    cluster.master.type_line("exit").await;
    assert_eq!(cluster.master.ends().await, Some(1));
}
