//! Spans and instants as people type them, and spans as they read them.

use std::time::{Duration, UNIX_EPOCH};

use cloudai_model::Wall;

/// A text that is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no span of time: expected one such as 90s, 15m or 2h")]
pub(crate) struct SpanError(String);

/// A text that is neither an instant nor a span from now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no time: expected one such as 2026-01-31T08:00:00Z, or a span from now such as 2h"
)]
pub(crate) struct InstantError(String);

/// A time that nothing can be done by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not valid: expected a time from now on and at most 10 years ahead, such as 2h")]
pub(crate) struct RangeError(String);

/// As for a timeout.
const FURTHEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The time that `text` was read as, if it is none that was, or that nobody will see.
pub(crate) fn still_to_come(at: Wall, text: &str, now: Wall) -> Result<Wall, RangeError> {
    match (now..=now.after(FURTHEST)).contains(&at) {
        true => Ok(at),
        false => Err(RangeError(text.chars().take(80).collect())),
    }
}

/// Reads `90s`, `2h 30m`, or a bare number of seconds.
pub(crate) fn parse_span(text: &str) -> Result<Duration, SpanError> {
    let error = || SpanError(text.chars().take(80).collect());
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| error());
    }
    humantime::parse_duration(text).map_err(|_| error())
}

/// Reads an RFC 3339 time of any zone, or a span from `now`.
pub(crate) fn parse_instant(text: &str, now: Wall) -> Result<Wall, InstantError> {
    parse_span(text)
        .ok()
        .map(|span| now.after(span))
        .or_else(|| parse_rfc3339(text))
        .ok_or_else(|| InstantError(text.chars().take(80).collect()))
}

/// `humantime` reads UTC alone; the offset is taken off before.
fn parse_rfc3339(text: &str) -> Option<Wall> {
    let text = text.to_ascii_uppercase();
    let (local, offset_s) = match text.len().checked_sub(6) {
        Some(at) if !text.ends_with('Z') && text.is_char_boundary(at) => {
            let (local, zone) = text.split_at(at);
            (local, offset_seconds(zone)?)
        }
        _ => (text.trim_end_matches('Z'), 0),
    };
    let utc = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let since = utc.duration_since(UNIX_EPOCH).ok()?;
    let millis = i64::try_from(since.as_millis()).ok()?;
    Some(Wall(millis - offset_s * 1000))
}

/// `+02:00` as seconds east of Greenwich.
fn offset_seconds(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let digits = |text: &str, below: i64| {
        let all = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        let number: i64 = all.then(|| text.parse().ok())??;
        (number < below).then_some(number)
    };
    Some(sign * (digits(hours, 24)? * 3600 + digits(minutes, 60)? * 60))
}

/// A span in its largest whole unit: `0s`, `59s`, `3m`, `26h`, `4d`.
pub(crate) fn short_span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_units_and_as_seconds() {
        assert_eq!(parse_span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_span("2h 30m"), Ok(Duration::from_secs(9000)));
        assert_eq!(parse_span("1.5"), Ok(Duration::from_millis(1500)));
        for wrong in ["", "soon", "-5", "inf", "5 parsecs"] {
            assert!(parse_span(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn instants_are_read_in_any_zone_or_from_now() {
        let now = Wall(1_000_000);
        let eight = parse_instant("2026-01-31T08:00:00Z", now).unwrap();
        assert_eq!(eight.to_string(), "2026-01-31T08:00:00.000Z");
        for same in [
            "2026-01-31T10:00:00+02:00",
            "2026-01-31t03:30:00.000-04:30",
            "2026-01-31T08:00:00z",
        ] {
            assert_eq!(parse_instant(same, now), Ok(eight), "{same}");
        }
        assert_eq!(parse_instant("90s", now), Ok(Wall(1_090_000)));
        for wrong in [
            "",
            "tomorrow",
            "2026-01-31T10:00:00+2:00",
            "2026-01-31T10:00:00+02:60",
            "2026-13-31T10:00:00Z",
            "2026-01-31",
            "äöüäöü",
        ] {
            assert!(parse_instant(wrong, now).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_was_and_what_nobody_will_see_is_no_deadline() {
        let now = Wall(1_000_000);
        for (ahead, expected) in [
            (0, true),
            (3_600_000, true),
            (-1, false),
            (i64::MAX / 2, false),
        ] {
            let at = Wall(now.0 + ahead);
            assert_eq!(still_to_come(at, "", now).is_ok(), expected, "{ahead}");
        }
    }

    #[test]
    fn spans_are_shown_in_one_unit() {
        let shown = [0, 119, 120, 7199, 7200, 172_799, 172_800]
            .map(|seconds| short_span(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }
}
