//! Workers that are given nothing for a while: because they say so, or because tasks fail there.

use cloudai_model::{TaskDraft, TaskId};
use cloudai_tests::{
    cluster::Cluster,
    relay::{ENGINE, End, Relay},
    wait::until,
};

use crate::{answers, shell};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_engine_is_away_gets_nothing_and_says_why() {
    let mut cluster = Cluster::start().await;
    let near = End::Unix(cluster.path("engine.sock"));
    let mut relay = Relay::new(near, End::Unix(ENGINE.into())).await;
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.env("DOCKER_HOST", relay.host());
        })
        .await;
    relay.cut().await;
    cluster
        .master
        .says("Worker unwell: worker-1 takes nothing new: ")
        .await;

    let task = cluster.submit_draft(shell("true")).await;
    for command in ["queue", &format!("explain {task}")] {
        answers(&mut cluster, command, "worker-1: takes nothing new: ").await;
    }
    answers(&mut cluster, "workers", "║   Takes nothing new: ").await;
    assert_eq!(cluster.task(&task).await["attempt"], 0);

    relay.mend().await;
    cluster
        .master
        .says("Worker well: worker-1 takes tasks again")
        .await;
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    cluster.end().await;
}

async fn fails_for(cluster: &mut Cluster, user: &str, worker: Option<&str>) -> TaskId {
    let draft = TaskDraft {
        user_id: Some(user.to_owned()),
        worker_id: worker.map(str::to_owned),
        ..shell("exit 1")
    };
    let task = cluster.submit_draft(draft).await;
    cluster.has_status(&task, "failed").await;
    task
}

async fn set_aside(cluster: &mut Cluster, worker: &str) -> Option<String> {
    let workers = cluster.json("workers").await;
    let mut workers = workers.as_array().unwrap().iter();
    let worker = workers.find(|entry| entry["worker_id"] == worker).unwrap();
    worker["set_aside"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_on_which_different_tasks_fail_in_a_row_is_set_aside_and_taken_back() {
    let flags = ["-set-aside-after", "3", "-set-aside-for", "15s"];
    let mut cluster = Cluster::start_with("127.0.0.1", &flags).await;
    cluster.add_worker("worker-1", 2.0).await;
    cluster.add_worker("worker-2", 2.0).await;

    // One user's failing tasks say nothing of the workers, however many.
    for _ in 0..8 {
        fails_for(&mut cluster, "eve", None).await;
    }
    for worker in ["worker-1", "worker-2"] {
        assert_eq!(set_aside(&mut cluster, worker).await, None);
    }
    let well = shell("true");
    for worker in ["worker-1", "worker-2"] {
        let draft = TaskDraft {
            worker_id: Some(worker.to_owned()),
            ..well.clone()
        };
        let task = cluster.submit_draft(draft).await;
        cluster.has_status(&task, "completed").await;
    }

    // When tasks of three users fail on one worker,
    for user in ["ann", "bob", "cat"] {
        fails_for(&mut cluster, user, Some("worker-2")).await;
    }

    // then it is set aside, and whoever looks is told,
    let why = "3 different tasks in a row failed there, the last: exit code 1";
    let news = "Worker set aside: worker-2 is given nothing new for 15s: ";
    let line = cluster.master.says(news).await;
    assert!(line.contains(why), "{line}");
    assert_eq!(
        set_aside(&mut cluster, "worker-2").await.as_deref(),
        Some(why)
    );
    let for_it = TaskDraft {
        worker_id: Some("worker-2".to_owned()),
        ..well
    };
    let waits = cluster.submit_draft(for_it.clone()).await;
    let explain = format!("explain {waits}");
    let aside = "worker-2: set aside for a while: 3 different tasks";
    answers(&mut cluster, &explain, aside).await;
    let shown = answers(&mut cluster, "workers", "║   Set aside for ").await;
    assert!(
        shown.contains("`undrain worker-2` takes it back"),
        "{shown}"
    );

    // after a while it has tasks again,
    cluster
        .master
        .says("Worker taken back: worker-2 is given tasks again")
        .await;
    cluster.has_status(&waits, "completed").await;

    // and an admin takes it back at once.
    for user in ["ann", "bob", "cat"] {
        fails_for(&mut cluster, user, Some("worker-2")).await;
    }
    until("it to be set aside again", async || {
        set_aside(&mut cluster, "worker-2").await
    })
    .await;
    let waits = cluster.submit_draft(for_it).await;
    let line = "✓ Worker worker-2 takes tasks again";
    answers(&mut cluster, "undrain worker-2", line).await;
    assert_eq!(set_aside(&mut cluster, "worker-2").await, None);
    cluster.has_status(&waits, "completed").await;
    cluster.end().await;
}
