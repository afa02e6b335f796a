//! Spans of time as a setting's value.

use std::time::Duration;

/// The longest span that is believed, a hundred years: what is added to it is still a time.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A text that is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a span of time such as 15s, 500ms or 1h 30m, or a number of seconds")]
pub struct SpanError;

/// Reads `15s`, `500ms`, `1h 30m`, or a plain number of seconds, which may have a fraction.
///
/// # Errors
/// If it is none of these, negative, or longer than [`LONGEST`].
pub fn duration(text: &str) -> Result<Duration, SpanError> {
    let text = text.trim();
    let span = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| SpanError),
        Err(_) => humantime::parse_duration(text).map_err(|_| SpanError),
    };
    span.ok().filter(|span| *span <= LONGEST).ok_or(SpanError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_a_unit_or_in_seconds() {
        for (text, ms) in [
            ("15s", 15_000),
            ("500ms", 500),
            ("1h 30m", 5_400_000),
            ("15", 15_000),
            ("0.5", 500),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "-1",
            "soon",
            "15 parsecs",
            "NaN",
            "inf",
            "1e300",
            "-5s",
            "101y",
            "1e19",
        ] {
            assert_eq!(duration(text), Err(SpanError), "{text}");
        }
    }
}
