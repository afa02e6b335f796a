//! Where a setting's value came from.

use std::{fmt, path::PathBuf};

/// Where a setting's value came from, in order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The command line.
    Flag,
    /// The environment variable of this name.
    Environment(&'static str),
    /// A variable of `.env`.
    EnvFile {
        /// The file, as it was named.
        file: PathBuf,
        /// The variable.
        name: &'static str,
    },
    /// A key of `cloudai.toml`.
    ConfigFile {
        /// The file, as it was named.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// Section and key, `master.grpc`.
        key: String,
    },
    /// The program's own default for this key.
    BuiltIn {
        /// Section and key, `master.grpc`.
        key: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("the command line"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::EnvFile { file, name } => write!(f, "{}: {name}", file.display()),
            Self::ConfigFile { file, line, key } => {
                write!(f, "{}:{line}: {key}", file.display())
            }
            Self::BuiltIn { key } => write!(f, "built-in default of {key}"),
        }
    }
}
