//! How somebody shows who they are who opens a WebSocket.
//!
//! A program sends the header `Authorization`. A page in a browser can't: it offers the protocols
//! `bearer` and the token, and the former is what is agreed on. Or it sends its cookie, as every page
//! of every site does that the browser shows; so then `Origin` must be there, and be ours.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cloudai_api::Code;

use crate::{origin::has_own_origin, refusal::Refusal};

/// The protocol that is agreed on with whoever brings a token so.
pub(super) const PROTOCOL: &str = "bearer";

/// Before whoever asks is identified: makes the header of the protocol, and refuses other sites'
/// pages that come with a cookie.
pub(super) async fn shown(mut request: Request, next: Next) -> Response {
    let headers = request.headers_mut();
    if let Some(token) = offered(headers) {
        // What is not needed further on stands in nobody's way, and in no log.
        let protocol = HeaderValue::from_static(PROTOCOL);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        headers.entry(header::AUTHORIZATION).or_insert(token);
    }
    let is_by_cookie =
        headers.contains_key(header::COOKIE) && !headers.contains_key(header::AUTHORIZATION);
    if is_by_cookie && !has_own_origin(request.headers(), request.uri()) {
        let detail = "with a cookie a WebSocket is opened by pages of this server alone: expected \
                      its own Origin, or a token";
        return Refusal::new(Code::CrossOrigin, detail).into_response();
    }
    next.run(request).await
}

/// `Authorization`'s value for `Sec-WebSocket-Protocol: bearer, <token>`.
fn offered(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut offered = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim));
    offered.find(|protocol| *protocol == PROTOCOL)?;
    let token = offered.next()?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_token_may_come_as_a_protocol() {
        for (protocols, expected) in [
            (vec!["bearer, abc.def"], Some("Bearer abc.def")),
            (vec!["bearer", "abc"], Some("Bearer abc")),
            (vec!["chat, bearer,abc"], Some("Bearer abc")),
            (vec!["bearer"], None),
            (vec!["abc"], None),
            (vec!["abc, bearer"], None),
            (vec![], None),
        ] {
            let all: Vec<_> = protocols
                .iter()
                .map(|it| ("sec-websocket-protocol", *it))
                .collect();
            let value = offered(&headers(&all));
            let value = value.as_ref().and_then(|value| value.to_str().ok());
            assert_eq!(value, expected, "{protocols:?}");
        }
    }
}
