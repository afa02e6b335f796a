//! Every path, thin over the operator; and which of them are open to whom.

mod audit;
mod auth;
mod docs;
mod files;
mod health;
mod keys;
mod logs;
mod submit;
mod tasks;
mod telemetry;
mod users;
mod workers;

use axum::{Router, middleware, routing::get};
use cloudai_api::Code;
use tower_http::compression::CompressionLayer;
use utoipa::{
    Path as _,
    openapi::{HttpMethod, PathItem, security::SecurityRequirement},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Context,
    frame::{self, Arrival, Limits, WorthIt},
    openapi,
    refusal::Refusal,
    sockets,
};

/// All paths that the document describes. Those of `open` ask for no token.
pub(crate) fn documented() -> OpenApiRouter<Context> {
    let open = OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics));
    let json = OpenApiRouter::new()
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::me))
        .routes(routes!(auth::change_password))
        .routes(routes!(auth::rotate_token_key))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::one, users::change, users::delete))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::delete))
        .routes(routes!(audit::list))
        .routes(routes!(tasks::list, submit::submit))
        .routes(routes!(submit::submit_batch))
        .routes(routes!(tasks::one, tasks::change, tasks::cancel))
        .routes(routes!(tasks::events))
        .routes(routes!(tasks::explain))
        .routes(routes!(workers::list, workers::register))
        .routes(routes!(workers::one, workers::unregister))
        .routes(routes!(workers::tasks))
        .routes(routes!(workers::drain))
        .routes(routes!(telemetry::all))
        .routes(routes!(telemetry::one))
        .routes(routes!(telemetry::workers))
        .routes(routes!(telemetry::history))
        .routes(routes!(files::list))
        .routes(routes!(files::of_task, files::delete))
        .layer(middleware::from_fn(frame::json_only));
    let bytes = OpenApiRouter::new()
        .routes(routes!(logs::log))
        .routes(routes!(files::archive));
    let router = OpenApiRouter::with_openapi(openapi::begin())
        .merge(open)
        .merge(json)
        .merge(bytes);
    known_by_name(secured(with_download(router)))
}

/// Any request may ask for a name that this server isn't known by.
fn known_by_name(mut router: OpenApiRouter<Context>) -> OpenApiRouter<Context> {
    let paths = router.get_openapi_mut().paths.paths.values_mut();
    let operations = paths.flat_map(|item| {
        [
            &mut item.get,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ]
    });
    for operation in operations.flatten() {
        let strange = openapi::problem(&[Code::StrangeHost]);
        let answers = &mut operation.responses.responses;
        answers.insert(Code::StrangeHost.status().to_string(), strange);
    }
    router
}

/// A path of several names, which OpenAPI has no word for, is one parameter in the document.
fn with_download(mut router: OpenApiRouter<Context>) -> OpenApiRouter<Context> {
    let mut operation = files::__path_download::operation();
    operation.tags = Some(vec!["files".to_owned()]);
    let item = PathItem::new(HttpMethod::Get, operation);
    let paths = &mut router.get_openapi_mut().paths.paths;
    paths.insert(files::__path_download::path(), item);
    router.route("/api/files/{task}/download/{*path}", get(files::download))
}

/// Whatever does not say otherwise needs a token.
fn secured(mut router: OpenApiRouter<Context>) -> OpenApiRouter<Context> {
    let none: [&str; 0] = [];
    router.get_openapi_mut().security = Some(vec![
        SecurityRequirement::new("bearer", none),
        SecurityRequirement::new("cookie", none),
    ]);
    router
}

/// Everything, with what stands around it.
pub fn router(context: Context) -> Router {
    let limits = Limits::new(&context.settings);
    let origins = context.settings.origins.clone();
    let metrics = context.operator.http_metrics();
    let arrival = Arrival::new(&context.settings);
    let (paths, document) = documented().split_for_parts();
    let document = docs::Document::new(&document);
    let router = paths
        .route("/", get(docs::home))
        .route("/docs", get(docs::page))
        .route("/docs/page.js", get(docs::script))
        .route("/docs/page.css", get(docs::style))
        .route("/docs/icon.svg", get(docs::icon))
        .route("/api-docs/openapi.json", get(move || document.answer()))
        .merge(sockets::routes())
        .fallback(async || Refusal::not_found())
        .method_not_allowed_fallback(async || {
            let detail = "the path takes the methods that Allow names";
            Refusal::new(Code::MethodNotAllowed, detail)
        })
        .layer(middleware::from_fn_with_state(limits, frame::within_limits))
        .layer(middleware::from_fn_with_state(metrics, frame::counted))
        .layer(CompressionLayer::new().compress_when(WorthIt))
        .with_state(context);
    let router = match frame::cors(&origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(middleware::from_fn_with_state(arrival, frame::arrival))
        .layer(middleware::from_fn(frame::frame))
}
