//! What workers use: now, and over the last hour and day.

use std::sync::Arc;

use axum::{Json, extract::State};
use cloudai_accounts::Permission;
use cloudai_api::{Telemetry, WorkerMetrics, WorkerTelemetry, Workers};
use cloudai_model::WorkerId;
use cloudai_operator::Resolution;

use super::workers::seen;
use crate::{
    Context,
    auth::Caller,
    openapi::problems,
    query::{Id, Query},
    refusal::Refusal,
};

problems! {
    /// What paths for everybody who is logged in may answer.
    Seen: InvalidParameter, Unauthenticated, MethodNotAllowed, NotAcceptable, Internal, Starting, StoreAway,
        TimedOut, Overloaded
}

problems! {
    /// The same, of one worker.
    SeenOne: InvalidParameter, Unauthenticated, NotFound, MethodNotAllowed, NotAcceptable, Internal, Starting,
        TimedOut, Overloaded
}

/// What all workers use, and what of them is promised.
#[utoipa::path(
    get,
    path = "/telemetry",
    operation_id = "get_telemetry",
    tag = "telemetry",
    responses((status = 200, description = "As of a moment ago.", body = Telemetry), Seen)
)]
pub(super) async fn all(
    State(context): State<Context>,
    caller: Caller,
    query: Query,
) -> Result<Json<Telemetry>, Refusal> {
    query.finish()?;
    caller.may(Permission::Look)?;
    let operator = &context.operator;
    Ok(Json(Telemetry::new(&operator.snapshot(), operator.now())))
}

/// What one worker uses, and what of it is promised.
#[utoipa::path(
    get,
    path = "/telemetry/{worker}",
    operation_id = "get_worker_telemetry",
    tag = "telemetry",
    params(("worker" = String, Path, description = "The worker's id.")),
    responses((status = 200, description = "As of a moment ago.", body = WorkerTelemetry), SeenOne)
)]
pub(super) async fn one(
    State(context): State<Context>,
    caller: Caller,
    Id(worker): Id<WorkerId>,
    query: Query,
) -> Result<Json<WorkerTelemetry>, Refusal> {
    query.finish()?;
    caller.may(Permission::Look)?;
    let snapshot = context.operator.snapshot();
    let worker = snapshot
        .workers
        .get(&worker)
        .ok_or_else(Refusal::not_found)?;
    Ok(Json(WorkerTelemetry::new(worker, context.operator.now())))
}

/// All workers in one answer. Of their tasks those are named that whoever asks may see.
#[utoipa::path(
    get,
    path = "/workers",
    operation_id = "list_all_workers",
    tag = "telemetry",
    responses((status = 200, description = "As of a moment ago.", body = Workers), Seen)
)]
pub(super) async fn workers(
    State(context): State<Context>,
    caller: Caller,
    query: Query,
) -> Result<Json<Workers>, Refusal> {
    query.finish()?;
    caller.may(Permission::Look)?;
    let (snapshot, now) = (context.operator.snapshot(), context.operator.now());
    let all = snapshot.workers.values().map(Arc::as_ref).collect();
    let seen = seen(&context, &caller, all).await?;
    Ok(Json(Workers::new(now.wall, seen)))
}

/// What a worker's machine used over the last hour or day.
#[utoipa::path(
    get,
    path = "/api/workers/{id}/metrics",
    operation_id = "get_worker_metrics",
    tag = "telemetry",
    params(
        ("id" = String, Path, description = "The worker's id."),
        ("resolution" = Option<String>, Query, pattern = "^(5s|1m)$",
            description = "`5s` for the last hour, `1m` for the last day; `5s` if it is missing."),
        ("since" = Option<String>, Query, format = DateTime,
            description = "From the span on that holds it."),
    ),
    responses((status = 200, description = "A point for each span in which something was said.", body = WorkerMetrics), SeenOne)
)]
pub(super) async fn history(
    State(context): State<Context>,
    caller: Caller,
    Id(worker): Id<WorkerId>,
    mut query: Query,
) -> Result<Json<WorkerMetrics>, Refusal> {
    let resolution = match query.text("resolution").as_deref() {
        None | Some("5s") => Resolution::FiveSeconds,
        Some("1m") => Resolution::Minute,
        Some(_) => {
            query.mistake("resolution", "expected 5s or 1m");
            Resolution::FiveSeconds
        }
    };
    let since = query.instant("since");
    query.finish()?;
    caller.may(Permission::Look)?;
    let points = context.operator.history(&worker, resolution, since);
    let points = points.ok_or_else(Refusal::not_found)?;
    Ok(Json(WorkerMetrics::new(&worker, resolution, &points)))
}
