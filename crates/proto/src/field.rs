//! Reading one field: proto3 sends an absent text, number or message as an empty one.

use std::{fmt::Display, str::FromStr};

use cloudai_model::{
    AttemptId, Wall, old_node,
    resources::{GB, bytes_to_gb},
};

use crate::error::WireError;

/// Parses a text that must be there.
pub(crate) fn parsed<T>(field: &'static str, text: &str) -> Result<T, WireError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse()
        .map_err(|error: T::Err| WireError::new(field, error.to_string()))
}

/// Parses a text that may be absent.
pub(crate) fn parsed_if_any<T>(field: &'static str, text: &str) -> Result<Option<T>, WireError>
where
    T: FromStr,
    T::Err: Display,
{
    if text.is_empty() {
        return Ok(None);
    }
    parsed(field, text).map(Some)
}

/// No machine has, or does in a second, so much of anything, in whatever unit.
const BEYOND_BELIEF: f64 = 1e12;
/// All of a thousand cores, each told by itself.
const MOST_PERCENT: f64 = 100_000.0;

/// Words of a node are kept, listed and sent on up to so many bytes.
const MOST_TEXT: usize = 4096;

/// Words that are only shown or compared; what is longer than anybody reads is cut.
pub(crate) fn shown_text(mut text: String) -> String {
    if text.len() > MOST_TEXT {
        text.truncate(text.floor_char_boundary(MOST_TEXT));
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// The same; an empty one is none.
pub(crate) fn shown_text_if_any(text: String) -> Option<String> {
    text_if_any(text).map(shown_text)
}

/// The text, unless it is empty.
pub(crate) fn text_if_any(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// The attempt that a node means; its number is 0 where an old node didn't say.
pub(crate) fn attempt(task_id: &str, number: u32) -> Result<AttemptId, WireError> {
    match task_id.parse() {
        Ok(task) => Ok(AttemptId::new(task, number)),
        // An id near the limit has grown past it by the attempt that old nodes get added.
        Err(error) => Some(number)
            .filter(|number| *number == 0)
            .and_then(|_| old_node::split(task_id))
            .ok_or_else(|| WireError::new("task_id", error.to_string())),
    }
}

/// The attempt that a new node means, which always says its number.
pub(crate) fn numbered_attempt(task_id: &str, number: u32) -> Result<AttemptId, WireError> {
    if number == 0 {
        return Err(WireError::new(
            "attempt",
            "0 is not valid: expected the attempt's number, from 1",
        ));
    }
    Ok(AttemptId::new(parsed("task_id", task_id)?, number))
}

/// An amount of GB that is only shown, so that nonsense is zero.
pub(crate) fn shown_bytes(amount: f64, unit: u64) -> u64 {
    (shown(amount) * unit as f64).round() as u64
}

/// A figure that is only shown, so that nonsense is zero.
pub(crate) fn shown(figure: f64) -> f64 {
    if figure > 0.0 && figure < BEYOND_BELIEF {
        figure
    } else {
        0.0
    }
}

/// The same for a share of a machine, of which each of its cores may count as a whole.
pub(crate) fn shown_percent(percent: f64) -> f64 {
    Some(shown(percent))
        .filter(|percent| *percent <= MOST_PERCENT)
        .unwrap_or_default()
}

/// GB to bytes, for figures that are only shown.
pub(crate) fn shown_gb(gb: f64) -> u64 {
    shown_bytes(gb, GB)
}

/// Bytes as the wire's GB.
pub(crate) fn gb(bytes: u64) -> f64 {
    bytes_to_gb(bytes)
}

/// Milli-cores or milli-GPUs as whole ones.
pub(crate) fn whole(milli: u64) -> f64 {
    milli as f64 / 1000.0
}

/// Unix seconds as the wire has them, 0 for never.
pub(crate) fn unix_seconds(at: Option<Wall>) -> i64 {
    at.map_or(0, Wall::unix_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_shown_as_nothing() {
        for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
            assert_eq!(shown(nonsense), 0.0, "{nonsense}");
            assert_eq!(shown_percent(nonsense), 0.0, "{nonsense}");
            assert_eq!(shown_gb(nonsense), 0, "{nonsense}");
        }
        assert_eq!(shown_percent(6400.0), 6400.0);
        assert_eq!(shown_percent(1e6), 0.0);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shown_text("short".to_owned()), "short");
        let whole = "x".repeat(MOST_TEXT);
        assert_eq!(shown_text(whole.clone()), whole);
        // The last character that begins within the limit ends beyond it.
        let cut = shown_text(format!("x{}", "ä".repeat(MOST_TEXT)));
        assert!(
            cut.ends_with("ä…") && cut.len() <= MOST_TEXT + "…".len(),
            "{}",
            cut.len()
        );
        assert_eq!(shown_text_if_any(String::new()), None);
    }
}
