//! A worker that sends nonsense: it is told so, and nobody else notices.
//!
//! The liar is played by the test: no real worker does what it does. What a worker makes of a
//! master that lies is tested beside the worker.

mod claims;
mod liar;
mod logs;
mod uploads;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use cloudai_model::TaskId;
use cloudai_proto::cluster::{
    self, ExitReport, TaskResult, WorkerInfo, master_worker_server::MasterWorkerServer,
};
use cloudai_tests::cluster::{Cluster, test_task};
use liar::{Liar, Logs};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, transport::Server};

const NAME: &str = "liar";

/// A cluster in which the liar is registered, and one honest worker.
async fn with_liar() -> Cluster {
    with(Logs::Silent).await.0
}

/// The same with a liar of such logs; with what it was asked to stop.
async fn with(logs: Logs) -> (Cluster, Arc<Mutex<Vec<cluster::TaskId>>>) {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 1.0).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked_to_stop = Arc::default();
    let liar = Liar {
        logs,
        asked_to_stop: Arc::clone(&asked_to_stop),
    };
    let serving = Server::builder()
        .add_service(MasterWorkerServer::new(liar))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    cluster
        .master
        .type_line(&format!("register {NAME} {address}"))
        .await;
    cluster.master.says("Worker liar registered").await;
    (cluster, asked_to_stop)
}

fn info(cpu: f64) -> WorkerInfo {
    WorkerInfo {
        worker_id: NAME.to_owned(),
        total_cpu: cpu,
        total_memory: 8.0,
        total_storage: 20.0,
        version: "1".to_owned(),
        ..WorkerInfo::default()
    }
}

/// A task that the liar was given.
async fn given(cluster: &mut Cluster) -> TaskId {
    let mut client = cluster.client().await.0;
    client.register_worker(info(4.0)).await.unwrap();
    let mut draft = test_task(&["exit", "0"]);
    draft.worker_id = Some(NAME.to_owned());
    draft.cpu_cores = Some(0.01);
    draft.memory_gb = Some(0.01);
    draft.storage_gb = Some(0.001);
    let task = cluster.submit_draft(draft).await;
    cluster.has_status(&task, "pending").await;
    task
}

/// The liar's word that an attempt ended well.
fn result(task: &str, attempt: u32) -> TaskResult {
    TaskResult {
        task_id: task.to_owned(),
        worker_id: NAME.to_owned(),
        status: "success".to_owned(),
        attempt,
        exit: Some(ExitReport {
            kind: "exited".to_owned(),
            has_exit_code: true,
            ..ExitReport::default()
        }),
        log_complete: true,
        files_complete: true,
        ..TaskResult::default()
    }
}

/// Somebody else's task is run as if nothing were.
async fn an_honest_task_completes(cluster: &mut Cluster) {
    let task = cluster.submit(&["exit", "0"]).await;
    cluster.has_status(&task, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_large_is_refused_and_the_server_goes_on() {
    let mut cluster = with_liar().await;
    let mut client = cluster.client().await.0;
    let oversized = WorkerInfo {
        worker_ip: "x".repeat(20 << 20),
        ..info(4.0)
    };
    let refused = client.register_worker(oversized).await.unwrap_err();
    assert!(
        matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{refused}"
    );
    an_honest_task_completes(&mut cluster).await;
    cluster.end().await;
}

/// Every file below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
