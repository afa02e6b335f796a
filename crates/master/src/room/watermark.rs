//! How much of a disk is to stay free, as a setting's value.

use cloudai_config::bytes;

/// A text that says of no amount that it is to stay free.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected what is to stay free of a disk, such as 5%, 2GB, or both, 5%,2GB: the smaller counts; 0 for nothing"
)]
pub struct WatermarkError;

/// How much of a disk is to stay free. Of several amounts the smallest counts: a twentieth of a large
/// disk is more than anybody needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watermark {
    percent: Option<f64>,
    bytes: Option<u64>,
}

impl Watermark {
    /// What is to stay free of a disk of this size.
    #[must_use]
    pub fn of(self, total_bytes: u64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most the whole disk"
        )]
        let share = |percent: f64| (total_bytes as f64 * percent / 100.0) as u64;
        let amounts = self.percent.map(share).into_iter().chain(self.bytes);
        amounts.min().unwrap_or(0).min(total_bytes)
    }
}

/// Reads `5%`, `2GB`, or both with a comma between.
///
/// # Errors
/// If it is none of these, or more than the whole disk.
pub fn watermark(text: &str) -> Result<Watermark, WatermarkError> {
    let mut mark = Watermark {
        percent: None,
        bytes: None,
    };
    for part in text.split(',') {
        match part.trim().strip_suffix('%') {
            Some(percent) if mark.percent.is_none() => {
                let percent: f64 = percent.trim().parse().map_err(|_| WatermarkError)?;
                if !(0.0..100.0).contains(&percent) {
                    return Err(WatermarkError);
                }
                mark.percent = Some(percent);
            }
            None if mark.bytes.is_none() => {
                mark.bytes = Some(bytes(part).map_err(|_| WatermarkError)?);
            }
            Some(_) | None => return Err(WatermarkError),
        }
    }
    Ok(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_an_amount_or_the_smaller_of_both() {
        let of = |text, total| watermark(text).unwrap().of(total);
        assert_eq!(of("5%", 1000), 50);
        assert_eq!(of("2GB", 1 << 40), 2 << 30);
        assert_eq!(of("5%,2GB", 1 << 40), 2 << 30);
        assert_eq!(of("2GB, 5%", 1 << 30), 53_687_091);
        assert_eq!(of("0", 1 << 30), 0);
        assert_eq!(of("2GB", 1000), 1000, "never more than there is");
        for text in ["", "5", "100%", "-1%", "5%,6%", "1GB,2GB", "half"] {
            let read = watermark(text);
            // A plain number is an amount of bytes.
            assert_eq!(read.is_ok(), text == "5", "{text}");
        }
    }
}
