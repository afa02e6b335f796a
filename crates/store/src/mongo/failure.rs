//! What goes wrong inside, before it is known where. Turned into the errors of the crate with the
//! store's place.
//!
//! The driver's own words carry whole server replies; only what a person can use is kept of them.

use std::{io, time::Duration};

use mongodb::error::{
    Error, ErrorKind, RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR,
    UNKNOWN_TRANSACTION_COMMIT_RESULT, WriteFailure,
};

use crate::{CommitError, ReadError, error::Cause};

/// Codes of the server, by the names it gives them.
mod code {
    pub(super) const AUTHENTICATION_FAILED: i32 = 18;
    pub(super) const UNAUTHORIZED: i32 = 13;
    pub(super) const DUPLICATE_KEY: i32 = 11_000;
    pub(super) const OUT_OF_DISK_SPACE: i32 = 14_031;
    pub(super) const TRANSACTION_TOO_LARGE: i32 = 257;
    pub(super) const TRANSACTION_TOO_LARGE_FOR_CACHE: i32 = 313;
    /// What a server says that goes down or comes up, that is no primary or no longer, that doesn't
    /// reach the others or not in time, or that has lost what it had begun to read.
    pub(super) const OUT_OF_REACH: &[i32] = &[
        6,      // HostUnreachable
        7,      // HostNotFound
        43,     // CursorNotFound: the server that had it is gone, or forgot it
        50,     // MaxTimeMSExpired
        64,     // WriteConcernFailed: no majority in time
        89,     // NetworkTimeout
        91,     // ShutdownInProgress
        100,    // UnsatisfiableWriteConcern
        133,    // FailedToSatisfyReadPreference
        134,    // ReadConcernMajorityNotAvailableYet
        175,    // QueryPlanKilled: the collection changed under it
        189,    // PrimarySteppedDown
        202,    // NetworkInterfaceExceededTimeLimit
        239,    // SnapshotTooOld: the server keeps one for some minutes
        246,    // SnapshotUnavailable
        251,    // NoSuchTransaction: another server has taken over
        262,    // ExceededTimeLimit
        9_001,  // SocketException
        10_107, // NotWritablePrimary
        11_600, // InterruptedAtShutdown
        11_602, // InterruptedDueToReplStateChange
        13_435, // NotPrimaryNoSecondaryOk
        13_436, // NotPrimaryOrSecondary
    ];
    pub(super) const INDEX_OPTIONS_CONFLICT: i32 = 85;
    pub(super) const INDEX_KEY_SPECS_CONFLICT: i32 = 86;
}

/// Of the driver's words on why it found no server that takes writes: what it knows of each.
fn servers_in_short(message: &str) -> String {
    let server = |words: &str| {
        let (address, rest) = words.split_once(", Type: ")?;
        let what = match rest.split_once("Error: Kind: ") {
            Some((_, error)) => error.split(", labels:").next()?,
            None => rest.split([',', ' ']).next()?,
        };
        Some(format!("{address}: {what}"))
    };
    let servers: Option<Vec<String>> = message.split("{ Address: ").skip(1).map(server).collect();
    match servers {
        Some(servers) if !servers.is_empty() => {
            format!("no server takes writes: {}", servers.join("; "))
        }
        _ => message.to_owned(),
    }
}

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum Failure {
    /// A record can't be written as it is.
    Record(CommitError),
    /// A document can't be read.
    Document(ReadError),
    /// The driver or the server says so.
    Driver(Error),
    /// The server refused a part of a command that it otherwise took.
    Refused { code: i32, message: String },
    /// No answer came in that time.
    NoAnswer(Duration),
    /// The head stands elsewhere than at the last batch: one of unknown outcome has come through.
    HeadMoved,
    /// The head is another master's.
    TakenOver,
    /// The store was closed before.
    Closed,
    /// Nobody takes what is loaded.
    ReceiverGone,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Document(error)
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        Self::Record(error)
    }
}

