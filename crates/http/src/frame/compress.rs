//! Which answers are worth compressing.

use axum::http::{Response, header};
use http_body::Body;
use tower_http::compression::predicate::Predicate;

/// Below this the header of gzip eats what it saves.
const LEAST_BYTES: u64 = 1024;

/// JSON of some length. Not what has a tag, which names its bytes as they are; not logs, which would wait in the compressor for more; and no files, which mostly are compressed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorthIt;

impl Predicate for WorthIt {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        let headers = response.headers();
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        kind.starts_with("application/json")
            && !headers.contains_key(header::ETAG)
            && response.body().size_hint().lower() >= LEAST_BYTES
    }
}
