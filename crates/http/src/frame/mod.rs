//! What stands around every request: its id, its line in the log, the time it may take, headers of
//! safety, and a problem in the place of every error, a panic's too.

mod arrival;
mod compress;
mod cors;
mod count;
mod id;
mod limits;
mod produce;

use std::panic::AssertUnwindSafe;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cloudai_api::{Code, Problem};
use futures_util::FutureExt as _;
use tracing::{Instrument as _, debug, error, info_span};

pub use self::arrival::{AddressRange, AddressRangeError};
pub(crate) use self::{
    arrival::{Arrival, arrival},
    compress::WorthIt,
    cors::cors,
    count::counted,
    limits::{Limits, Turn, until, within_limits},
    produce::{json_only, preferred},
};
use crate::{
    context::RequestId,
    refusal::{Refusal, SEE_LOG},
};

/// Carries the request's id.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a browser may do with an answer: nothing. Pages say more.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// The outermost layer.
pub(crate) async fn frame(mut request: Request, next: Next) -> Response {
    let id = id::of(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // A path is printable ASCII, but may be long; its query may hold what is nobody's business.
    let shown: String = path.chars().take(200).collect();
    let span = info_span!("http", request = %id, %method, path = %shown);
    let began = cloudai_clock::now().mono;
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answer = answer.instrument(span.clone()).await;
    let _within = span.enter();
    let mut response = answer.unwrap_or_else(|_| {
        // The hook has written what it said.
        error!("a handler panicked");
        Refusal::new(Code::Internal, SEE_LOG).into_response()
    });
    render_problem(&mut response, &id);
    let took_ms = cloudai_clock::now().mono.since(began).as_millis();
    debug!(status = response.status().as_u16(), took_ms, "answered");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(X_REQUEST_ID, value);
    }
    make_safe(headers);
    response
}

/// Gives every error the body of a problem.
fn render_problem(response: &mut Response, id: &str) {
    let status = response.status();
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_bare_error(response) => {
            let code = code_of(status);
            Problem::new(code, code.title())
        }
        None => return,
    };
    let Ok(status) = StatusCode::from_u16(problem.code().status()) else {
        return;
    };
    *response.status_mut() = status;
    let body = serde_json::to_vec(&problem.of_request(id)).unwrap_or_default();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::CONTENT_ENCODING);
    let json = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer realm=\"cloudai\"");
        headers.entry(header::WWW_AUTHENTICATE).or_insert(bearer);
    }
    if [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
    ]
    .contains(&status)
    {
        let soon = HeaderValue::from_static("1");
        headers.entry(header::RETRY_AFTER).or_insert(soon);
    }
    *response.body_mut() = body.into();
}

/// Whether it is an error that says nothing of itself. `/ready` says its own.
fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    (status.is_client_error() || status.is_server_error())
        && kind.is_none_or(|kind| kind != "application/json")
}

/// For what is refused below our own handlers.
fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::NOT_ACCEPTABLE => Code::NotAcceptable,
        StatusCode::REQUEST_TIMEOUT => Code::RequestTimeout,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::RANGE_NOT_SATISFIABLE => Code::RangeNotSatisfiable,
        StatusCode::SERVICE_UNAVAILABLE => Code::Overloaded,
        status if status.is_client_error() => Code::BadRequest,
        _ => Code::Internal,
    }
}

fn make_safe(headers: &mut HeaderMap) {
    let mut default = |name: HeaderName, value: HeaderValue| {
        headers.entry(name).or_insert(value);
    };
    default(header::CONTENT_SECURITY_POLICY, POLICY);
    default(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    default(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    default(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    default(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    default(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
