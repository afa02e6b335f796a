//! The HTTP server: whether the master is alive, and whether it can be used.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use cloudai_operator::{HttpMetrics, Operator as _};
use serde::Serialize;
use tokio::{net::TcpListener, time::Instant};

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
    /// Why no new task is taken, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    disks: Vec<DiskHealth>,
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
struct DiskHealth {
    holds: Vec<&'static str>,
    total_bytes: u64,
    free_bytes: u64,
    keep_free_bytes: u64,
}

/// Whether it can be used, which is more than that it is alive: whether new tasks are taken.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
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
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(
            master.http_metrics(),
            counted,
        ))
        .with_state(master);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(shutdown)
        .await
}

async fn health(State(master): State<Arc<Master>>) -> Json<Health> {
    let snapshot = master.snapshot();
    let degraded = master.degraded();
    let full = master.room.held_up();
    let disks = master.room.disks().into_iter().map(|disk| DiskHealth {
        holds: disk.holds,
        total_bytes: disk.total_bytes,
        free_bytes: disk.free_bytes,
        keep_free_bytes: disk.keep_free_bytes,
    });
    Json(Health {
        status: match (snapshot.ready, &full, &degraded) {
            (_, _, Some(_)) => "degraded",
            (false, _, None) => "starting",
            (true, Some(_), None) => "full",
            (true, None, None) => "ok",
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
        reason: full,
        disks: disks.collect(),
    })
}

/// Counts every answer, by the route that it fits and never by the path that was asked for.
async fn counted(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (method, began) = (request.method().clone(), Instant::now());
    let _under_way = metrics.begin();
    let response = next.run(request).await;
    let (route, status) = (route.as_ref().map(MatchedPath::as_str), response.status());
    metrics.answered(route, method.as_str(), status.as_u16(), began.elapsed());
    response
}

/// What the master counts, for whoever is on its machine.
async fn metrics(
    State(master): State<Arc<Master>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return StatusCode::FORBIDDEN.into_response();
    }
    let kind = [(header::CONTENT_TYPE, cloudai_metrics::CONTENT_TYPE)];
    (kind, master.metrics()).into_response()
}

async fn ready(State(master): State<Arc<Master>>) -> (StatusCode, Json<Readiness>) {
    let reason = match master.snapshot().ready {
        true => master.room.held_up(),
        false => Some("the store is still being read".to_owned()),
    };
    let ready = reason.is_none();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, reason }))
}
