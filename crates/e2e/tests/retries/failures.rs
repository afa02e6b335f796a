//! Failures of the task itself: which are run again, how often, and after how long.

use cloudai_model::TaskDraft;
use cloudai_tests::{
    cluster::{Cluster, test_task},
    wait::until,
};

use crate::{answers, is_said, reason, shell};

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_codes_that_are_listed_are_run_again_and_others_are_not() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;

    // Given a task that fails twice with a code of the list and then succeeds,
    let twice = TaskDraft {
        max_retries: Some(5),
        retry_on: Some("70-80,signal".to_owned()),
        ..shell("[ \"$CLOUDAI_ATTEMPT\" = 3 ] || exit 75")
    };
    let task = cluster.submit_draft(twice.clone()).await;

    // then it is run until then,
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(
        (&entry["attempt"], &entry["retries_used"]),
        (&3.into(), &2.into())
    );
    assert_eq!(entry["retry_on"], "70-80,signal");
    let ended = format!("Task {task} completed on worker-1");
    let line = answers(&mut cluster, &format!("explain {task}"), &ended).await;
    assert!(line.contains("after 2 retries"), "{line}");

    // one that ends otherwise is not,
    let other = TaskDraft {
        command: shell("exit 1").command,
        ..twice
    };
    let task = cluster.submit_draft(other).await;
    let entry = cluster.has_status(&task, "failed").await;
    assert_eq!(
        (&entry["attempt"], reason(&entry)),
        (&1.into(), "exit code 1")
    );

    // and when the retries are used up, it has failed.
    let once = TaskDraft {
        max_retries: Some(1),
        ..shell("exit 3")
    };
    let task = cluster.submit_draft(once).await;
    let entry = cluster.has_status(&task, "failed").await;
    assert_eq!(
        (&entry["attempt"], reason(&entry)),
        (&2.into(), "exit code 3")
    );

    // A list that can't be meant is answered with one that can.
    let line = "task cloudai/test-shell -retries 3 -retry-on 0,never -- true";
    let refused = answers(&mut cluster, line, "Failed to submit task").await;
    assert!(
        refused.contains("retry_on: \"0,never\" is not valid"),
        "{refused}"
    );
    assert!(refused.contains("such as 1,75,100-110,oom"), "{refused}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_told_everywhere_and_goes_on_after_a_kill_of_the_master() {
    // Given a task that has failed five times, and waits for about sixteen seconds,
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let failing = TaskDraft {
        max_retries: Some(9),
        ..shell("exit 7")
    };
    let task = cluster.submit_draft(failing).await;
    let words = "retry 5 of 9 in ";
    let entry = is_said(&mut cluster, &task, words).await;
    assert_eq!(
        (&entry["status"], &entry["retries_used"]),
        (&"queued".into(), &5.into())
    );
    let retry_at = entry["retry_at"].as_str().unwrap().to_owned();
    for command in ["queue", "list-tasks", &format!("explain {task}")] {
        let line = answers(&mut cluster, command, words).await;
        assert!(line.ends_with("s: exit code 7"), "{line}");
    }

    // when the master is killed and comes back,
    cluster.kill_master().await;
    cluster.restart_master().await;

    // then it waits until then, and the count goes on.
    let entry = cluster.task(&task).await;
    assert_eq!(entry["retries_used"], 5, "{entry}");
    assert_eq!(entry["attempt"], 5, "{entry}");
    assert_eq!(entry["retry_at"], retry_at.as_str(), "{entry}");
    let entry = is_said(&mut cluster, &task, "retry 6 of 9 in ").await;
    assert_eq!(entry["attempt"], 6, "{entry}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_for_want_of_memory_is_told_with_peak_and_limit_and_can_be_listed() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let hog = TaskDraft {
        max_retries: Some(1),
        retry_on: Some("oom".to_owned()),
        ..test_task(&["memory-hog", "512"])
    };
    let task = cluster.submit_draft(hog).await;
    let entry = cluster.has_status(&task, "failed").await;
    let words = "out of memory: peak 128 MB of 128 MB";
    assert_eq!((reason(&entry), &entry["exit_code"]), (words, &137.into()));
    assert_eq!(
        (&entry["attempt"], &entry["retries_used"]),
        (&2.into(), &1.into())
    );
    assert_eq!(entry["peak_memory_gb"], 0.125, "{entry}");
    for command in [format!("explain {task}"), format!("monitor {task}")] {
        let line = answers(&mut cluster, &command, &format!("Task {task} failed")).await;
        assert!(line.ends_with(words), "{line}");
    }
    until("the news of it", async || {
        let news = format!("Task completion: {task}");
        let lines = cluster.master.lines();
        lines
            .iter()
            .any(|line| line.contains(&news) && line.ends_with(words))
            .then_some(())
    })
    .await;
    cluster.end().await;
}
