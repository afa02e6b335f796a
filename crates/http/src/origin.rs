//! Whether a browser's request was made by a page that this very server has sent: a browser sends its
//! cookies whoever made the page.

use axum::http::{HeaderMap, HeaderName, Uri, header, uri::Authority};

/// Whether what changes something comes from a page of this server: as the browser says itself, or else
/// by `Origin`.
pub(crate) fn is_of_this_server(headers: &HeaderMap, uri: &Uri) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => has_own_origin(headers, uri),
    }
}

/// Whether `Origin` is there, and is the server that was asked.
pub(crate) fn has_own_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    let host = one(headers, header::HOST);
    let host = host.or_else(|| uri.authority().map(Authority::as_str));
    let (Some(origin), Some(host)) = (one(headers, header::ORIGIN), host) else {
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

fn one(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    // Of two nobody knows which is meant.
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_a_page_of_this_server_is_of_the_same_origin() {
        let uri = Uri::from_static("/");
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
            assert_eq!(
                has_own_origin(&headers, &uri),
                expected,
                "{origin} at {host}"
            );
            assert_eq!(
                is_of_this_server(&headers, &uri),
                expected,
                "{origin} at {host}"
            );
        }
        assert!(!has_own_origin(&headers(&[("host", "master")]), &uri));
        let twice = [
            ("origin", "http://a"),
            ("origin", "http://b"),
            ("host", "a"),
        ];
        assert!(!has_own_origin(&headers(&twice), &uri));
        // HTTP/2 has no Host.
        let asked = Uri::from_static("https://master/api/tasks");
        assert!(has_own_origin(
            &headers(&[("origin", "https://master")]),
            &asked
        ));
    }

    #[test]
    fn what_the_browser_says_itself_counts_first() {
        let uri = Uri::from_static("/api/tasks");
        for (pairs, expected) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://here"),
                    ("host", "here"),
                ],
                false,
            ),
        ] {
            assert_eq!(
                is_of_this_server(&headers(pairs), &uri),
                expected,
                "{pairs:?}"
            );
        }
    }
}
