//! The database goes away under load, and comes back.

use std::time::Duration;

use cloudai_store::mongod::Server;
use cloudai_tests::{
    cluster::Cluster,
    wait::{until, until_within},
};

use crate::{blocking, cluster_on, has_health, host, is_well, listed, submit_once};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_run_and_are_there_after_a_restart() {
    let server = blocking(|| Server::start(&[]));
    let mut cluster = cluster_on(&server).await;
    cluster
        .master
        .says("✓ Store ready: mongodb 127.0.0.1:")
        .await;
    assert_eq!(cluster.get("/health").await["status"], "ok");
    cluster.add_worker("worker-1", 2.0).await;
    let good = cluster.submit(&["exit", "0"]).await;
    let bad = cluster.submit(&["exit", "3"]).await;
    cluster.has_status(&good, "completed").await;
    cluster.has_status(&bad, "failed").await;
    let long = cluster.submit(&["sleep", "3"]).await;
    cluster.has_status(&long, "running").await;

    cluster.kill_master().await;
    cluster.restart_master().await;
    cluster.master.says("Loaded 1 workers from database").await;
    let entry = cluster.has_status(&long, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    let tasks = [good, bad, long];
    assert_eq!(listed(&mut cluster).await, tasks);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_and_a_killed_master_lose_nothing_that_was_accepted() {
    // Given a stream of submits, and a container that runs,
    let server = blocking(|| Server::start(&[]));
    let mut cluster = cluster_on(&server).await;
    cluster.add_worker("worker-1", 0.5).await;
    let running = cluster.submit(&["lines", "30", "200"]).await;
    cluster.has_status(&running, "running").await;
    let mut client = cluster.client().await;
    let mut accepted = vec![running.clone()];
    for _ in 0..50 {
        let (task, degraded) = submit_once(&mut client).await.unwrap();
        assert!(!degraded);
        accepted.push(task);
    }

    // when the database is killed,
    blocking(|| server.kill());
    let mut on_the_way = 0;
    while on_the_way < 50 {
        let (task, degraded) = submit_once(&mut client).await.unwrap();
        on_the_way += usize::from(degraded);
        accepted.push(task);
    }

    // then the master goes on without it, and says so wherever it is asked,
    let health = cluster.get("/health").await;
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(
        health["degraded"]["journaled_changes"].as_u64() >= Some(50),
        "{health}"
    );
    cluster.master.says("⚠ Degraded: mongodb 127.0.0.1:").await;
    let status = cluster.json("status").await;
    assert!(status["degraded"]["since"].is_string(), "{status}");
    let seen = cluster.master.lines().len();
    let image = cloudai_tests::engine::TEST_TASK;
    cluster
        .master
        .type_line(&format!("task {image} -cpu_cores 0.5 -mem 0.125"))
        .await;
    let line = cluster.master.says_after(seen, "✓ Task ").await;
    accepted.push(line.split_whitespace().nth(2).unwrap().parse().unwrap());
    cluster
        .master
        .says_after(seen, "   Degraded: mongodb")
        .await;
    cluster.master.type_line("status").await;
    cluster.master.says_after(seen, "  Journal:   ").await;

    // and what runs ends; the master is killed while submits come in,
    until("the container to end", async || {
        (cluster.container_count("worker-1").await == 0).then_some(())
    })
    .await;
    let mut stream = cluster.client().await;
    let stream = tokio::spawn(async move {
        let mut accepted = Vec::new();
        while let Some((task, _)) = submit_once(&mut stream).await {
            accepted.push(task);
        }
        accepted
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    cluster.kill_master().await;
    accepted.extend(stream.await.unwrap());
    cluster.start_master_again();
    cluster.is_serving().await;
    has_health(&cluster, "degraded").await;
    let mut client = cluster.client().await;
    for _ in 0..20 {
        let (task, degraded) = submit_once(&mut client).await.unwrap();
        assert!(degraded);
        accepted.push(task);
    }
    blocking(|| server.again());
    is_well(&cluster).await;

    // then all that was accepted is there once, in order, and at most the one that got no answer;
    until("all to be listed", async || {
        let listed = listed(&mut cluster).await;
        (listed.len() >= accepted.len()).then_some(())
    })
    .await;
    let mut there = listed(&mut cluster).await;
    let more = there.len() - accepted.len();
    assert!(more <= 1, "{more} that were never answered");
    there.retain(|task| accepted.contains(task));
    assert_eq!(there, accepted);
    // the container's end, too.
    let id = running.to_string();
    let entry = until("the end of the container to be known", async || {
        let list = cluster.json("list-tasks -limit 100000").await;
        let all = list.as_array()?.iter();
        let mut ended = all.filter(|task| task["status"] == "completed");
        ended.find(|task| task["task_id"] == id.as_str()).cloned()
    })
    .await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    assert!(!cluster.path("master/store-journal").exists());
    cluster.workers.clear();
    cluster.master.signal("TERM").await;
    assert_eq!(cluster.master.ends().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_must_have_its_database_ends_without_it_and_its_containers_go_on() {
    // Given a master that must have its database, and a container that outlives it,
    let server = blocking(|| Server::start(&[]));
    let host = host(&server);
    let env = [("MONGODB_HOST", host.as_str())];
    let mut cluster = Cluster::start_in("127.0.0.1", &["-store-required"], &env).await;
    cluster.add_worker("worker-1", 1.0).await;
    let running = cluster.submit(&["sleep", "130"]).await;
    cluster.has_status(&running, "running").await;
    let mut client = cluster.client().await;

    // when the database is killed, and something is submitted,
    blocking(|| server.kill());
    let submit = tokio::spawn(async move { submit_once(&mut client).await });

    // then the master says why it ends, after more than a minute; it has answered nothing and
    // journaled nothing;
    let ends = Duration::from_secs(150);
    until_within(ends, "the master to give up", async || {
        let lines = cluster.master.lines();
        let gives_up =
            |line: &String| line.contains("the store can't be written; what was answered");
        lines.iter().any(gives_up).then_some(())
    })
    .await;
    assert_eq!(cluster.master.ends().await, Some(1));
    assert_eq!(submit.await.unwrap(), None);
    assert!(!cluster.path("master").join("store-journal").exists());

    // and the container is taken up by the next, as the attempt that it is.
    blocking(|| server.again());
    cluster.restart_master().await;
    let patience = Duration::from_secs(150);
    let entry = cluster
        .has_status_within(patience, &running, "completed")
        .await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    assert_eq!(listed(&mut cluster).await, [running]);
    cluster.end().await;
}
