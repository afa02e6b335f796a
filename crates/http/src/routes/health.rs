//! Whether the master is alive, and whether it can be used.

use axum::{Json, extract::State, http::StatusCode};
use cloudai_api::{Health, Readiness};

use crate::{Context, openapi::problems};

problems! {
    /// What even open paths may answer.
    Always: MethodNotAllowed, Internal
}

/// How the master is.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health",
    tag = "master",
    security(()),
    responses((status = 200, description = "It is alive.", body = Health), Always)
)]
pub(super) async fn health(State(context): State<Context>) -> Json<Health> {
    let operator = &context.operator;
    Json(Health::new(
        operator.about(),
        &operator.snapshot(),
        operator.disks(),
        operator.degraded(),
    ))
}

/// Whether new tasks are taken.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "ready",
    tag = "master",
    security(()),
    responses(
        (status = 200, description = "They are.", body = Readiness),
        (status = 503, description = "They are not, and why.", body = Readiness),
        Always,
    )
)]
pub(super) async fn ready(State(context): State<Context>) -> (StatusCode, Json<Readiness>) {
    let reason = match context.operator.snapshot().ready {
        true => context.operator.disks().held_up,
        false => Some("the store is still being read".to_owned()),
    };
    let ready = reason.is_none();
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(Readiness { ready, reason }))
}
