//! What a client accepts, against what there is.

use axum::{
    extract::Request,
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cloudai_api::Code;

use crate::refusal::Refusal;

/// Before handlers that answer JSON: whoever can't read that is told so before anything is done.
pub(crate) async fn json_only(request: Request, next: Next) -> Response {
    if preferred(request.headers(), &["application/json"]).is_some() {
        return next.run(request).await;
    }
    let detail = "the answer is application/json, and Accept leaves it out";
    Refusal::new(Code::NotAcceptable, detail).into_response()
}

/// Which of `offered` is wanted most, by RFC 9110 section 12.5.1; of two that are wanted alike the
/// first. `None`: none of them.
pub(crate) fn preferred<'o>(headers: &HeaderMap, offered: &[&'o str]) -> Option<&'o str> {
    let mut accepted = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        // What nobody can read asks for nothing.
        let ranges = value.to_str().unwrap_or_default().split(',');
        accepted.extend(ranges.filter_map(range));
    }
    if accepted.is_empty() {
        return offered.first().copied();
    }
    let weight = |offer: &str| {
        let (kind, _) = offer.split_once('/').unwrap_or((offer, ""));
        let specific = |range: &str| match range {
            range if range == offer => 3,
            "*/*" => 1,
            range if range.strip_suffix("/*") == Some(kind) => 2,
            _ => 0,
        };
        let fitting = accepted.iter().filter(|(range, _)| specific(range) > 0);
        let best = fitting.max_by_key(|(range, _)| specific(range));
        best.map_or(0, |(_, weight)| *weight)
    };
    let mut best: Option<(&str, u16)> = None;
    for offer in offered {
        let weight = weight(offer);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((offer, weight));
        }
    }
    best.map(|(offer, _)| offer)
}

/// A media range and its weight in thousandths.
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let weight = parts.find_map(|part| part.strip_prefix("q="));
    let weight = weight.map_or(Some(1.0), |weight| weight.parse::<f64>().ok());
    let weight = weight.unwrap_or(0.0).clamp(0.0, 1.0);
    Some((range.to_ascii_lowercase(), (weight * 1000.0) as u16))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_most_specific_range_and_the_highest_weight_win() {
        let offered = ["text/plain", "text/event-stream"];
        for (accept, expected) in [
            ("", Some("text/plain")),
            ("*/*", Some("text/plain")),
            ("text/event-stream", Some("text/event-stream")),
            ("text/event-stream, */*;q=0.1", Some("text/event-stream")),
            ("text/*;q=0.5, text/plain;q=0.2", Some("text/event-stream")),
            ("application/json", None),
            ("text/plain;q=0", None),
            ("TEXT/PLAIN", Some("text/plain")),
            ("application/json, text/*", Some("text/plain")),
            ("*/*;q=x", None),
        ] {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(preferred(&headers, &offered), expected, "{accept}");
        }
    }
}
