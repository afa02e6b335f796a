//! Every path, thin over the operator; and which of them are open to whom.

mod docs;
mod health;

use axum::{Router, middleware, routing::get};
use cloudai_api::Code;
use tower_http::compression::CompressionLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Context,
    frame::{self, Limits, WorthIt},
    openapi,
    refusal::Refusal,
};

/// All paths that the document describes.
pub(crate) fn documented() -> OpenApiRouter<Context> {
    OpenApiRouter::with_openapi(openapi::begin())
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
}

/// Everything, with what stands around it.
pub fn router(context: Context) -> Router {
    let limits = Limits::new(&context.settings);
    let origins = context.settings.origins.clone();
    let (paths, document) = documented().split_for_parts();
    let document = docs::Document::new(&document);
    let router = paths
        .route("/", get(docs::home))
        .route("/docs", get(docs::page))
        .route("/docs/page.js", get(docs::script))
        .route("/docs/page.css", get(docs::style))
        .route("/api-docs/openapi.json", get(move || document.answer()))
        .fallback(async || Refusal::not_found())
        .method_not_allowed_fallback(async || {
            let detail = "the path takes the methods that Allow names";
            Refusal::new(Code::MethodNotAllowed, detail)
        })
        .layer(middleware::from_fn_with_state(limits, frame::within_limits))
        .layer(CompressionLayer::new().compress_when(WorthIt))
        .with_state(context);
    let router = match frame::cors(&origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(middleware::from_fn(frame::frame))
}
