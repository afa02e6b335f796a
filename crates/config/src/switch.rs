//! Switches as a setting's value.

/// A text that is neither on nor off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1, true, yes or on, or 0, false, no or off")]
pub struct SwitchError;

/// Reads 1, true, yes and on as true, 0, false, no and off as false, in any case of letters.
///
/// # Errors
/// If it is none of these.
pub fn switch(text: &str) -> Result<bool, SwitchError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(SwitchError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_and_off_have_four_words_each() {
        for text in ["1", "true", "YES", " on "] {
            assert_eq!(switch(text), Ok(true), "{text}");
        }
        for text in ["0", "False", "no", "off"] {
            assert_eq!(switch(text), Ok(false), "{text}");
        }
        for text in ["", "2", "perhaps", "y"] {
            assert_eq!(switch(text), Err(SwitchError), "{text}");
        }
    }
}
