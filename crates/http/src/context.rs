//! What every handler has at hand.

use std::{any::Any, net::IpAddr, sync::Arc};

use cloudai_accounts::{Accounts, AuditEntry};
use cloudai_api::Code;
use cloudai_model::UserName;
use cloudai_operator::Operator;
use tokio::sync::watch;
use tracing::{Instrument as _, warn};

use crate::{
    Settings,
    body::{Batches, Bodies},
    frame,
    refusal::Refusal,
    shares::{Share, Shares},
    sockets::Sockets,
    turns::Turns,
};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The master.
    pub(crate) operator: Arc<dyn Operator>,
    /// Who may come in.
    accounts: watch::Receiver<Option<Accounts>>,
    /// What is taken at most.
    pub(crate) settings: Arc<Settings>,
    /// Whether the server is ending: what goes on for long ends then, with a last word.
    pub(crate) closing: watch::Receiver<bool>,
    streams: Shares<UserName>,
    archives: Shares<UserName>,
    /// Bodies that are on their way.
    pub(crate) bodies: Bodies,
    /// Batches on their way to the core.
    pub(crate) batches: Batches,
    /// What all WebSockets share.
    pub(crate) sockets: Sockets,
    /// Changes of tasks.
    pub(crate) changes: Turns,
}

impl Context {
    /// With the master that is asked, and those who may ask: they are known once the store has been
    /// read.
    #[must_use]
    pub fn new(
        operator: Arc<dyn Operator>,
        accounts: watch::Receiver<Option<Accounts>>,
        settings: Settings,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self {
            sockets: Sockets::new(operator.clone(), &settings),
            operator,
            accounts,
            streams: Shares::new(settings.most_streams, settings.most_streams_of_user),
            archives: Shares::new(settings.most_archives, settings.most_archives_of_user),
            bodies: Bodies::new(&settings),
            batches: Batches::new(&settings),
            settings: Arc::new(settings),
            changes: Turns::default(),
            closing,
        }
    }

    /// Those who may ask.
    pub(crate) fn accounts(&self) -> Result<Accounts, Refusal> {
        let accounts = self.accounts.borrow().clone();
        accounts.ok_or_else(|| {
            let detail =
                "nobody can be let in before the store has been read: try again in a moment";
            Refusal::new(Code::Starting, detail)
        })
    }

    /// Resolves when no WebSocket is open any more. They are told when the server is ending, and
    /// their last words go on behind [`crate::serve`].
    pub async fn sockets_closed(&self) {
        self.sockets.closed().await;
    }

    /// A place for an answer that goes on for long, held for as long as it does.
    pub(crate) fn stream(&self, user: &UserName) -> Result<Share<UserName>, Refusal> {
        let place = self.streams.take(user);
        place.map_err(|full| Refusal::full(full, "logs and files are being sent"))
    }

    /// A place for the packing of an archive.
    pub(crate) fn archive(&self, user: &UserName) -> Result<Share<UserName>, Refusal> {
        let place = self.archives.take(user);
        place.map_err(|full| Refusal::full(full, "archives are being packed"))
    }

    /// Does something to its end, and whatever belongs to it: also when whoever asked goes meanwhile.
    /// As long as it goes on, it counts as a request.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let until = frame::until();
        let work = async move {
            let _until = until;
            work.await
        };
        match tokio::spawn(work.in_current_span()).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                // The frame makes an answer of it.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(Refusal::internal(&error)),
            },
        }
    }

    /// Writes down what was done, before that is answered. It was done, so that a store which won't
    /// take the record now makes no error of it: the record goes with the next that the store takes.
    pub(crate) async fn audit(&self, entry: AuditEntry) {
        // Whoever has done something was let in.
        let Ok(accounts) = self.accounts() else {
            return;
        };
        if let Err(error) = accounts.audit(entry).await {
            warn!(
                error = &error as &dyn std::error::Error,
                "what was done is not in the audit yet"
            );
        }
    }
}

/// From where a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Whether a request came by TLS all the way, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BySecureWay(pub(crate) bool);

/// The place that the connection of a request takes up. Whatever goes on behind the answer, as a
/// WebSocket does, holds it.
#[derive(Clone)]
pub(crate) struct Connected {
    _place: Arc<dyn Any + Send + Sync>,
}

impl Connected {
    pub(crate) fn new(place: Arc<dyn Any + Send + Sync>) -> Self {
        Self { _place: place }
    }
}

/// The id of a request, in its answer and in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(pub(crate) Arc<str>);