impl Failure {
    fn code(&self) -> Option<i32> {
        match self {
            Self::Driver(error) => match &*error.kind {
                ErrorKind::Command(command) => Some(command.code),
                ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
                ErrorKind::Write(WriteFailure::WriteConcernError(error)) => Some(error.code),
                _ => None,
            },
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    fn is_one_of(&self, codes: &[i32]) -> bool {
        self.code().is_some_and(|code| codes.contains(&code))
    }

    /// Whether the credentials are not taken, or not enough.
    pub(super) fn is_about_credentials(&self) -> bool {
        let refused = matches!(self, Self::Driver(error)
            if matches!(&*error.kind, ErrorKind::Authentication { .. }));
        refused || self.is_one_of(&[code::AUTHENTICATION_FAILED, code::UNAUTHORIZED])
    }

    /// Whether no server answers, or none that is allowed to: it passes when one is there again.
    pub(super) fn is_about_reach(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Driver(error) => {
                let away = matches!(
                    &*error.kind,
                    ErrorKind::ServerSelection { .. }
                        | ErrorKind::Io(_)
                        | ErrorKind::DnsResolve { .. }
                        | ErrorKind::ConnectionPoolCleared { .. }
                );
                let labels = [
                    TRANSIENT_TRANSACTION_ERROR,
                    UNKNOWN_TRANSACTION_COMMIT_RESULT,
                    RETRYABLE_WRITE_ERROR,
                ];
                away || self.is_one_of(code::OUT_OF_REACH)
                    || labels.iter().any(|label| error.contains_label(label))
            }
            Self::Refused { .. } => self.is_one_of(code::OUT_OF_REACH),
            _ => false,
        }
    }

    /// Whether the server finds the transaction too large.
    pub(super) fn is_too_large(&self) -> bool {
        self.is_one_of(&[
            code::TRANSACTION_TOO_LARGE,
            code::TRANSACTION_TOO_LARGE_FOR_CACHE,
        ])
    }

    /// Whether an index with these keys is there under another name or with other options.
    pub(super) fn is_index_there(&self) -> bool {
        self.is_one_of(&[code::INDEX_OPTIONS_CONFLICT, code::INDEX_KEY_SPECS_CONFLICT])
    }

    pub(super) fn is_duplicate(code: i32) -> bool {
        code == code::DUPLICATE_KEY
    }

    /// Whether the same may succeed a moment later, without anyone doing anything.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::HeadMoved | Self::NoAnswer(_) => true,
            Self::Driver(_) | Self::Refused { .. } => {
                !self.is_about_credentials() && !self.is_one_of(&[code::OUT_OF_DISK_SPACE])
            }
            Self::Record(_)
            | Self::Document(_)
            | Self::TakenOver
            | Self::Closed
            | Self::ReceiverGone => false,
        }
    }

    /// In words, without the place.
    pub(super) fn cause(self) -> Cause {
        match self {
            Self::Record(error) => Box::new(error),
            Self::Document(error) => Box::new(error),
            Self::Driver(error) => match &*error.kind {
                ErrorKind::ServerSelection { message, .. } => servers_in_short(message).into(),
                kind => kind.to_string().into(),
            },
            Self::Refused { code, message } => format!("error code {code}: {message}").into(),
            Self::NoAnswer(after) => Box::new(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {after:?}"),
            )),
            Self::HeadMoved => "a batch of unknown outcome came through in between".into(),
            Self::TakenOver => "another master has taken it over".into(),
            Self::Closed => "it is closed".into(),
            Self::ReceiverGone => "its receiver is gone".into(),
        }
    }

    pub(super) fn at_commit(self, place: &str) -> CommitError {
        let place = place.to_owned();
        match self {
            Self::Record(error) => error,
            Self::Closed => CommitError::Closed,
            Self::TakenOver => CommitError::TakenOver { place },
            failure if failure.is_one_of(&[code::OUT_OF_DISK_SPACE]) => CommitError::Full {
                place,
                is_here: false,
                cause: failure.cause(),
            },
            failure if failure.is_about_reach() || failure.is_about_credentials() => {
                CommitError::OutOfReach {
                    place,
                    cause: failure.cause(),
                }
            }
            failure => CommitError::Failed {
                place,
                cause: failure.cause(),
            },
        }
    }

    pub(super) fn at_read(self, place: &str) -> ReadError {
        match self {
            Self::Document(error) => error,
            Self::Closed => ReadError::Closed,
            Self::ReceiverGone => ReadError::ReceiverGone,
            failure if failure.is_about_reach() || failure.is_about_credentials() => {
                ReadError::OutOfReach {
                    place: place.to_owned(),
                    cause: failure.cause(),
                }
            }
            failure => ReadError::Failed {
                place: place.to_owned(),
                cause: failure.cause(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_has_lost_of_a_read_is_read_again() {
        for code in [43, 175, 239, 246] {
            let message = "it is gone".to_owned();
            let failure = Failure::Refused { code, message };
            let error = failure.at_read("mongodb");
            assert!(matches!(error, ReadError::OutOfReach { .. }), "{code}");
        }
        let message = "no such thing".to_owned();
        let other = Failure::Refused { code: 2, message };
        assert!(matches!(other.at_read("mongodb"), ReadError::Failed { .. }));
    }

    #[test]
    fn of_servers_that_are_not_had_it_is_said_what_they_are() {
        let message = "Server selection timeout: No available servers. Topology: { Type: Unknown, \
             Servers: [ { Address: db1:27017, Type: Unknown, Error: Kind: I/O error: Connection \
             refused (os error 111), labels: {\"RetryableError\"}, source: None, server response: \
             None }, { Address: db2:27017, Type: RsSecondary, Average RTT: 2ms } ] }";
        assert_eq!(
            servers_in_short(message),
            "no server takes writes: db1:27017: I/O error: Connection refused (os error 111); \
             db2:27017: RsSecondary"
        );
        let other = "Server selection timeout: it was shut down";
        assert_eq!(servers_in_short(other), other);
    }
}
