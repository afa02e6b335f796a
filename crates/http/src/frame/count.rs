//! What is counted of every answer.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use cloudai_operator::HttpMetrics;
use tokio::time::Instant;

/// Counts every answer, by the route that it fits and never by the path that was asked for.
pub(crate) async fn counted(
    State(metrics): State<HttpMetrics>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    // The shells' clock counts milliseconds; most answers take less than one.
    let (method, began) = (request.method().clone(), Instant::now());
    let _under_way = metrics.begin();
    let response = next.run(request).await;
    let (route, status) = (route.as_ref().map(MatchedPath::as_str), response.status());
    metrics.answered(route, method.as_str(), status.as_u16(), began.elapsed());
    response
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, http::StatusCode, middleware, routing::get};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_route_is_counted_and_the_path_that_was_asked_for_is_not() {
        // Given a server with one route,
        let metrics = cloudai_metrics::Metrics::default();
        let router = Router::new()
            .route("/tasks/{id}", get(async || StatusCode::NO_CONTENT))
            .fallback(async || StatusCode::NOT_FOUND)
            .layer(middleware::from_fn_with_state(
                metrics.http().clone(),
                counted,
            ));
        // when it is asked for two things of that route, and for something else,
        for path in ["/tasks/1", "/tasks/2", "/evil/3"] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let _ = router.clone().oneshot(request).await.unwrap();
        }
        // then that is counted as it is.
        let snapshot = cloudai_core::Snapshot::unready("c-1".parse().unwrap());
        let text = metrics.text(&cloudai_metrics::State {
            version: "1",
            store: "memory",
            snapshot: &snapshot,
            degraded: None,
            held_up: false,
            disks: &[],
            kept: &[],
        });
        let total = "cloudai_http_requests_total{method=\"GET\",route=";
        for line in [
            "\"/tasks/{id}\",status=\"2xx\"} 2",
            "\"none\",status=\"4xx\"} 1",
        ] {
            assert!(text.contains(&format!("{total}{line}")), "{text}");
        }
        assert!(text.contains("cloudai_http_requests_in_flight 0"), "{text}");
        assert!(!text.contains("evil"), "{text}");
    }
}
