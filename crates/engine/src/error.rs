//! What can go wrong with any question to the engine, told from bollard's errors.

use std::{error::Error as StdError, io};

use bollard::errors::Error as BollardError;

/// Why a question to the engine has no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine can't be reached or broke off; asking again later may help.
    #[error("the Docker Engine doesn't answer; expected it to run (`systemctl status docker`)")]
    Unavailable(#[source] Box<BollardError>),
    /// The engine knows no such container; it was removed by someone.
    #[error("the Docker Engine has no such container: {0}")]
    NoSuchContainer(String),
    /// The engine answered that it can't, in its own words.
    #[error("the Docker Engine answered {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The engine's message.
        message: String,
    },
    /// The answer is not what this API promises.
    #[error("the Docker Engine's answer was not understood: {0}")]
    Unexpected(String),
}

impl EngineError {
    /// Whether the same question may be answered later without anything having been changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::NoSuchContainer(_) | Self::Unexpected(_) => false,
        }
    }

    /// Nothing has come for too long: the connection may be dead.
    pub(crate) fn stood_still() -> Self {
        Self::Unavailable(Box::new(BollardError::RequestTimeoutError))
    }

    /// From an error about a container.
    pub(crate) fn from_bollard(error: BollardError) -> Self {
        match error {
            BollardError::DockerResponseServerError {
                status_code: 404,
                message,
            } => Self::NoSuchContainer(message),
            BollardError::DockerResponseServerError {
                status_code,
                message,
            } => Self::Refused {
                status: status_code,
                message,
            },
            BollardError::DockerStreamError { error } => Self::Refused {
                status: 500,
                message: error,
            },
            error if is_connection_failure(&error) => Self::Unavailable(Box::new(error)),
            error => Self::Unexpected(error.to_string()),
        }
    }
}

/// Whether it is the way to the engine that failed, not the engine that said no.
pub(crate) fn is_connection_failure(error: &BollardError) -> bool {
    matches!(
        error,
        BollardError::RequestTimeoutError
            | BollardError::IOError { .. }
            | BollardError::HyperResponseError { .. }
            | BollardError::HyperLegacyError { .. }
            | BollardError::SocketNotFoundError(_)
    )
}

/// The kind of the first telling I/O error among the causes.
pub(crate) fn io_kind(error: &BollardError) -> Option<io::ErrorKind> {
    // This one stands for its cause and so is not a link of the chain.
    if let BollardError::IOError { err } = error {
        return Some(err.kind());
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        // `Other` is a wrapper's.
        if kind.is_some_and(|kind| kind != io::ErrorKind::Other) {
            return kind;
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_said_no_is_told_from_one_that_is_away() {
        let away = EngineError::from_bollard(BollardError::RequestTimeoutError);
        assert!(away.is_transient(), "{away}");

        let gone = EngineError::from_bollard(BollardError::DockerResponseServerError {
            status_code: 404,
            message: "No such container: x".to_owned(),
        });
        assert!(matches!(gone, EngineError::NoSuchContainer(_)), "{gone}");
        assert!(!gone.is_transient());

        let refused = EngineError::from_bollard(BollardError::DockerResponseServerError {
            status_code: 409,
            message: "is not running".to_owned(),
        });
        assert!(!refused.is_transient(), "{refused}");
    }
}
