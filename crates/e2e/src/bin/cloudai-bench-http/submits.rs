//! Submits over REST: one by one and in batches, by a few and by many at a time; beside the same number
//! in flight over gRPC, and flushes of the disk.

use std::time::Duration;

use cloudai_tests::{
    measuring::{flushes_per_s, submits_per_s},
    web::{Ask, Connection, post},
};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    probe::{Probe, Waits},
    site::{Site, print_memory, task},
};

const CONNECTIONS: [usize; 3] = [1, 16, 128];
const BATCHES: [usize; 3] = [1, 100, 10_000];
/// No connection begins another request after so long.
const SPAN: Duration = Duration::from_secs(5);
/// Over gRPC, for each in flight.
const GRPC_SUBMITS: usize = 3000;
/// Tasks that are in flight together: more than a server holds would measure how long others wait.
const MOST_IN_FLIGHT: usize = 160_000;

/// Measures and prints.
pub(crate) async fn run() {
    println!("\ndurable submits over REST, each answered when it is flushed, no workers");
    println!(
        "{:<34}{:>10}{:>10}{:>8}{:>14}{:>8}",
        "tasks a request, connections", "tasks/s", "gRPC/s", "ratio", "flushes/s", "ratio"
    );
    let mut waits = Vec::new();
    for batch in BATCHES {
        // Each on a master of its own: what the last one left does not burden it.
        let site = Site::start(&[]).await;
        let small = site.small_request().await;
        let before = site.memory_before();
        waits.push((
            format!("idle, before requests of {batch}"),
            Probe::idle(site.at(), small.clone()).await,
        ));
        for connections in CONNECTIONS {
            let flushes = flushes_per_s(&site.cluster.path("flushes"));
            let count = match connections {
                1 => GRPC_SUBMITS / 10,
                _ => GRPC_SUBMITS,
            };
            let over_grpc = submits_per_s(&site.cluster, connections, count).await;
            let probe = Probe::start(site.at(), small.clone());
            let size = batch.min(MOST_IN_FLIGHT / connections);
            let tasks = tasks_per_s(&site, size, connections).await;
            let name = format!("{size} a request, {connections} connections");
            waits.push((format!("while {name}"), probe.end().await));
            println!(
                "{name:<34}{tasks:>10.0}{over_grpc:>10.0}{:>8.2}{flushes:>14.0}{:>8.2}",
                tasks / over_grpc,
                tasks / flushes
            );
        }
        print_memory(&site, before);
        site.kill().await;
    }
    Waits::print_head();
    for (when, waits) in waits {
        waits.print(&when);
    }
}

/// Tasks a second that are taken from so many connections, one request after the other on each.
async fn tasks_per_s(site: &Site, batch: usize, connections: usize) -> f64 {
    let ask = request(site, batch);
    let mut asking = JoinSet::new();
    let began = Instant::now();
    for _ in 0..connections {
        let (at, ask) = (site.at().to_owned(), ask.clone());
        asking.spawn(async move {
            let mut connection = Connection::open_to(&at).await;
            let mut taken = 0;
            while began.elapsed() < SPAN {
                connection.ask(&ask).await.expect(201);
                taken += batch;
            }
            taken
        });
    }
    let taken: usize = asking.join_all().await.into_iter().sum();
    taken as f64 / began.elapsed().as_secs_f64()
}

fn request(site: &Site, batch: usize) -> Ask {
    match batch {
        1 => post("/api/tasks").by(&site.admin).json(&task()),
        _ => post("/api/tasks/batch")
            .by(&site.admin)
            .json(&json!({ "tasks": vec![task(); batch] })),
    }
}
