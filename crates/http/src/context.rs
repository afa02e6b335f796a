//! What every handler has at hand.

use std::{net::IpAddr, sync::Arc};

use cloudai_accounts::{Accounts, AuditEntry};
use cloudai_api::Code;
use cloudai_operator::Operator;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::warn;

use crate::{Settings, refusal::Refusal};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The master.
    pub(crate) operator: Arc<dyn Operator>,
    /// Who may come in.
    pub(crate) accounts: Accounts,
    /// What is taken at most.
    pub(crate) settings: Arc<Settings>,
    /// Whether the server is ending: what goes on for long ends then, with a last word.
    pub(crate) closing: watch::Receiver<bool>,
    streams: Arc<Semaphore>,
    archives: Arc<Semaphore>,
}

impl Context {
    /// With the master that is asked, and those who may ask.
    #[must_use]
    pub fn new(
        operator: Arc<dyn Operator>,
        accounts: Accounts,
        settings: Settings,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self {
            operator,
            accounts,
            streams: Arc::new(Semaphore::new(settings.most_streams)),
            archives: Arc::new(Semaphore::new(settings.most_archives)),
            settings: Arc::new(settings),
            closing,
        }
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

    /// Writes down what was done, before that is answered. It was done, so that a store which won't
    /// take the record now makes no error of it: the record goes with the next that the store takes.
    pub(crate) async fn audit(&self, entry: AuditEntry) {
        if let Err(error) = self.accounts.audit(entry).await {
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

/// The id of a request, in its answer and in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(pub(crate) Arc<str>);
