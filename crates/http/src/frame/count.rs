//! What is counted of every answer.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use cloudai_operator::HttpMetrics;

/// Counts every answer, by the route that it fits and never by the path that was asked for.
pub(crate) async fn counted(
    State(metrics): State<HttpMetrics>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (method, began) = (request.method().clone(), cloudai_clock::now().mono);
    let _under_way = metrics.begin();
    let response = next.run(request).await;
    let took = cloudai_clock::now().mono.since(began);
    let (route, status) = (route.as_ref().map(MatchedPath::as_str), response.status());
    metrics.answered(route, method.as_str(), status.as_u16(), took);
    response
}
