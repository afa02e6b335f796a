//! Why a pull failed, told from the engine's words in words for the user who named the image.

use bollard::errors::Error as BollardError;
use cloudai_model::ImageRef;

use crate::{EngineError, error::is_connection_failure, image::registry_of};

/// Why an image could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry has no such repository or tag.
    #[error("image {image} does not exist in its registry; check name and tag")]
    NotFound {
        /// The image.
        image: ImageRef,
    },
    /// The registry gives it to nobody unknown, or to nobody by this name.
    #[error("image {image} was refused by {registry}: {hint}")]
    Denied {
        /// The image.
        image: ImageRef,
        /// Its registry.
        registry: String,
        /// What to do.
        hint: &'static str,
    },
    /// The registry can't be reached.
    #[error("registry {registry} of image {image} is not reachable from this worker: {message}")]
    RegistryUnreachable {
        /// The image.
        image: ImageRef,
        /// Its registry.
        registry: String,
        /// What the engine said.
        message: String,
    },
    /// It took too long.
    #[error("image {image} was not pulled within {seconds} s; the pull was given up")]
    TimedOut {
        /// The image.
        image: ImageRef,
        /// The limit in seconds.
        seconds: u64,
    },
    /// The engine's disk is full.
    #[error("no disk space left on this worker to pull image {image}")]
    DiskFull {
        /// The image.
        image: ImageRef,
    },
    /// Anything else, in the engine's words.
    #[error("image {image} could not be pulled: {message}")]
    Failed {
        /// The image.
        image: ImageRef,
        /// What the engine said.
        message: String,
    },
    /// The engine couldn't be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl PullError {
    /// Whether the same pull may succeed later, or on another worker.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::Denied { .. } | Self::Failed { .. } => false,
            Self::RegistryUnreachable { .. } | Self::TimedOut { .. } | Self::DiskFull { .. } => {
                true
            }
            Self::Engine(error) => error.is_transient(),
        }
    }
}

/// What the engine's answer to a pull means.
///
/// The engine has no codes for it: the status is 404 or 500, or 200 with the error in the stream.
/// Its words have been stable since 1.10, newer engines with containerd's image store have others.
pub(crate) fn pull_error(
    image: &ImageRef,
    had_credentials: bool,
    error: BollardError,
) -> PullError {
    let message = match error {
        BollardError::DockerResponseServerError { message, .. } => message,
        BollardError::DockerStreamError { error } => error,
        error if is_connection_failure(&error) => return EngineError::from_bollard(error).into(),
        error => error.to_string(),
    };
    let image = image.clone();
    let registry = registry_of(&image).to_owned();
    match kind_of(&message) {
        Kind::NotFound => PullError::NotFound { image },
        Kind::Denied => PullError::Denied {
            image,
            registry,
            hint: if had_credentials {
                "it does not exist, or the credentials of this worker's Docker config do not \
                 allow it"
            } else {
                "it does not exist, or needs credentials (`docker login` on this worker)"
            },
        },
        Kind::Unreachable => PullError::RegistryUnreachable {
            image,
            registry,
            message,
        },
        Kind::DiskFull => PullError::DiskFull { image },
        Kind::Other => PullError::Failed { image, message },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    NotFound,
    Denied,
    Unreachable,
    DiskFull,
    Other,
}

/// The first words that occur decide. Docker Hub answers "denied" also for what doesn't exist, and
/// the engine's "pull access denied … repository does not exist" says both.
const SIGNS: &[(Kind, &[&str])] = &[
    (Kind::DiskFull, &["no space left on device"]),
    (
        Kind::Denied,
        &[
            "pull access denied",
            "access to the resource is denied",
            "no basic auth credentials",
            "unauthorized",
            "authentication required",
            "authorization failed",
            "incorrect username or password",
            "401 unauthorized",
            "403 forbidden",
        ],
    ),
    (
        Kind::NotFound,
        &[
            "manifest unknown",
            "not found: manifest",
            "name unknown",
            "repository name not known",
            "no matching manifest",
            "does not exist",
            ": not found",
        ],
    ),
    (
        Kind::Unreachable,
        &[
            "dial tcp",
            "no such host",
            "connection refused",
            "connection reset",
            "no route to host",
            "network is unreachable",
            "i/o timeout",
            "tls handshake timeout",
            "request canceled",
            "context deadline exceeded",
            "client.timeout exceeded",
            "server gave http response to https client",
            "x509:",
            "unexpected eof",
            ": eof",
            "502 bad gateway",
            "503 service unavailable",
            "504 gateway time",
        ],
    ),
];

fn kind_of(message: &str) -> Kind {
    let message = message.to_ascii_lowercase();
    SIGNS
        .iter()
        .find(|(_, signs)| signs.iter().any(|sign| message.contains(sign)))
        .map_or(Kind::Other, |(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_words_are_told_apart() {
        for (message, kind) in [
            (
                "manifest for alpine:nope not found: manifest unknown: manifest unknown",
                Kind::NotFound,
            ),
            (
                "pull access denied for nobody/nothing, repository does not exist or may require \
                 'docker login': denied: requested access to the resource is denied",
                Kind::Denied,
            ),
            (
                "Head \"https://registry.example.org/v2/a/manifests/b\": no basic auth credentials",
                Kind::Denied,
            ),
            (
                "Get \"https://registry.example.org/v2/\": dial tcp: lookup registry.example.org: \
                 no such host",
                Kind::Unreachable,
            ),
            (
                "Get \"https://registry-1.docker.io/v2/\": net/http: request canceled while \
                 waiting for connection (Client.Timeout exceeded while awaiting headers)",
                Kind::Unreachable,
            ),
            (
                "failed to register layer: Error processing tar file(exit status 1): write /x: \
                 no space left on device",
                Kind::DiskFull,
            ),
            (
                "failed to resolve reference \"docker.io/library/x:y\": \
                 docker.io/library/x:y: not found",
                Kind::NotFound,
            ),
            ("the moon is in the wrong phase", Kind::Other),
        ] {
            assert_eq!(kind_of(message), kind, "{message}");
        }
    }

    #[test]
    fn who_has_logged_in_is_not_told_to() {
        let image: ImageRef = "registry.example.org/app:1".parse().unwrap();
        let refused = || BollardError::DockerStreamError {
            error: "unauthorized: authentication required".to_owned(),
        };
        let without = pull_error(&image, false, refused()).to_string();
        assert_eq!(
            without,
            "image registry.example.org/app:1 was refused by registry.example.org: \
             it does not exist, or needs credentials (`docker login` on this worker)"
        );
        let with = pull_error(&image, true, refused()).to_string();
        assert!(!with.contains("docker login"), "{with}");
    }
}
