//! What an error must be, whichever reader it comes from: words, in one line, of a length that fits a
//! terminal and a status of gRPC, without what would steer a terminal.

/// The most bytes that an error about one thing takes.
pub const LONGEST: usize = 4096;

/// Checks what was said about one thing that is wrong.
///
/// # Panics
/// If it is empty, of several lines, holds control characters or goes on and on.
pub fn assert_said(error: impl std::fmt::Display) {
    assert_said_within(error, LONGEST);
}

/// The same of an error that may say more, or tells of several things at once.
///
/// # Panics
/// As [`assert_said`].
pub fn assert_said_within(error: impl std::fmt::Display, longest: usize) {
    let error = error.to_string();
    assert_told(&error, longest);
    assert!(
        !error.contains(char::is_control),
        "an error holds control characters: {:?}",
        beginning(&error)
    );
}

/// The same of words that name a file of a task: names hold anything, and are made safe where they
/// are printed.
///
/// # Panics
/// If there are none, or they go on and on.
pub fn assert_told(error: impl std::fmt::Display, longest: usize) {
    let error = error.to_string();
    let length = error.len();
    assert!(!error.trim().is_empty(), "an error says nothing");
    assert!(
        length <= longest,
        "an error takes {length} bytes, {longest} are the most: {:?}",
        beginning(&error)
    );
}

fn beginning(error: &str) -> String {
    error.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn an_error_is_a_line_of_words() {
        assert_said("expected a number, such as 5");
        let long = "x".repeat(LONGEST + 1);
        for wrong in ["", " ", "two\nlines", "\u{1b}[2J", &long] {
            assert!(catch_unwind(|| assert_said(wrong)).is_err(), "{wrong:?}");
        }
    }
}
