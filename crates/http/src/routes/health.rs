//! Whether the master is alive, and whether it can be used.

use axum::{
    Extension, Json,
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use cloudai_accounts::Permission;
use cloudai_api::{Health, Readiness};
use cloudai_metrics::CONTENT_TYPE;

use crate::{Context, auth::Caller, context::Peer, openapi::problems, refusal::Refusal};

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

problems! {
    /// What a look at the metrics may answer.
    MetricsProblems: Unauthenticated, AdminOnly, MethodNotAllowed, Internal, Starting, TimedOut,
        Overloaded
}

/// What the master counts, as Prometheus reads it: for whoever is on its machine, and for admins.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "master",
    responses(
        (status = 200, description = "All metrics.", content_type = "text/plain", body = String),
        MetricsProblems,
    )
)]
pub(super) async fn metrics(
    State(context): State<Context>,
    peer: Option<Extension<Peer>>,
    request: Request,
) -> Result<Response, Refusal> {
    let is_here = peer.is_some_and(|peer| peer.0.0.to_canonical().is_loopback());
    if !is_here {
        let (mut parts, _) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, &context).await?;
        caller.may(Permission::LookAtAll)?;
    }
    let kind = HeaderValue::from_static(CONTENT_TYPE);
    Ok(([(header::CONTENT_TYPE, kind)], context.operator.metrics()).into_response())
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
