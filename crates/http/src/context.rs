//! What every handler has at hand.

use std::{net::IpAddr, sync::Arc};

use cloudai_operator::Operator;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{Settings, refusal::Refusal};
use cloudai_api::Code;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The master.
    pub(crate) operator: Arc<dyn Operator>,
    /// What is taken at most.
    pub(crate) settings: Arc<Settings>,
    /// Whether the server is ending: what goes on for long ends then, with a last word.
    pub(crate) closing: watch::Receiver<bool>,
    streams: Arc<Semaphore>,
}

impl Context {
    /// With the master that is asked.
    #[must_use]
    pub fn new(
        operator: Arc<dyn Operator>,
        settings: Settings,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self {
            operator,
            streams: Arc::new(Semaphore::new(settings.most_streams)),
            settings: Arc::new(settings),
            closing,
        }
    }

    /// A place for an answer that goes on for long, held for as long as it does.
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.streams.clone().try_acquire_owned().map_err(|_| {
            let most = self.settings.most_streams;
            Refusal::new(
                Code::Overloaded,
                format!("{most} logs are followed already: try again when one has ended"),
            )
        })
    }
}

/// From where a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The id of a request, in its answer and in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(pub(crate) Arc<str>);
