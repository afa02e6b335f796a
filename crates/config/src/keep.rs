//! How long something is kept, as a setting's value: a span of time, or for ever.

use std::{fmt, time::Duration};

use crate::span::duration;

/// A text that doesn't say how long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected how long to keep it, such as 30d or 12h, or forever")]
pub struct KeepError;

/// How long something is kept. What is kept for ever is kept longer than anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// So long.
    For(Duration),
    /// Until somebody removes it.
    Forever,
}

impl Keep {
    /// The span, if it has an end.
    #[must_use]
    pub fn span(self) -> Option<Duration> {
        match self {
            Self::For(span) => Some(span),
            Self::Forever => None,
        }
    }
}

impl fmt::Display for Keep {
    /// `30 d`, `12 h`, `for ever`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::For(span) = self else {
            return f.write_str("for ever");
        };
        let seconds = span.as_secs();
        for (unit, length) in [("d", 86_400), ("h", 3600), ("min", 60)] {
            if seconds >= length && seconds.is_multiple_of(length) {
                return write!(f, "{} {unit}", seconds / length);
            }
        }
        write!(f, "{} s", span.as_secs_f64())
    }
}

/// Reads a span of time that is not zero, or `forever`.
///
/// # Errors
/// If it is neither.
pub fn keep(text: &str) -> Result<Keep, KeepError> {
    let word = text.trim().to_ascii_lowercase();
    if ["forever", "for ever"].contains(&word.as_str()) {
        return Ok(Keep::Forever);
    }
    match duration(&word) {
        // Nothing at all, or no limit: whoever writes 0 may mean either.
        Ok(span) if !span.is_zero() => Ok(Keep::For(span)),
        _ => Err(KeepError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_or_for_ever() {
        for (text, words) in [
            ("30d", "30 d"),
            ("36h", "36 h"),
            ("90m", "90 min"),
            ("1500ms", "1.5 s"),
            ("forever", "for ever"),
            ("For ever", "for ever"),
        ] {
            assert_eq!(keep(text).unwrap().to_string(), words, "{text}");
        }
        assert!(Keep::Forever > keep("1000d").unwrap());
        for text in ["", "0", "0s", "never", "-1", "30 parsecs"] {
            assert_eq!(keep(text), Err(KeepError), "{text}");
        }
    }
}
