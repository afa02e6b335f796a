//! Tasks that wait until somebody releases them, and what of a waiting task is changed.

use cloudai_model::TaskId;
use cloudai_tests::cluster::Cluster;

/// The first line after the command that says this.
async fn answers(cluster: &mut Cluster, command: &str, words: &str) -> String {
    let seen = cluster.master.lines().len();
    cluster.master.type_line(command).await;
    cluster.master.says_after(seen, words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_on_hold_waits_through_a_restart_and_runs_when_it_is_released() {
    // Given a task on hold, and room for it,
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let line = "task cloudai/test-shell -hold -name later -- true";
    let submitted = answers(&mut cluster, line, "submitted: queued").await;
    assert!(submitted.ends_with("(waiting: on hold)"), "{submitted}");
    let task = submitted.split(' ').find(|word| word.starts_with("task-"));
    let task: TaskId = task.unwrap().parse().unwrap();

    // when others run, and the master is killed and comes back,
    let other = cluster.submit(&["exit", "0"]).await;
    cluster.has_status(&other, "completed").await;
    cluster.kill_master().await;
    cluster.restart_master().await;
    let other = cluster.submit(&["exit", "0"]).await;
    cluster.has_status(&other, "completed").await;

    // then it waits all the same, and says so wherever it is shown.
    let queue = cluster.json("queue").await;
    assert_eq!(queue[0]["task_id"], task.to_string(), "{queue}");
    assert_eq!(queue[0]["waiting_for"], "on hold", "{queue}");
    let entry = cluster.task(&task).await;
    assert_eq!(entry["reason"], "on hold", "{entry}");
    answers(&mut cluster, &format!("explain {task}"), "on hold").await;

    // It is changed while it waits, and when it is released it runs.
    let line = format!("change {task} -name renamed -priority 10 -label team=a");
    answers(&mut cluster, &line, "changed").await;
    answers(&mut cluster, &format!("release {task}"), "is not on hold").await;
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(
        (&entry["name"], &entry["priority"], &entry["labels"]["team"]),
        (&"renamed".into(), &10.into(), &"a".into())
    );
    let refused = answers(&mut cluster, &format!("hold {task}"), "Failed to hold").await;
    assert!(refused.ends_with("is final: completed"), "{refused}");
    cluster.end().await;
}
