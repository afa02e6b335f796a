//! Which part of a file is asked for: RFC 9110, section 14.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderValue, header};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it; also what can't be read, or is several ranges, which need not be served.
    All,
    /// These bytes.
    Range(Range<u64>),
    /// Only what lies behind its end.
    Beyond,
}

/// What a request asks for of a file of this size, whose state this tag names.
pub(super) fn asked_for(headers: &HeaderMap, tag: Option<&HeaderValue>, size: u64) -> Asked {
    let mut given = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (given.next(), given.next()) else {
        return Asked::All;
    };
    // The part that is there already is of another state, or it can't be told: all of it anew.
    if let Some(known) = headers.get(header::IF_RANGE)
        && tag.is_none_or(|tag| tag != known)
    {
        return Asked::All;
    }
    let text = range.to_str().unwrap_or_default();
    let one = text.strip_prefix("bytes=").map(str::trim);
    let Some((first, last)) = one.and_then(|one| one.split_once('-')) else {
        return Asked::All;
    };
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More digits than a number can have lie behind every file.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (from, end) = match (first, last, number(first), number(last)) {
        ("", _, _, Some(0)) => return Asked::Beyond,
        ("", _, _, Some(suffix)) => (size.saturating_sub(suffix), size),
        (_, "", Some(from), _) => (from, size),
        (_, _, Some(from), Some(last)) if last >= from => (from, last.saturating_add(1).min(size)),
        _ => return Asked::All,
    };
    match from < size {
        true => Asked::Range(from..end),
        false => Asked::Beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &str, if_range: Option<&str>, size: u64) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
        if let Some(tag) = if_range {
            headers.insert(header::IF_RANGE, HeaderValue::from_str(tag).unwrap());
        }
        asked_for(&headers, Some(&HeaderValue::from_static("\"x\"")), size)
    }

    #[test]
    fn one_range_is_served_and_anything_else_is_the_whole() {
        for (range, expected) in [
            ("bytes=0-0", Asked::Range(0..1)),
            ("bytes=2-", Asked::Range(2..10)),
            ("bytes=2-99", Asked::Range(2..10)),
            ("bytes=-3", Asked::Range(7..10)),
            ("bytes=-99", Asked::Range(0..10)),
            ("bytes=9-9", Asked::Range(9..10)),
            ("bytes=10-", Asked::Beyond),
            ("bytes=99999999999999999999999-", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=5-2", Asked::All),
            ("bytes=0-1,3-4", Asked::All),
            ("bytes=-", Asked::All),
            ("bytes=+1-2", Asked::All),
            ("bytes=a-b", Asked::All),
            ("lines=0-1", Asked::All),
            ("bytes=0--1", Asked::All),
        ] {
            assert_eq!(of(range, None, 10), expected, "{range}");
        }
        assert_eq!(of("bytes=0-", None, 0), Asked::Beyond);
        assert_eq!(
            of("bytes=0-18446744073709551615", None, 10),
            Asked::Range(0..10)
        );
    }

    #[test]
    fn of_another_state_all_is_sent() {
        assert_eq!(of("bytes=1-2", Some("\"x\""), 10), Asked::Range(1..3));
        assert_eq!(of("bytes=1-2", Some("\"y\""), 10), Asked::All);
        assert_eq!(of("bytes=1-2", Some("W/\"x\""), 10), Asked::All);
        assert_eq!(
            of("bytes=1-2", Some("Sat, 31 Jan 2026 08:00:00 GMT"), 10),
            Asked::All
        );
    }
}
