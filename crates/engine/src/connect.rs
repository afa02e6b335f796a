//! The way to the engine: which address, whether a Docker Engine of a usable age answers there.

use std::sync::Arc;

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error as BollardError};

use crate::{
    about::EngineInfo,
    credentials::url_safe_registry_auth,
    error::{EngineError, io_kind},
};

/// Where the engine is when nothing else is said.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The oldest API that is understood: that of Docker 20.10.
const OLDEST_API: (u32, u32) = (1, 41);
/// The first API of engines whose log driver keeps the newline that ends a long line.
const FIRST_WITH_NEWLINES: (u32, u32) = (1, 42);
/// How long the engine may take until it begins to answer, in seconds. Creating a container on a
/// loaded machine takes long; a dead engine refuses the connection at once.
const ANSWER_LIMIT_S: u64 = 120;

/// Why there is no engine to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is of a kind that isn't spoken.
    #[error(
        "DOCKER_HOST {host:?} is not supported: {problem}; expected unix:///path/to/docker.sock \
         or tcp://host:2375"
    )]
    Host {
        /// The address as given.
        host: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no socket.
    #[error(
        "no Docker Engine at {host}: there is no such socket; install or start Docker \
         (`systemctl start docker`), or say where it is with DOCKER_HOST"
    )]
    NoSocket {
        /// The address tried.
        host: String,
    },
    /// This user may not use the socket.
    #[error(
        "no permission to use the Docker Engine at {host}: add the user to the group docker \
         (`sudo usermod -aG docker $USER`, then log in again)"
    )]
    PermissionDenied {
        /// The address tried.
        host: String,
        /// What the system said.
        #[source]
        source: Box<BollardError>,
    },
    /// Nobody listens, or the listener doesn't answer.
    #[error(
        "nobody answers at {host}; expected a running Docker Engine (`systemctl status docker`)"
    )]
    NoAnswer {
        /// The address tried.
        host: String,
        /// What the attempt ended with.
        #[source]
        source: Box<BollardError>,
    },
    /// Something answers that is no Docker Engine.
    #[error("what answers at {host} is no Docker Engine: {problem}; check DOCKER_HOST")]
    NotDocker {
        /// The address tried.
        host: String,
        /// What was wrong with its answer.
        problem: String,
    },
    /// The engine is too old.
    #[error(
        "the Docker Engine {version} at {host} speaks API {api}; expected 1.41 or later, \
         which is Docker 20.10 or later"
    )]
    TooOld {
        /// The address tried.
        host: String,
        /// The engine's version.
        version: String,
        /// The newest API it speaks.
        api: String,
    },
}

/// A Docker Engine that has answered. Cheap to clone; every clone may be used at the same time.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) docker: Docker,
    info: Arc<EngineInfo>,
    /// Whether its log driver loses the newline that ends a long line.
    pub(crate) loses_newlines: bool,
    is_local: bool,
}

impl Engine {
    /// Connects to the engine at `host`, the value of `DOCKER_HOST`, or at its usual socket.
    ///
    /// # Errors
    /// Says whether there is no socket, no permission, no answer, no Docker, or one too old.
    pub async fn connect(host: Option<&str>) -> Result<Self, ConnectError> {
        let host = host.filter(|host| !host.is_empty()).unwrap_or(DEFAULT_HOST);
        let docker = client(host)?.with_request_modifier(url_safe_registry_auth);
        let failed = |error| connection_error(host, error);

        let version = docker.version().await.map_err(failed)?;
        let api = version.api_version.clone().unwrap_or_default();
        let found = match parse_api(&api) {
            None => {
                return Err(ConnectError::NotDocker {
                    host: host.to_owned(),
                    problem: "its version names no API version".to_owned(),
                });
            }
            Some(found) if found < OLDEST_API => {
                return Err(ConnectError::TooOld {
                    host: host.to_owned(),
                    version: version.version.unwrap_or_default(),
                    api,
                });
            }
            Some(found) => found,
        };
        let docker = docker.negotiate_version().await.map_err(failed)?;
        let info = docker.info().await.map_err(failed)?;
        Ok(Self {
            docker,
            info: Arc::new(EngineInfo::new(version, info)),
            loses_newlines: found < FIRST_WITH_NEWLINES,
            is_local: host.starts_with("unix://"),
        })
    }

    /// Whether the engine shares this machine's file system, as one behind a Unix socket does.
    /// Only then can a folder of this machine be the `/output` of a container.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// What it said of itself when it was connected to.
    #[must_use]
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// Asks whether the engine is there.
    ///
    /// # Errors
    /// If it isn't, or says that it can't work.
    pub async fn ping(&self) -> Result<(), EngineError> {
        let answer = self.docker.ping().await;
        answer.map(drop).map_err(EngineError::from_bollard)
    }

