//! A master on MongoDB: real programs, and real servers that are killed, step down and come back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod adopted;
mod failover;
mod keeping;
mod outage;
mod refused;
mod unread;

use cloudai_model::TaskId;
use cloudai_store::mongod::Server;
use cloudai_tests::{
    client::Client,
    cluster::{Cluster, test_task},
    wait::until,
};

/// A commit waits so long for the database in these tests.
const IMPATIENT: [&str; 2] = ["-journal-after", "1s"];

/// Does what blocks, from within a test.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// Where a master finds a server.
fn host(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port)
}

/// A cluster on a server of its own.
async fn cluster_on(server: &Server) -> Cluster {
    let host = host(server);
    Cluster::start_in("127.0.0.1", &IMPATIENT, &[("MONGODB_HOST", &host)]).await
}

/// Waits until `/health` says this.
async fn has_health(cluster: &Cluster, status: &str) {
    until(&format!("/health to say {status}"), async || {
        (cluster.get("/health").await["status"] == status).then_some(())
    })
    .await;
}

/// Waits for the store to be read, and to lack nothing.
async fn is_well(cluster: &Cluster) {
    has_health(cluster, "ok").await;
}

/// The ids of all tasks, the oldest first.
async fn listed(cluster: &mut Cluster) -> Vec<TaskId> {
    let list = cluster.json("list-tasks -limit 100000").await;
    let ids = list.as_array().unwrap().iter().rev();
    ids.map(|task| task["task_id"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Submits a task that nobody runs; `None` if no answer came, for it may be there or not.
async fn submit_once(client: &mut Client) -> Option<(TaskId, bool)> {
    let draft = cloudai_proto::submit::to_wire(test_task(&["exit", "0"]));
    let ack = client.0.assign_task(draft).await.ok()?.into_inner();
    let submitted = cloudai_proto::Submitted::from_wire(ack).unwrap().unwrap();
    Some((submitted.task, submitted.degraded.is_some()))
}
