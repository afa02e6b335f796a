//! Amounts of bytes as a setting's value, and in words.

use std::fmt;

/// A text that is no amount of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount such as 100GB, 1.5TB or 500MB (units of 1024)")]
pub struct AmountError;

const UNITS: [(&str, u64); 5] = [
    ("B", 1),
    ("KB", 1 << 10),
    ("MB", 1 << 20),
    ("GB", 1 << 30),
    ("TB", 1 << 40),
];

/// Reads `100GB`, `1.5 TB`, `500m`, `64MiB` or a plain number of bytes.
///
/// # Errors
/// If it is none of these, negative, or too much to be counted.
pub fn bytes(text: &str) -> Result<u64, AmountError> {
    let text = text.trim().to_ascii_uppercase();
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.trim().parse().map_err(|_| AmountError)?;
    let unit = unit.replace("IB", "B");
    let (_, factor) = UNITS
        .into_iter()
        .find(|(name, _)| unit.is_empty() || *name == unit || name.strip_suffix('B') == Some(&unit))
        .ok_or(AmountError)?;
    let bytes = number * factor as f64;
    if !(0.0..9e18).contains(&bytes) {
        return Err(AmountError);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the range just checked; a fraction of a byte is none"
    )]
    Ok(bytes as u64)
}

/// An amount in the largest unit that it reaches, to the tenth: `1.5 GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reached = UNITS.iter().rev().find(|(_, factor)| self.0 >= *factor);
        let (unit, factor) = reached.unwrap_or(&UNITS[0]);
        let tenths = (self.0 as f64 / *factor as f64 * 10.0).round() / 10.0;
        write!(f, "{tenths} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_a_unit_or_in_bytes() {
        for (text, amount) in [
            ("0", 0),
            ("1000", 1000),
            ("100GB", 100 << 30),
            ("1.5 TB", 3 << 39),
            ("500m", 500 << 20),
            ("64MiB", 64 << 20),
            ("7 B", 7),
        ] {
            assert_eq!(bytes(text), Ok(amount), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "", "GB", "-1GB", "much", "5%", "1e300", "NaN", "10PB", "1 GB 2",
        ] {
            assert_eq!(bytes(text), Err(AmountError), "{text}");
        }
    }

    #[test]
    fn an_amount_is_told_in_the_unit_that_it_reaches() {
        for (amount, words) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (100 << 30, "100 GB"),
            (3 << 39, "1.5 TB"),
        ] {
            assert_eq!(Bytes(amount).to_string(), words);
        }
    }
}
