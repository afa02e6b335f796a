//! An engine that is away, at the start or later; several workers on one engine.

use std::time::Duration;

use cloudai_model::{AttemptId, Command, TaskDraft, TaskId};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    engine::TEST_SHELL,
    wait::until,
};

use cloudai_tests::relay::{ENGINE, End, Relay};

/// A task that ends when its file `go` appears.
async fn waiting_task(cluster: &mut Cluster) -> TaskId {
    let line = "while [ ! -e /output/go ]; do usleep 10000; done";
    let draft = TaskDraft {
        docker_image: TEST_SHELL.to_owned(),
        command: Command::Shell(line.to_owned()),
        ..test_task(&[])
    };
    cluster.submit_draft(draft).await
}

fn let_go(cluster: &Cluster, worker: &str, task: &TaskId) {
    let go = format!("spool/{task}-1/output/go");
    std::fs::write(cluster.path(worker).join(go), "").unwrap();
}

/// Waits until the master's listing gives this reason for a worker.
async fn workers_show(cluster: &mut Cluster, id: &str, words: &str) {
    until(
        &format!("{words:?} in the listing of workers"),
        async || {
            let workers = cluster.json("workers").await;
            let mut all = workers.as_array().unwrap().iter();
            let worker = all.find(|worker| worker["worker_id"] == id)?;
            let reason = worker["reason"].as_str().unwrap();
            let shown = match words {
                "" => reason.is_empty(),
                words => reason.contains(words),
            };
            shown.then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_an_engine_says_so_and_begins_when_there_is_one() {
    let mut cluster = Cluster::start().await;
    let socket = cluster.path("engine.sock");
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        })
        .await;
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("takes no tasks until it answers").await;
    workers_show(&mut cluster, "worker-1", "no Docker Engine at").await;
    let seen = cluster.master.lines().len();
    cluster.master.type_line("workers").await;
    cluster.master.says_after(seen, "no Docker Engine").await;

    // What is submitted waits, and is told why.
    let task = cluster.submit(&["exit", "0"]).await;
    let entry = cluster.task(&task).await;
    assert_eq!(entry["status"], "queued", "{entry}");

    let _relay = Relay::new(End::Unix(socket), End::Unix(ENGINE.into())).await;
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("✓ Docker Engine is back").await;
    cluster.has_status(&task, "completed").await;
    workers_show(&mut cluster, "worker-1", "").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_goes_away_keeps_its_containers_and_gets_nothing_new_until_it_is_back() {
    let mut cluster = Cluster::start().await;
    let near = End::Unix(cluster.path("engine.sock"));
    let mut relay = Relay::new(near, End::Unix(ENGINE.into())).await;
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.env("DOCKER_HOST", relay.host());
        })
        .await;
    let (stays, ends) = (
        waiting_task(&mut cluster).await,
        waiting_task(&mut cluster).await,
    );
    for task in [&stays, &ends] {
        cluster.has_status(task, "running").await;
    }

    // When the engine is out of reach
    relay.cut().await;
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("takes no tasks until it answers").await;
    workers_show(&mut cluster, "worker-1", "Docker Engine").await;

    // Then what runs goes on, what ends does so unseen, and what comes waits
    let_go(&cluster, "worker-1", &ends);
    let waits = cluster.submit(&["exit", "0"]).await;
    assert_eq!(cluster.task(&waits).await["status"], "queued");
    assert_eq!(cluster.container_count("worker-1").await, 2);
    assert_eq!(cluster.task(&stays).await["status"], "running");

    // And all of it is found again by itself
    relay.mend().await;
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says("✓ Docker Engine is back").await;
    for task in [&ends, &waits] {
        let entry = cluster.has_status(task, "completed").await;
        assert_eq!(entry["attempt"], 1, "{entry}");
    }
    let_go(&cluster, "worker-1", &stays);
    let entry = cluster.has_status(&stays, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    cluster.end().await;
}

/// A task that prints before and after its file `go` appears, and leaves a file.
async fn printing_task(cluster: &mut Cluster) -> TaskId {
    let line = "echo before; while [ ! -e /output/go ]; do usleep 10000; done; \
                echo after; echo left > /output/left";
    let draft = TaskDraft {
        docker_image: TEST_SHELL.to_owned(),
        command: Command::Shell(line.to_owned()),
        ..test_task(&[])
    };
    cluster.submit_draft(draft).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_engine_that_die_without_a_word_cost_nothing_but_time() {
    let mut cluster = Cluster::start().await;
    let near = End::Unix(cluster.path("engine.sock"));
    let relay = Relay::new(near, End::Unix(ENGINE.into())).await;
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.env("DOCKER_HOST", relay.host());
        })
        .await;
    let task = printing_task(&mut cluster).await;
    cluster.has_status(&task, "running").await;
    let log = cluster.path("master").join(format!("logs/{task}/1.log"));
    until("its first line is here", async || {
        let length = std::fs::metadata(&log).map_or(0, |log| log.len());
        (length > 0).then_some(())
    })
    .await;

    // When every connection is dead and new ones are well
    relay.freeze();
    let_go(&cluster, "worker-1", &task);

    // Then its end is seen, and all that it printed and left.
    let entry = cluster
        .has_status_within(Duration::from_secs(180), &task, "completed")
        .await;
    assert_eq!(
        (
            &entry["attempt"],
            &entry["log_complete"],
            &entry["files_complete"]
        ),
        (&1.into(), &true.into(), &true.into()),
        "{entry}"
    );
    let attempt = AttemptId::new(task, 1);
    let log = cluster.client().await.follow(&attempt, |_| ()).await;
    assert_eq!(log.stdout, b"before\nafter\n");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_on_one_engine_touch_their_own_containers_only() {
    // Given two workers of a cluster, and one of the same name in another, each with a task
    let mut cluster = Cluster::start().await;
    let mut other = Cluster::start().await;
    cluster
        .add_worker_with("worker-1", 0.5, |command| {
            command.arg("-stop-tasks");
        })
        .await;
    let stopped = waiting_task(&mut cluster).await;
    cluster.has_status(&stopped, "running").await;
    cluster.add_worker("worker-2", 0.5).await;
    let neighbour = waiting_task(&mut cluster).await;
    cluster.has_status(&neighbour, "running").await;
    other.add_worker("worker-1", 0.5).await;
    let stranger = waiting_task(&mut other).await;
    other.has_status(&stranger, "running").await;

    // When one of them ends with its containers
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.signal("TERM").await;
    assert_eq!(worker.ends().await, Some(0));

    // Then the others' run on, and end as their own
    assert_eq!(cluster.container_count("worker-1").await, 0);
    assert_eq!(cluster.container_count("worker-2").await, 1);
    assert_eq!(other.container_count("worker-1").await, 1);
    // Its worker was shut down, which is no failure of the task: it waits for room.
    cluster.has_status(&stopped, "queued").await;
    let_go(&cluster, "worker-2", &neighbour);
    let_go(&other, "worker-1", &stranger);
    cluster.has_status(&neighbour, "completed").await;
    other.has_status(&stranger, "completed").await;
    cluster.end().await;
    other.end().await;
}