    /// What names this run of the engine, from its start to its end: another one has another name.
    /// `None` where it can't be told.
    ///
    /// It is the id of the default bridge. An engine makes that anew at each start, unless it finds
    /// containers that have outlived its last run: those it has not ended. An engine that is told to
    /// have no bridge has no such id.
    ///
    /// # Errors
    /// If the engine doesn't answer.
    pub async fn run_id(&self) -> Result<Option<String>, EngineError> {
        match self.docker.inspect_network("bridge", None).await {
            Ok(bridge) => Ok(bridge.id),
            Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(None),
            Err(error) => Err(EngineError::from_bollard(error)),
        }
    }
}

/// A client for the address; nothing has been sent when it returns.
fn client(host: &str) -> Result<Docker, ConnectError> {
    let unsupported = |problem| ConnectError::Host {
        host: host.to_owned(),
        problem,
    };
    let (scheme, rest) = host
        .split_once("://")
        .ok_or_else(|| unsupported("it has no scheme"))?;
    if rest.is_empty() {
        return Err(unsupported("it names no place"));
    }
    let made = match scheme {
        "unix" => Docker::connect_with_unix(host, ANSWER_LIMIT_S, API_DEFAULT_VERSION),
        "tcp" | "http" => Docker::connect_with_http(
            host.trim_end_matches('/'),
            ANSWER_LIMIT_S,
            API_DEFAULT_VERSION,
        ),
        "ssh" => {
            return Err(unsupported(
                "ssh is not spoken here; forward the socket (`ssh -L`) and name the local end",
            ));
        }
        "https" => {
            return Err(unsupported(
                "TLS is not spoken here; forward the socket (`ssh -L`) and name the local end",
            ));
        }
        _ => return Err(unsupported("its scheme is unknown")),
    };
    made.map_err(|error| connection_error(host, error))
}

fn connection_error(host: &str, error: BollardError) -> ConnectError {
    use std::io::ErrorKind;

    let host = host.to_owned();
    match (&error, io_kind(&error)) {
        // An unreadable folder on the way hides the socket: to look is to be refused.
        (BollardError::SocketNotFoundError(path), _) => match std::fs::metadata(path) {
            Err(e) if e.kind() == ErrorKind::PermissionDenied => ConnectError::PermissionDenied {
                host,
                source: Box::new(e.into()),
            },
            _ => ConnectError::NoSocket { host },
        },
        (_, Some(ErrorKind::NotFound)) => ConnectError::NoSocket { host },
        (_, Some(ErrorKind::PermissionDenied)) => ConnectError::PermissionDenied {
            host,
            source: Box::new(error),
        },
        (
            BollardError::DockerResponseServerError { .. }
            | BollardError::JsonDataError { .. }
            | BollardError::JsonSerdeError { .. }
            | BollardError::APIVersionParseError {},
            _,
        ) => ConnectError::NotDocker {
            host,
            problem: error.to_string(),
        },
        _ if is_foreign_answer(&error) => ConnectError::NotDocker {
            host,
            problem: "it doesn't speak HTTP".to_owned(),
        },
        _ => ConnectError::NoAnswer {
            host,
            source: Box::new(error),
        },
    }
}

/// Whether something answered, but not in HTTP.
fn is_foreign_answer(error: &BollardError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        // The type is hyper's, which only bollard names; its words have been these since 0.14.
        if error.to_string().starts_with("invalid HTTP") {
            return true;
        }
        cause = error.source();
    }
    false
}

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_compare_as_numbers() {
        assert!(parse_api("1.9").unwrap() < OLDEST_API);
        assert!(parse_api("1.40").unwrap() < OLDEST_API);
        assert!(parse_api("1.41").unwrap() >= OLDEST_API);
        assert!(parse_api("1.100").unwrap() >= OLDEST_API);
        assert_eq!(parse_api(""), None);
        assert_eq!(parse_api("v1"), None);
    }

    #[test]
    fn an_address_of_another_kind_is_answered_with_the_forms() {
        for host in [
            "ssh://me@there",
            "https://there:2376",
            "npipe:////./pipe/docker_engine",
            "localhost:2375",
            "unix://",
        ] {
            let error = client(host).unwrap_err().to_string();
            assert!(error.contains("expected unix:///path"), "{error}");
            assert!(error.contains(host), "{error}");
        }
    }

    #[test]
    fn a_socket_that_may_not_be_used_names_the_group() {
        let refused = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = connection_error(DEFAULT_HOST, refused.into());
        assert!(matches!(error, ConnectError::PermissionDenied { .. }));
        assert!(error.to_string().contains("group docker"), "{error}");
    }
}
