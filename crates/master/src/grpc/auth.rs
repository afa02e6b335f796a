//! Who may call what.
//!
//! From the loopback interface nothing is needed. From elsewhere a worker's calls need its token,
//! unless the master was started with `-insecure`; a client's calls need a user's token or key. A
//! client that shows one is judged by it wherever it calls from.

use std::net::SocketAddr;

use cloudai_accounts::{
    Accounts, Action, AuditEntry, CallContext, Credential, How, Identity, MayNoMore, Peer, StillMay,
};
use cloudai_core::Snapshot;
use cloudai_model::{Now, TaskId, UserName, WorkerId};
use tonic::{Request, Status};
use tracing::{debug, warn};

use super::is_loopback;
use crate::{accounts::Opened, snapshot::Snapshots, token::Tokens};

/// Metadata with which a proxy says whom it asks for: whoever that is, is not on this machine.
const OF_PROXIES: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// Decides who gets in.
#[derive(Clone)]
pub struct Gate {
    snapshots: Snapshots,
    tokens: Tokens,
    accounts: Opened,
    insecure: bool,
}

/// What is known of a caller before its message is read.
#[derive(Clone)]
pub(super) struct Caller {
    from: Option<SocketAddr>,
    loopback: bool,
    /// Whether anything was shown at all.
    shows: bool,
    bearer: Option<String>,
}

impl Caller {
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let metadata = request.metadata();
        let mut shown = metadata.get_all("authorization").iter();
        // Of two nobody could say which was meant.
        let header = match (shown.next(), shown.next()) {
            (Some(header), None) => header.to_str().ok(),
            _ => None,
        };
        let forwarded = OF_PROXIES.iter().any(|name| metadata.contains_key(*name));
        Self {
            from: request.remote_addr(),
            loopback: is_loopback(request.remote_addr()) && !forwarded,
            shows: metadata.contains_key("authorization"),
            bearer: header.and_then(bearer).map(str::to_owned),
        }
    }
}

impl Caller {
    /// Whether nothing has to be shown.
    pub(super) fn is_here(&self) -> bool {
        self.loopback
    }
}

/// Somebody who may act as a user, and the circumstances of the call.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) identity: Identity,
    call: CallContext,
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
    pub fn new(snapshots: Snapshots, tokens: Tokens, accounts: Opened, insecure: bool) -> Self {
        Self {
            snapshots,
            tokens,
            accounts,
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

    /// As which user the caller may act. Who shows nothing on this machine is its operator.
    ///
    /// # Errors
    /// The status to answer with. Which of all that may be wrong with a token was, only the log says.
    pub(super) fn client(&self, caller: &Caller) -> Result<Client, Status> {
        let now = cloudai_clock::now();
        let identity = match (&caller.bearer, caller.shows) {
            (Some(bearer), _) => {
                let known = self.accounts()?;
                let known = known.authenticate(Credential::bearer(bearer), now.wall);
                known.map_err(|error| {
                    debug!(%error, "not let in");
                    unauthenticated()
                })?
            }
            (None, false) if caller.loopback => Identity::local(),
            (None, _) => return Err(unauthenticated()),
        };
        let from = caller
            .from
            .map_or(Peer::Console, |from| Peer::Address(from.ip()));
        let request = String::new();
        let call = CallContext { now, from, request };
        Ok(Client { identity, call })
    }

    /// Whether a client that came in a while ago still may watch what is this user's.
    ///
    /// # Errors
    /// The status to end with.
    pub(super) fn still(&self, client: &Client, owner: &UserName, now: Now) -> Result<(), Status> {
        if client.identity.how == How::Local {
            return Ok(());
        }
        let (accounts, who) = (self.accounts()?, client.identity.clone());
        let may = StillMay::new(accounts, who, Some(owner.clone()));
        may.check(now.wall).map_err(|error| match error {
            MayNoMore::Ended(error) => Status::unauthenticated(error.to_string()),
            MayNoMore::Role => Status::permission_denied(error.to_string()),
        })
    }

    /// Writes down what a client has done who showed a token or a key. It was done, so that a store which
    /// won't take the record now makes no error of it: the record goes with the next that the store takes.
    pub(super) async fn audit(&self, client: &Client, action: Action, target: &TaskId) {
        if client.identity.how == How::Local {
            return;
        }
        let Ok(accounts) = self.accounts() else {
            return;
        };
        let of = AuditEntry::new(&client.call, Some(&client.identity), action);
        if let Err(error) = accounts.audit(of.target(target.to_string())).await {
            let error = &error as &dyn std::error::Error;
            warn!(error, "what was done is not in the audit yet");
        }
    }

    fn accounts(&self) -> Result<Accounts, Status> {
        let accounts = self.accounts.borrow().clone();
        accounts.ok_or_else(|| {
            Status::unavailable(
                "nobody can be let in before the store has been read: try again in a moment",
            )
        })
    }
}

fn unauthenticated() -> Status {
    Status::unauthenticated(
        "expected `authorization: Bearer` with the token of a login or a key, and one that still \
         counts; on the master's own machine none is needed",
    )
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

    #[test]
    fn of_two_tokens_none_counts_and_not_as_if_none_was_shown() {
        let mut request = Request::new(());
        for header in ["Bearer a", "Bearer b"] {
            let header = AsciiMetadataValue::from_static(header);
            request.metadata_mut().append("authorization", header);
        }
        let caller = Caller::of(&request);
        assert_eq!((caller.bearer, caller.shows), (None, true));
    }
}
