//! Whether the master is alive, and whether it can be used.

use axum::{
    Extension, Json,
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
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
pub(super) async fn health(State(context): State<Context>, request: Request) -> Json<Health> {
    let operator = &context.operator;
    let health = Health::new(
        operator.about(),
        &operator.snapshot(),
        operator.disks(),
        operator.degraded(),
    );
    Json(match sees_all(&context, request).await {
        true => health,
        false => health.for_strangers(),
    })
}

/// Whether all is for whoever asks: who is on the master's machine, and admins. Anybody may ask, with
/// whatever token.
async fn sees_all(context: &Context, request: Request) -> bool {
    let (mut parts, _) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().copied();
    if is_here(peer, &parts.headers) {
        return true;
    }
    let caller = Caller::from_request_parts(&mut parts, context).await;
    caller.is_ok_and(|caller| caller.may(Permission::LookAtAll).is_ok())
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
    security((), ("bearer" = []), ("cookie" = [])),
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
    if !is_here(peer.map(|Extension(peer)| peer), request.headers()) {
        let (mut parts, _) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, &context).await?;
        caller.may(Permission::LookAtAll)?;
    }
    let kind = HeaderValue::from_static(CONTENT_TYPE);
    // Disks are asked how much they hold: not on the threads that serve.
    let operator = context.operator.clone();
    let text = tokio::task::spawn_blocking(move || operator.metrics()).await;
    let text = text.map_err(|error| Refusal::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Headers with which a proxy says whom it asks for: whoever that is, is not on this machine.
const OF_PROXIES: [HeaderName; 3] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

/// Whether a request comes from the master's own machine, and from nobody behind a proxy there.
fn is_here(peer: Option<Peer>, headers: &HeaderMap) -> bool {
    let is_loopback = peer.is_some_and(|Peer(address)| address.to_canonical().is_loopback());
    is_loopback && !OF_PROXIES.iter().any(|name| headers.contains_key(name))
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
pub(super) async fn ready(
    State(context): State<Context>,
    request: Request,
) -> (StatusCode, Json<Readiness>) {
    let reason = match context.operator.snapshot().ready {
        true => context.operator.disks().held_up,
        false => Some("the store is still being read".to_owned()),
    };
    let ready = reason.is_none();
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let readiness = Readiness { ready, reason };
    let readiness = match sees_all(&context, request).await {
        true => readiness,
        false => readiness.for_strangers(),
    };
    (status, Json(readiness))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_who_is_on_this_machine_needs_no_token() {
        let nothing = HeaderMap::new();
        let from = |address: &str, headers| is_here(Some(Peer(address.parse().unwrap())), headers);
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.8.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(from(address, &nothing), expected, "{address}");
        }
        assert!(!is_here(None, &nothing));
        // A proxy on this machine asks for somebody else.
        let mut forwarded = HeaderMap::new();
        forwarded.insert("x-forwarded-for", HeaderValue::from_static("10.0.0.1"));
        assert!(!from("127.0.0.1", &forwarded));
    }
}
