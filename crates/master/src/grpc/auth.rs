//! Who may call what.
//!
//! From the loopback interface nothing is needed. From elsewhere a worker's calls need its token,
//! unless the master was started with `-insecure`; a client's calls need a user's token or key.

use cloudai_core::Snapshot;
use cloudai_model::WorkerId;
use tonic::{Request, Status};

use super::is_loopback;
use crate::{snapshot::Snapshots, token::Tokens};

/// Decides who gets in.
#[derive(Clone)]
pub struct Gate {
    snapshots: Snapshots,
    tokens: Tokens,
    insecure: bool,
}

/// What is known of a caller before its message is read.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    loopback: bool,
    bearer: Option<String>,
}

impl Caller {
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let header = request.metadata().get("authorization");
        let bearer = header.and_then(|value| bearer(value.to_str().ok()?));
        Self {
            loopback: is_loopback(request.remote_addr()),
            bearer: bearer.map(str::to_owned),
        }
    }
}

/// The token in a header. As in every header of this kind the case of its scheme is the sender's to
/// choose (RFC 9110, 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Gate {
    /// A gate for the workers in these snapshots.
    #[must_use]
    pub fn new(snapshots: Snapshots, tokens: Tokens, insecure: bool) -> Self {
        Self {
            snapshots,
            tokens,
            insecure,
        }
    }

    /// Whether the caller may speak as this worker.
    ///
    /// # Errors
    /// The status to answer with: what was expected, and where to get it.
    pub(super) fn worker(&self, caller: &Caller, worker: &WorkerId) -> Result<(), Status> {
        if caller.loopback || self.insecure {
            return Ok(());
        }
        self.knows(&self.snapshots.latest(), caller, worker)
    }

    /// Whether the caller may report on attempts as this worker: a worker that was unregistered may
    /// still say what became of those that it was told to stop.
    ///
    /// # Errors
    /// As of [`Self::worker`].
    pub(super) fn reporter(&self, caller: &Caller, worker: &WorkerId) -> Result<(), Status> {
        if caller.loopback || self.insecure {
            return Ok(());
        }
        let snapshot = self.snapshots.latest();
        let mut former = snapshot.former.get(worker).into_iter().flatten();
        let was_it = |bearer: &String| {
            former.any(|(registration, _)| self.tokens.matches(bearer, worker, *registration))
        };
        if caller.bearer.as_ref().is_some_and(was_it) {
            return Ok(());
        }
        self.knows(&snapshot, caller, worker)
    }

    /// Whether an old node may speak that doesn't say which it is.
    ///
    /// # Errors
    /// As of [`Self::worker`].
    pub(super) fn unnamed(&self, caller: &Caller) -> Result<(), Status> {
        if caller.loopback || self.insecure {
            return Ok(());
        }
        Err(Status::unauthenticated(
            "worker_id: absent: from another machine expected the sender's id and its token, or a \
             master with -insecure",
        ))
    }

    fn knows(&self, snapshot: &Snapshot, caller: &Caller, worker: &WorkerId) -> Result<(), Status> {
        if !snapshot.ready {
            return Err(Status::unavailable(cloudai_core::NotReady.to_string()));
        }
        let Some(entry) = snapshot.workers.get(worker) else {
            return Err(not_authorized(worker));
        };
        let Some(bearer) = &caller.bearer else {
            return Err(Status::unauthenticated(format!(
                "worker {worker} calls from another machine without its token: start it with \
                 -token and what `register` printed on the master, or the master with -insecure"
            )));
        };
        if self.tokens.matches(bearer, worker, entry.registration) {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "the token is not that of worker {worker}: expected what `register {worker} \
             <host[:port]>` printed on the master when it was last registered"
        )))
    }

    /// Whether the caller may act as a user.
    ///
    /// # Errors
    /// The status to answer with.
    #[expect(clippy::unused_self, reason = "accounts will be looked up here")]
    pub(super) fn client(&self, caller: &Caller) -> Result<(), Status> {
        if caller.loopback {
            return Ok(());
        }
        Err(Status::unauthenticated(
            "from another machine this needs a user's token or key: call from the master's own \
             machine",
        ))
    }
}

/// The refusal of a worker that no admin registered.
pub(super) fn not_authorized(worker: &WorkerId) -> Status {
    Status::permission_denied(
        cloudai_core::WorkerCallError::NotAuthorized(worker.clone()).to_string(),
    )
}

/// The one mapping of a worker call's error to a status.
pub(super) fn worker_call_status(error: &cloudai_core::WorkerCallError) -> Status {
    match error {
        cloudai_core::WorkerCallError::NotReady(_) => Status::unavailable(error.to_string()),
        cloudai_core::WorkerCallError::NotAuthorized(_)
        | cloudai_core::WorkerCallError::Duplicate(_) => {
            Status::permission_denied(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::AsciiMetadataValue;

    use super::*;

    #[test]
    fn a_token_is_brought_by_a_scheme_in_any_case() {
        let brought = |header: &'static str| {
            let mut request = Request::new(());
            let header = AsciiMetadataValue::from_static(header);
            request.metadata_mut().insert("authorization", header);
            Caller::of(&request).bearer
        };
        for header in ["Bearer abc", "bearer abc", "BEARER   abc "] {
            assert_eq!(brought(header).as_deref(), Some("abc"), "{header}");
        }
        for header in ["abc", "Basic abc", "Bearerabc", "Bearer"] {
            assert_eq!(brought(header), None, "{header}");
        }
    }
}
