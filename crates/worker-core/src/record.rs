//! What is kept on disk of an attempt, so that the worker can be killed at any instant.

use cloudai_model::{AttemptId, ContainerEnd, Exit};

use crate::{input::SealedLog, order::Order};

/// Why an attempt was told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopCause {
    /// A cancel of the master, and its reason.
    Cancel(String),
    /// The worker is being shut down and was told to take its containers with it.
    Shutdown,
    /// It took more than it was given, and what of.
    OverLimit(String),
}

impl StopCause {
    /// How an attempt ends that this cause stopped.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Cancel(_) => Exit::Cancelled,
            Self::Shutdown => Exit::Interrupted("its worker was shut down".to_owned()),
            Self::OverLimit(reason) => Exit::Stopped(reason.clone()),
        }
    }
}

/// An attempt as it stands in the spool. Written whole each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolRecord {
    /// Rises with each change, so that an older write never covers a newer one.
    pub revision: u64,
    /// The assignment; never changes.
    pub order: Order,
    /// Written before the container is started: from then on an attempt without a container is
    /// one whose container was taken away, and is not run a second time.
    pub started: bool,
    /// Digest of the image it runs, once known.
    pub image_digest: Option<String>,
    /// It was told to stop; it never starts afterwards.
    pub stop: Option<StopCause>,
    /// It is over; what remains is to upload and report.
    pub end: Option<EndRecord>,
}

impl SpoolRecord {
    /// Which attempt it is.
    #[must_use]
    pub fn attempt(&self) -> &AttemptId {
        &self.order.attempt
    }
}

/// How an attempt ended, with its log and files safe in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndRecord {
    /// How its container ended.
    pub end: ContainerEnd,
    /// Its log.
    pub log: SealedLog,
    /// Whether there was a container, which must be removed and may have left files.
    pub had_container: bool,
}
