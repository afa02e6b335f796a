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

use crate::refusal::Refusal;

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
    if is_by_cookie && !is_same_origin(headers) {
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

/// Whether the request comes from a page that this very server has sent.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let one = |name| {
        let mut values = headers.get_all(name).iter();
        // Of two nobody knows which is meant.
        let value = values.next().filter(|_| values.next().is_none());
        value.and_then(|value| value.to_str().ok())
    };
    let (Some(origin), Some(host)) = (one(header::ORIGIN), one(header::HOST)) else {
        return false;
    };
    let Some((scheme, authority)) = origin.split_once("://") else {
        // As `null`, of a page without an origin.
        return false;
    };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.strip_suffix(default_port)
            .map_or(text.clone(), str::to_owned)
    };
    !host.is_empty() && bare(authority) == bare(host)
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

    #[test]
    fn only_a_page_of_this_server_is_of_the_same_origin() {
        for (origin, host, expected) in [
            ("http://master:8080", "master:8080", true),
            ("https://master", "master", true),
            ("https://master", "master:443", true),
            ("http://MASTER:80", "master", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://master:8081", "master:8080", false),
            ("http://master.evil.org", "master", false),
            ("http://evil.org/master", "master", false),
            ("http://master@evil.org", "master", false),
            ("https://master", "master:80", false),
            ("null", "master", false),
            ("", "", false),
            ("http://", "", false),
            ("file://master", "master", false),
        ] {
            let headers = headers(&[("origin", origin), ("host", host)]);
            assert_eq!(is_same_origin(&headers), expected, "{origin} at {host}");
        }
        assert!(!is_same_origin(&headers(&[("host", "master")])));
        let twice = [
            ("origin", "http://a"),
            ("origin", "http://b"),
            ("host", "a"),
        ];
        assert!(!is_same_origin(&headers(&twice)));
    }
}
