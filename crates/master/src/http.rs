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
    /// Absent while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<StoreAway>,
}

/// The store's database is out of reach.
#[derive(Serialize)]
struct StoreAway {
    since: String,
    reason: String,
    read: bool,
    journaled_changes: usize,
    journaled_submits: usize,
    journal_bytes: u64,
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
    let degraded = master.degraded();
    Json(Health {
        status: match (&degraded, snapshot.ready) {
            (Some(_), _) => "degraded",
            (None, true) => "ok",
            (None, false) => "starting",
        },
        version: crate::VERSION,
        cluster: snapshot.ready.then(|| snapshot.cluster.to_string()),
        workers: snapshot.workers.len(),
        active_workers: snapshot.active_workers(),
        store: master.store.describe(),
        degraded: degraded.map(|away| StoreAway {
            since: away.since.to_string(),
            reason: away.reason,
            read: away.read,
            journaled_changes: away.changes,
            journaled_submits: away.submitted,
            journal_bytes: away.journal_bytes,
        }),
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
