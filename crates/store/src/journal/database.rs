//! What stands behind a journal: a database that may be out of reach. MongoDB is one; tests have
//! others.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tracing::{info, warn};

use crate::{
    Adopted, CommitError, MongoOpenError, MongoSettings, MongoSettingsError, MongoStore, Store,
    error::Cause,
};

/// A database that can be tried to open, again and again.
#[async_trait]
pub(crate) trait Database: Send + Sync + 'static {
    /// For people, as far as it is known.
    fn describe(&self) -> String;

    /// A name to own it under, which nobody else has.
    fn fresh_owner(&self) -> String;

    /// Opens it as this owner; if there are `former` ones, only if the last one was among them.
    async fn open(&self, owner: &str, former: &[String]) -> Result<Arc<dyn Reached>, NotOpened>;
}

/// A database that was opened.
#[async_trait]
pub(crate) trait Reached: Store {
    /// Asks whether a commit would find it.
    async fn ping(&self) -> Result<(), CommitError>;
}

/// Why a database was not opened.
#[derive(Debug)]
pub(crate) enum NotOpened {
    /// It may be there later.
    OutOfReach(Cause),
    /// It was found and can't be used, as it says.
    Refused(Cause),
    /// Somebody else has had it since.
    TakenOver,
}

/// MongoDB, as the settings name it.
pub(super) struct MongoDatabase {
    settings: MongoSettings,
    place: Mutex<String>,
}

impl MongoDatabase {
    pub(super) fn new(settings: MongoSettings) -> Self {
        Self {
            settings,
            place: Mutex::new("mongodb".to_owned()),
        }
    }

    fn is_at(&self, place: &str) {
        place.clone_into(&mut self.place.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[async_trait]
impl Database for MongoDatabase {
    fn describe(&self) -> String {
        let place = self.place.lock();
        place.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fresh_owner(&self) -> String {
        MongoStore::fresh_owner()
    }

    async fn open(&self, owner: &str, former: &[String]) -> Result<Arc<dyn Reached>, NotOpened> {
        match MongoStore::open_as(&self.settings, owner, former).await {
            Ok(store) => {
                self.is_at(&store.describe());
                tell(store.adopted());
                Ok(Arc::new(store))
            }
            Err(MongoOpenError::Unreachable { place, cause }) => {
                self.is_at(&place);
                Err(NotOpened::OutOfReach(cause))
            }
            // The service that names the servers is out of reach itself.
            Err(MongoOpenError::Settings(error @ MongoSettingsError::Service { .. })) => {
                Err(NotOpened::OutOfReach(Box::new(error)))
            }
            Err(MongoOpenError::TakenOver { place }) => {
                self.is_at(&place);
                Err(NotOpened::TakenOver)
            }
            Err(error) => Err(NotOpened::Refused(Box::new(error))),
        }
    }
}

#[async_trait]
impl Reached for MongoStore {
    async fn ping(&self) -> Result<(), CommitError> {
        Self::ping(self).await
    }
}

/// Says what an earlier program had left there.
fn tell(adopted: &Adopted) {
    if adopted.documents > 0 {
        info!(
            documents = adopted.documents,
            "took up what an earlier master had left in the database"
        );
    }
    for problem in &adopted.left_alone {
        warn!(
            problem,
            "a document of an earlier master can't be read; it stays as it is"
        );
    }
}

/// An error and its causes in one line.
pub(super) fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}
