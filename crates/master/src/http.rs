//! The HTTP server: whether the master is alive, and whether it can be used.

use std::sync::Arc;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use cloudai_operator::Operator as _;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::operations::Master;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    /// Absent until the store has been read.
    cluster: Option<String>,
    workers: usize,
    active_workers: usize,
    store: String,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
}

/// Serves until `shutdown` resolves.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    master: Arc<Master>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .with_state(master);
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await
}

async fn health(State(master): State<Arc<Master>>) -> Json<Health> {
    let snapshot = master.snapshot();
    Json(Health {
        status: if snapshot.ready { "ok" } else { "starting" },
        version: crate::VERSION,
        cluster: snapshot.ready.then(|| snapshot.cluster.to_string()),
        workers: snapshot.workers.len(),
        active_workers: snapshot.active_workers(),
        store: master.store.describe(),
    })
}

async fn ready(State(master): State<Arc<Master>>) -> (StatusCode, Json<Readiness>) {
    let ready = master.snapshot().ready;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready }))
}
