//! Why settings could not be had, in words that say which line or variable to change.

use std::{fmt, io, path::PathBuf, process::ExitCode};

use crate::source::Source;

/// Why settings could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The command line is wrong, or asked for help or the version.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// A value that is no flag's is not valid.
    #[error("{from}: {}: {problem}", Shown(value.as_deref()))]
    InvalidValue {
        /// Where it came from.
        from: Source,
        /// The value; `None` if it is secret.
        value: Option<String>,
        /// What was expected.
        problem: String,
    },
    /// A file that was asked for, or is there, can't be read.
    #[error("can't read {}", file.display())]
    Unreadable {
        /// The file, as it was named.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of `.env` is no `NAME=value`. It is not shown, as it may hold a secret.
    #[error("{}:{line}: expected NAME=value, or NAME='value' if the value has spaces, # or $", file.display())]
    EnvFileSyntax {
        /// The file, as it was named.
        file: PathBuf,
        /// From 1.
        line: usize,
    },
    /// `cloudai.toml` is no TOML.
    #[error("{}:{line}: {problem}", file.display())]
    TomlSyntax {
        /// The file, as it was named.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What was expected.
        problem: String,
    },
    /// `cloudai.toml` has a key or section that means nothing.
    #[error("{}:{line}: unknown key {key}{}", file.display(), Nearest(nearest.as_deref()))]
    UnknownKey {
        /// The file, as it was named.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// The key with its section, or the section.
        key: String,
        /// The real one most like it.
        nearest: Option<String>,
    },
    /// `cloudai.toml` has a value of a kind that no setting takes, such as a table.
    #[error("{}:{line}: {key} is {found}: expected {expected}", file.display())]
    WrongKind {
        /// The file, as it was named.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// The key with its section.
        key: String,
        /// What it is, in TOML's words.
        found: &'static str,
        /// What was expected.
        expected: &'static str,
    },
}

impl LoadError {
    /// Tells the user, as help on standard output or as an error on standard error, and gives the
    /// code to exit with: 0 for help, else 2.
    pub fn report(&self) -> ExitCode {
        use std::io::Write as _;

        // A terminal that is gone leaves nobody to tell.
        match self {
            Self::Arguments(error) => {
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
            }
            other => {
                let cause = std::error::Error::source(other)
                    .map_or_else(String::new, |cause| format!(": {cause}"));
                let _ = writeln!(io::stderr(), "error: {other}{cause}");
                ExitCode::from(2)
            }
        }
    }
}

struct Shown<'a>(Option<&'a str>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value:?} is not valid"),
            None => f.write_str("the value is not valid"),
        }
    }
}

struct Nearest<'a>(Option<&'a str>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, ": did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}
