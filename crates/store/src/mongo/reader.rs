//! All of a database, read beside the master that may be at work on it. Nothing is written, nothing
//! is taken over, nothing of an earlier program is taken up.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{
    export,
    failure::Failure,
    head,
    link::Link,
    open::{self, MongoOpenError},
    settings::{Limits, MongoSettings},
    sign_of_life,
};
use crate::{Export, Holdings, Piece, ReadError};

/// Reads a database, whoever its master is.
pub struct MongoReader {
    pub(super) link: Arc<Link>,
}

impl MongoReader {
    /// Looks at a database.
    ///
    /// # Errors
    /// See [`MongoOpenError`].
    pub async fn open(settings: &MongoSettings) -> Result<Self, MongoOpenError> {
        let link = open::reach(settings, Limits::default()).await?;
        open::refuse_unfinished(&link).await?;
        Ok(Self {
            link: Arc::new(link),
        })
    }

    /// Makes sure that no master is at work on it.
    ///
    /// # Errors
    /// [`MongoOpenError::InUse`], or that it can't be found out.
    pub async fn unused(self) -> Result<Self, MongoOpenError> {
        let place = self.link.place.clone();
        match sign_of_life::seen(&self.link).await {
            Ok(None) => Ok(self),
            Ok(Some(seconds)) => Err(MongoOpenError::InUse { place, seconds }),
            Err(failure) => Err(open::failed(&place, failure)),
        }
    }

    /// Whether what is read is as of one instant whatever is written meanwhile. On a single server
    /// it is only if nothing is.
    #[must_use]
    pub fn has_snapshots(&self) -> bool {
        self.link.replica_set
    }

    fn read<T>(&self, outcome: Result<T, Failure>) -> Result<T, ReadError> {
        outcome.map_err(|failure| failure.at_read(&self.link.place))
    }
}

#[async_trait]
impl Export for MongoReader {
    fn describe(&self) -> String {
        self.link.place.clone()
    }

    fn schema(&self) -> i64 {
        head::SCHEMA
    }

    async fn holdings(&self) -> Result<Holdings, ReadError> {
        self.read(export::holdings(&self.link).await)
    }

    async fn export(&self, sink: mpsc::Sender<Piece>) -> Result<(), ReadError> {
        let exported = export::export(&self.link, &sink).await;
        self.read(exported)
    }
}
