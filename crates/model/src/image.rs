//! Names of container images.

use std::{fmt, str::FromStr, sync::Arc};

/// A text that is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "image {text:?} is not valid: {problem}; expected a name such as alpine:3.20 or \
     registry.example.org:5000/team/app@sha256:<64 hex digits>"
)]
pub struct ImageRefError {
    text: String,
    problem: &'static str,
}

/// A valid image name, as it was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef(Arc<str>);

impl ImageRef {
    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        if text.is_empty() {
            return Err(ImageRefError {
                text: String::new(),
                problem: "it is empty",
            });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
