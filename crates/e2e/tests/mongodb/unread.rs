//! A start without the database: nobody is known, nothing is lost, and tasks are taken in.

use cloudai_model::{TaskDraft, TaskId};
use cloudai_proto::{CancelAnswer, submit};
use cloudai_store::mongod::Server;
use cloudai_tests::{
    cluster::{free_port, test_task},
    process::Process,
    small_disk::SmallDisk,
    wait::until,
};

use crate::{blocking, cluster_on, has_health, is_well, listed, refused};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_taken_in_and_run_when_the_database_comes() {
    // Given a cluster whose container runs, and a database and a master that go,
    let server = blocking(|| Server::start(&[]));
    let mut cluster = cluster_on(&server).await;
    cluster.add_worker("worker-1", 1.0).await;
    let running = cluster.submit(&["lines", "200", "200"]).await;
    cluster.has_status(&running, "running").await;
    cluster.kill_master().await;
    blocking(|| server.kill());

    // when the master starts without it,
    cluster.start_master_again();
    cluster.is_serving().await;

    // then it serves, says so, and knows nothing yet;
    has_health(&cluster, "degraded").await;
    assert_eq!(cluster.get("/ready").await["ready"], false);
    cluster
        .workers
        .get_mut("worker-1")
        .unwrap()
        .says("try again in a moment")
        .await;

    // tasks are taken in, under rising ids,
    let seen = cluster.master.lines().len();
    let image = cloudai_tests::engine::TEST_TASK;
    let words = "-cpu_cores 0.5 -mem 0.125 -storage 0.5 -- /test-task exit 0";
    cluster
        .master
        .type_line(&format!("task {image} {words}"))
        .await;
    let line = cluster.master.says_after(seen, "✓ Task ").await;
    assert!(line.contains("the store has not been read yet"), "{line}");
    cluster
        .master
        .says_after(seen, "   Degraded: mongodb")
        .await;
    let first: TaskId = line.split_whitespace().nth(2).unwrap().parse().unwrap();
    let mut client = cluster.client().await;
    let mut tasks = vec![first];
    for position in 2..=5 {
        let taken = client.submit(test_task(&["exit", "0"])).await.unwrap();
        assert_eq!(taken.position, position);
        assert!(
            taken
                .degraded
                .is_some_and(|why| why.contains("out of reach"))
        );
        tasks.push(taken.task);
    }
    assert!(tasks.is_sorted());

    // and whatever needs the store is answered with the reason.
    let own_id = TaskDraft {
        task_id: Some("nightly-7".to_owned()),
        ..test_task(&["exit", "0"])
    };
    let refused = client
        .0
        .assign_task(submit::to_wire(own_id))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert!(
        refused.message().contains("has not been read yet"),
        "{refused}"
    );
    let port = free_port();
    for line in [
        format!("register worker-2 127.0.0.1:{port}"),
        "drain worker-1".to_owned(),
        format!("cancel {running}"),
    ] {
        let seen = cluster.master.lines().len();
        cluster.master.type_line(&line).await;
        cluster
            .master
            .says_after(seen, "the store has not been read yet: mongodb")
            .await;
    }
    let [cancelled, killed] = [&tasks[1], &tasks[4]];
    assert!(matches!(
        client.cancel(cancelled).await,
        CancelAnswer::Taken { .. }
    ));
    assert_eq!(listed(&mut cluster).await, tasks);
    let queue = cluster.json("queue").await;
    assert_eq!(queue.as_array().unwrap().len(), 4, "{queue}");
    assert_eq!(queue[1]["task_id"], tasks[2].to_string(), "{queue}");

    // Killed, it still knows them; and a database that comes makes tasks of them.
    cluster.kill_master().await;
    cluster.start_master_again();
    cluster.is_serving().await;
    has_health(&cluster, "degraded").await;
    assert_eq!(listed(&mut cluster).await, tasks);
    let mut client = cluster.client().await;
    assert!(matches!(
        client.cancel(killed).await,
        CancelAnswer::Taken { .. }
    ));
    assert_eq!(
        cluster.container_count("worker-1").await,
        1,
        "nothing was cancelled"
    );
    blocking(|| server.again());
    is_well(&cluster).await;
    cluster.master.says("Loaded 1 workers from database").await;
    for task in [&tasks[0], &tasks[2], &tasks[3]] {
        let entry = cluster.has_status(task, "completed").await;
        assert_eq!(entry["attempt"], 1, "{entry}");
    }
    for task in [cancelled, killed] {
        cluster.has_status(task, "cancelled").await;
    }
    let entry = cluster.has_status(&running, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    let all: Vec<TaskId> = std::iter::once(running).chain(tasks).collect();
    assert_eq!(listed(&mut cluster).await, all);
    until("the journal to be removed", async || {
        (!cluster.path("master/store-journal").exists()).then_some(())
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_no_task_in_until_there_is_room() {
    // Given a master without its database, whose disk has no room for the journal,
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::at(&folder.path().join("data"), 4);
    let nowhere = format!("127.0.0.1:{}", free_port());
    let mut master = refused::start(folder.path(), &[], &[("MONGODB_HOST", &nowhere)]);
    master.says("⚠ Degraded: mongodb").await;
    master.type_line("task alpine:3.22 -name first").await;
    master.says("✓ Task ").await;
    disk.fill();

    // when tasks come until nothing more fits, then that is said,
    let line = until("nothing more to fit", async || {
        let answer = answer_to(&mut master, "task alpine:3.22 -name second").await;
        answer.starts_with("❌").then_some(answer)
    })
    .await;
    assert!(line.contains("is full: free some space"), "{line}");

    // and when there is room again they are taken in; what was is there, after a crash as well.
    disk.empty();
    until("room to be noticed", async || {
        let answer = answer_to(&mut master, "task alpine:3.22 -name third").await;
        answer.starts_with("✓").then_some(())
    })
    .await;
    let answers = answers(&master);
    let count = answers.iter().filter(|line| line.starts_with("✓")).count();
    master.signal("KILL").await;
    master.ends().await;
    let mut master = refused::start(folder.path(), &[], &[("MONGODB_HOST", &nowhere)]);
    master.says("gRPC server listening on").await;
    master.type_line("list-tasks --json").await;
    let list = until("the tasks to be listed", async || {
        let lines = master.lines();
        lines.into_iter().find(|line| line.starts_with('['))
    })
    .await;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), count);
    assert_eq!(list[0]["name"], "third");
    assert_eq!(list[count - 1]["name"], "first");
}

/// What the console answers to a task that is typed.
async fn answer_to(master: &mut Process, line: &str) -> String {
    let before = answers(master).len();
    master.type_line(line).await;
    until("an answer", async || {
        answers(master).into_iter().nth(before)
    })
    .await
}

/// What it has answered to tasks so far.
fn answers(master: &Process) -> Vec<String> {
    let lines = master.lines().into_iter();
    lines
        .filter(|line| {
            line.starts_with("✓ Task ") || line.starts_with("❌ Failed to submit task: ")
        })
        .collect()
}
