//! Reading `.env`, without changing the environment of the process.
//!
//! `$NAME` in a value stands for that variable, of the process or of an earlier line, unless the
//! value is in single quotes.

use std::{collections::BTreeMap, fs, path::Path};

use crate::error::LoadError;

/// The variables of a file; of one that is set twice, the last.
///
/// # Errors
/// If it can't be read, or a line is no `NAME=value`. `shown` is the file's name in errors.
pub fn read(path: &Path, shown: &Path) -> Result<BTreeMap<String, String>, LoadError> {
    let text = fs::read_to_string(path).map_err(|source| LoadError::Unreadable {
        file: shown.to_owned(),
        source,
    })?;
    let text = text.trim_start_matches('\u{feff}');
    dotenvy::from_read_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| LoadError::EnvFileSyntax {
            file: shown.to_owned(),
            line: match error {
                dotenvy::Error::LineParse(wrong, _) => line_of(text, &wrong),
                _ => 1,
            },
        })
}

/// The parser tells the text of the line, which may span several, but not its number.
fn line_of(text: &str, wrong: &str) -> usize {
    let first = wrong.lines().next().unwrap_or_default();
    text.lines()
        .position(|line| line.trim() == first.trim())
        .map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<BTreeMap<String, String>, LoadError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("env");
        fs::write(&path, text).unwrap();
        read(&path, Path::new(".env"))
    }

    #[test]
    fn variables_are_read_with_comments_quotes_and_export() {
        let text = "\u{feff}# one\nA=1\nexport B='two words'\n\nC=\"#3\" # three\nA=last\n";
        let variables = read_text(text).unwrap();
        let expected = [("A", "last"), ("B", "two words"), ("C", "#3")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(variables, expected.into());
    }

    #[test]
    fn a_line_that_is_no_variable_is_named_by_its_number_and_not_shown() {
        let error = read_text("A=1\n\nhunter2 oops\nB=2\n")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(".env:3: expected NAME=value"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
