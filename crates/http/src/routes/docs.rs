//! The document of the interface, and pages for people that need nothing from elsewhere.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::tasks::names;

/// Pages load what is beside them and nothing else, and their script makes no markup of text.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The document as it is sent.
#[derive(Clone)]
pub(super) struct Document(Bytes);

impl Document {
    pub(super) fn new(document: &utoipa::openapi::OpenApi) -> Self {
        // It is made of the code alone: a test writes it, too.
        Self(serde_json::to_vec(document).unwrap_or_default().into())
    }

    /// Without a tag: so it is compressed, to a tenth.
    pub(super) async fn answer(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], self.0).into_response()
    }
}

pub(super) async fn home(headers: HeaderMap) -> Response {
    asset(
        &headers,
        "text/html; charset=utf-8",
        include_str!("../../assets/home.html"),
    )
}

pub(super) async fn page(headers: HeaderMap) -> Response {
    asset(
        &headers,
        "text/html; charset=utf-8",
        include_str!("../../assets/docs.html"),
    )
}

pub(super) async fn script(headers: HeaderMap) -> Response {
    asset(
        &headers,
        "text/javascript; charset=utf-8",
        include_str!("../../assets/docs.js"),
    )
}

pub(super) async fn style(headers: HeaderMap) -> Response {
    asset(
        &headers,
        "text/css; charset=utf-8",
        include_str!("../../assets/page.css"),
    )
}

pub(super) async fn icon(headers: HeaderMap) -> Response {
    asset(
        &headers,
        "image/svg+xml",
        include_str!("../../assets/icon.svg"),
    )
}

/// Part of a page; not again to whoever has it.
fn asset(headers: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let digest = hex::encode(&Sha256::digest(text)[..16]);
    let tag = HeaderValue::from_str(&format!("\"{digest}\""));
    let tag = tag.expect("hex digits and quotes make a header");
    let is_known = names(headers.get_all(header::IF_NONE_MATCH).iter(), &tag);
    let about = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::ETAG, tag),
    ];
    match is_known {
        true => (StatusCode::NOT_MODIFIED, about).into_response(),
        false => (about, text).into_response(),
    }
}
