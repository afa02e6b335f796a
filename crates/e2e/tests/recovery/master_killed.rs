//! A master that is killed at any instant, alone and with its worker.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cloudai_model::{TaskDraft, TaskId};
use cloudai_proto::{Submitted, cluster::master_worker_client::MasterWorkerClient, submit};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    wait::until,
};
use tokio::time::sleep;

use crate::task::{is_whole, some, telling};

/// How often the master is killed in a test.
const KILLS: u32 = 8;
/// Users that submit at the same time.
const USERS: usize = 4;

/// Submits one task after the other, whether the master is there or not; what was answered is
/// noted under the name that the task was given.
async fn submit_on(
    address: String,
    names: Arc<AtomicU64>,
    answered: Arc<Mutex<BTreeMap<String, TaskId>>>,
    over: Arc<AtomicBool>,
) {
    let mut client = None;
    while !over.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(10)).await;
        let Some(connected) = &mut client else {
            client = MasterWorkerClient::connect(address.clone()).await.ok();
            continue;
        };
        // A name is given once: a task that appears under it twice was made twice.
        let name = format!("n{}", names.fetch_add(1, Ordering::Relaxed));
        let draft = TaskDraft {
            name: Some(name.clone()),
            ..test_task(&["exit", "0"])
        };
        match connected.assign_task(submit::to_wire(draft)).await {
            Ok(ack) => {
                // One that has just been started asks for patience.
                if let Ok(submitted) = Submitted::from_wire(ack.into_inner()).unwrap() {
                    answered.lock().unwrap().insert(name, submitted.task);
                }
            }
            Err(_) => client = None,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answered_submit_is_there_exactly_once_however_often_the_master_is_killed() {
    // Given a stream of submits
    let mut cluster = Cluster::start().await;
    let (names, answered) = (Arc::<AtomicU64>::default(), Arc::default());
    let over = Arc::<AtomicBool>::default();
    let users: Vec<_> = (0..USERS)
        .map(|_| {
            let address = format!("http://{}", cluster.grpc);
            let (names, answered) = (names.clone(), Arc::clone(&answered));
            tokio::spawn(submit_on(address, names, answered, over.clone()))
        })
        .collect();

    // When the master is killed at some instants within it
    for _ in 0..KILLS {
        let before = answered.lock().unwrap().len();
        until("another submit to be answered", async || {
            (answered.lock().unwrap().len() > before).then_some(())
        })
        .await;
        sleep(some(Duration::from_millis(300))).await;
        cluster.kill_master().await;
        cluster.restart_master().await;
    }
    over.store(true, Ordering::Relaxed);
    for user in users {
        user.await.unwrap();
    }

    // Then whatever was answered is there under the id that was told, and nothing is there twice.
    let answered = answered.lock().unwrap().clone();
    assert!(answered.len() > KILLS as usize, "{}", answered.len());
    let listed = cluster.json("list-tasks -limit 100000").await;
    let mut found = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for task in listed.as_array().unwrap() {
        let (name, id) = (
            task["name"].as_str().unwrap(),
            task["task_id"].as_str().unwrap(),
        );
        let before = found.insert(name.to_owned(), id.parse::<TaskId>().unwrap());
        assert_eq!(before, None, "{name} was made twice");
        assert!(ids.insert(id.to_owned()), "{id} was given twice");
        assert_eq!(task["status"], "queued", "{task}");
    }
    for (name, task) in &answered {
        assert_eq!(found.get(name), Some(task), "{name} was answered");
    }
    // What is there besides was under way when the master was killed: at most one of each user.
    assert!(found.len() - answered.len() <= USERS * KILLS as usize);
    cluster.master.type_line("exit").await;
    cluster.master.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_containers_logs_and_files_outlive_any_number_of_kills() {
    // Given a worker with a long task and shorter ones that end all the time
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let long = cluster.submit_draft(telling(150, 50, 700)).await;
    cluster.has_status(&long, "running").await;
    let mut short = Vec::new();

    // When the master is killed at some instants, and is away for a moment each time
    for _ in 0..KILLS {
        for _ in 0..2 {
            short.push(cluster.submit_draft(telling(10, 20, 50)).await);
        }
        sleep(some(Duration::from_millis(1200))).await;
        cluster.kill_master().await;
        sleep(some(Duration::from_millis(600))).await;
        cluster.restart_master().await;
    }

    // Then each has run once, is counted once, and nothing of it is missing or there twice.
    let entry = cluster.has_status(&long, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    is_whole(&mut cluster, &long, 150, &entry).await;
    for task in &short {
        let entry = cluster.has_status(task, "completed").await;
        // One that was written down and not sent before a kill, as a later one was, is given anew. No
        // worker failed under it, and its log has one run.
        assert_eq!(entry["taken_down"], serde_json::json!([]), "{entry}");
        assert_eq!(entry["retries_used"], 0, "{entry}");
        is_whole(&mut cluster, task, 10, &entry).await;
    }
    let tasks = cluster.json("list-tasks").await;
    assert_eq!(tasks.as_array().unwrap().len(), short.len() + 1);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_the_master_is_away_is_reported_again_and_counted_once() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let task = cluster.submit_draft(telling(10, 100, 100)).await;
    cluster.has_status(&task, "running").await;

    // When it ends with nobody to tell it to
    cluster.kill_master().await;
    let worker = cluster.workers.get_mut("worker-1").unwrap();
    worker.says(&format!("[Task {task}] ✓ Completed")).await;

    // Then the next master hears of it, and the worker keeps nothing.
    cluster.restart_master().await;
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    is_whole(&mut cluster, &task, 10, &entry).await;
    spool_is_empty(&cluster).await;

    // And one more master finds that one result.
    cluster.kill_master().await;
    cluster.restart_master().await;
    let again = cluster.task(&task).await;
    assert_eq!(
        (&again["status"], &again["completed_at"]),
        (&entry["status"], &entry["completed_at"])
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_killed_at_once_find_each_other_and_the_containers_again() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let mut tasks = Vec::new();
    for round in 0..4 {
        // Given one that outlives the kill, and one that may end around it
        let long = cluster.submit_draft(telling(60, 50, 200)).await;
        let short = cluster.submit_draft(telling(5, 20, 50)).await;
        sleep(some(Duration::from_millis(1500))).await;
        cluster.kill_worker("worker-1").await;
        cluster.kill_master().await;
        // whoever is back first
        if round % 2 == 0 {
            cluster.restart_worker("worker-1", 2.0);
            cluster.restart_master().await;
        } else {
            cluster.restart_master().await;
            cluster.restart_worker("worker-1", 2.0);
        }
        tasks.extend([(long, 60), (short, 5)]);
    }
    for (task, lines) in &tasks {
        let entry = cluster.has_status(task, "completed").await;
        is_whole(&mut cluster, task, *lines, &entry).await;
    }
    spool_is_empty(&cluster).await;
    cluster.end().await;
}

/// Waits until the worker holds and owes nothing.
async fn spool_is_empty(cluster: &Cluster) {
    let spool = cluster.path("worker-1/spool");
    until("the spool to be empty", async || {
        let entries = std::fs::read_dir(&spool).unwrap().map(Result::unwrap);
        let mut folders = entries.filter(|entry| entry.path().is_dir());
        folders.next().is_none().then_some(())
    })
    .await;
}
