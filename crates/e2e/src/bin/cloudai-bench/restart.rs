//! A master that is started on many live tasks: how long from its start to its first answer, and until
//! it takes a task, beside a program that reads the same file with SQLite and does nothing else.

use std::{path::Path, process::Command, time::Duration};

use cloudai_proto::cluster::{ListWorkersRequest, master_worker_client::MasterWorkerClient};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    measuring::submits_per_s,
};
use tokio::time::Instant;

const LIVE: usize = 100_000;
const IN_FLIGHT: usize = 256;
const TURNS: usize = 3;

/// Reads every row of every table, as Python's own binding of SQLite gives them.
const READ_ALL: &str = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
tables = [row[0] for row in db.execute(\"select name from sqlite_master where type = 'table'\")]
print(sum(1 for table in tables for row in db.execute(f'select * from \"{table}\"')))";

/// Measures and prints.
pub(crate) async fn run() {
    let mut cluster = Cluster::start().await;
    submits_per_s(&cluster, IN_FLIGHT, LIVE).await;
    let file = cluster.path("master/cloudai.db");
    let mut rows = Vec::new();
    for turn in 0..TURNS {
        cluster.kill_master().await;
        let read = read_alone(&file);
        let began = Instant::now();
        cluster.start_master_again();
        first_answer(&cluster.grpc).await;
        let answered = began.elapsed();
        first_submit(&cluster).await;
        let serving = began.elapsed();
        let state = cluster.json("internal-state").await;
        assert_eq!(state["live"], LIVE + turn + 1, "every task is there");
        rows.push((answered, serving, read));
    }
    println!("\na master killed and started again on {LIVE} live tasks, from its start");
    println!(
        "{:<34}{:>14}{:>12}{:>12}{:>8}",
        "", "answering s", "serving s", "SQLite s", "ratio"
    );
    for (turn, (answered, serving, read)) in rows.iter().enumerate() {
        let ratio = serving.as_secs_f64() / read.as_secs_f64();
        println!(
            "{:<34}{:>14.2}{:>12.2}{:>12.2}{ratio:>8.2}",
            format!("turn {} (aim: 2 s)", turn + 1),
            answered.as_secs_f64(),
            serving.as_secs_f64(),
            read.as_secs_f64()
        );
    }
    // Ending it in order would cancel them one by one.
    cluster.kill_master().await;
}

/// Waits until a call over gRPC is answered, be it with a request for patience.
async fn first_answer(address: &str) {
    let request = ListWorkersRequest::default;
    loop {
        if let Ok(mut client) = MasterWorkerClient::connect(format!("http://{address}")).await {
            let _ = client.list_workers(request()).await.is_ok();
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until a task is taken: for that the whole store has been read.
async fn first_submit(cluster: &Cluster) {
    let mut client = cluster.client().await;
    while client.submit(test_task(&["exit", "0"])).await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn read_alone(file: &Path) -> Duration {
    let began = Instant::now();
    let read = Command::new("python3")
        .args(["-c", READ_ALL])
        .arg(file)
        .output();
    let read = read.unwrap_or_else(|error| panic!("python3: {error}"));
    let took = began.elapsed();
    let rows: usize = String::from_utf8_lossy(&read.stdout)
        .trim()
        .parse()
        .unwrap();
    assert!(rows >= LIVE, "{rows} rows");
    took
}
