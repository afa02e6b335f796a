//! Reads the timestamps of engines and old nodes: RFC 3339 with up to nine digits of a second's
//! fraction. How times are written is with [`crate::time`].

use crate::Wall;

const NS_PER_S: i64 = 1_000_000_000;

/// Unix nanoseconds of a timestamp such as `2026-01-31T08:00:00.123456789Z`, or `None` if it is
/// none or lies beyond what 64 bits hold (1677 to 2262).
///
/// It is called for every line of a log, so it works on bytes and allocates nothing.
#[must_use]
pub fn unix_ns(text: &[u8]) -> Option<i64> {
    let (date_time, rest) = text.split_at_checked(19)?;
    for (at, expected) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if date_time[at] != expected {
            return None;
        }
    }
    let number = |from: usize, to: usize| digits(&date_time[from..to]);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_ns, zone) = fraction(rest)?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
        - zone_offset_s(zone)?;
    seconds.checked_mul(NS_PER_S)?.checked_add(fraction_ns)
}

/// The same as the model's wall time; `None` also for an engine's way to say "never", the year 1.
#[must_use]
pub fn wall(text: &str) -> Option<Wall> {
    unix_ns(text.as_bytes()).map(|ns| Wall(ns.div_euclid(1_000_000)))
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

/// Nanoseconds of `.123`, and what follows it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after_point) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = after_point
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let (fraction, rest) = after_point.split_at(length);
    let scale = 10_i64.pow(9 - u32::try_from(length).ok()?);
    Some((digits(fraction)? * scale, rest))
}

/// Seconds that a zone such as `Z` or `+02:00` is ahead of UTC.
fn zone_offset_s(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let offset = digits(&[*h1, *h2])? * 3600 + digits(&[*m1, *m2])? * 60;
            Some(if *sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

/// Days from 1970-01-01 to a civil date, as in Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms".
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_timestamps_are_read_to_the_nanosecond() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000000001Z", 1),
            ("1970-01-01T00:00:00.5Z", 500_000_000),
            (
                "2000-02-29T00:00:00.001Z",
                951_782_400 * NS_PER_S + 1_000_000,
            ),
            (
                "2023-10-12T17:10:56.789+02:00",
                1_697_123_456 * NS_PER_S + 789_000_000,
            ),
            ("1969-12-31T23:59:59.999999999Z", -1),
        ] {
            assert_eq!(unix_ns(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn it_is_the_inverse_of_how_the_model_shows_a_time() {
        for ms in [-1, 0, 951_782_400_001, 1_697_123_456_789, 4_102_444_799_999] {
            assert_eq!(wall(&Wall(ms).to_string()), Some(Wall(ms)));
        }
    }

    #[test]
    fn never_is_no_time() {
        assert_eq!(wall("0001-01-01T00:00:00Z"), None);
    }

    #[test]
    fn what_is_no_timestamp_is_none() {
        for text in [
            "",
            "hello",
            "2023-10-12T17:10:56",
            "2023-10-12 17:10:56Z",
            "2023-13-12T17:10:56Z",
            "2023-10-12T17:10:56.Z",
            "2023-10-12T17:10:56.1234567890Z",
            "2023-10-12T17:10:56+0200",
            "2x23-10-12T17:10:56Z",
        ] {
            assert_eq!(unix_ns(text.as_bytes()), None, "{text}");
        }
    }
}
