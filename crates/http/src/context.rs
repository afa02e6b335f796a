//! What every handler has at hand.

use std::{any::Any, net::IpAddr, sync::Arc};

use cloudai_accounts::{Accounts, AuditEntry};
use cloudai_api::Code;
use cloudai_operator::Operator;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{Instrument as _, warn};

use crate::{Settings, refusal::Refusal, sockets::Sockets};

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
    streams: Arc<Semaphore>,
    archives: Arc<Semaphore>,
    /// What all WebSockets share.
    pub(crate) sockets: Sockets,
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
            streams: Arc::new(Semaphore::new(settings.most_streams)),
            archives: Arc::new(Semaphore::new(settings.most_archives)),
            settings: Arc::new(settings),
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
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let most = self.settings.most_streams;
        place(&self.streams, || {
            format!("{most} logs and files are being sent")
        })
    }

    /// A place for the packing of an archive.
    pub(crate) fn archive(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let most = self.settings.most_archives;
        place(&self.archives, || {
            format!("{most} archives are being packed")
        })
    }

    /// Does something to its end, and whatever belongs to it: also when whoever asked goes meanwhile.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
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

fn place(
    places: &Arc<Semaphore>,
    taken: impl Fn() -> String,
) -> Result<OwnedSemaphorePermit, Refusal> {
    places.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{} already: try again when one has ended", taken());
        Refusal::new(Code::Overloaded, detail)
    })
}

/// From where a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Whether a request came by TLS all the way, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BySecureWay(pub(crate) bool);

/// The place that the connection of a request takes up. Whatever goes on behind the answer, as a
/// WebSocket does, holds it.
#[derive(Clone)]
pub(crate) struct Connected(
    #[expect(dead_code, reason = "it is held, and never looked at")]
    pub(crate)  Arc<dyn Any + Send + Sync>,
);

/// The id of a request, in its answer and in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(pub(crate) Arc<str>);
