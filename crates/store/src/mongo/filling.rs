//! A database that is being filled with the records of another store. A mark in it says so, so that
//! no master takes a half for the whole.

use std::sync::Arc;

use mongodb::bson::doc;

use super::{
    MongoReader, MongoStore,
    documents::{
        accounts, assignments, cluster, files, removed, results, stop_orders, tasks, workers,
    },
    export,
    failure::Failure,
    head::{self, Claim},
    link::Link,
    open::{self, MongoOpenError},
    settings::{Limits, MongoSettings},
    sign_of_life,
};
use crate::Store as _;

const ID: &str = "unfinished";

/// All that a store keeps its records in.
const COLLECTIONS: [&str; 14] = [
    cluster::COLLECTION,
    workers::COLLECTION,
    tasks::COLLECTION,
    assignments::COLLECTION,
    results::COLLECTION,
    files::COLLECTION,
    files::PAGES,
    stop_orders::COLLECTION,
    removed::COLLECTION,
    removed::FORGOTTEN,
    accounts::USERS,
    accounts::KEYS,
    accounts::ENDED_TOKENS,
    accounts::AUDIT,
];

/// A store that no master takes for one before it is [finished](Self::finish).
pub struct MongoFilling {
    store: Arc<MongoStore>,
    link: Arc<Link>,
}

impl MongoFilling {
    /// Marks the database and makes an empty store in it. What an earlier filling that was broken
    /// off left is removed.
    ///
    /// # Errors
    /// See [`MongoOpenError`]; [`MongoOpenError::Occupied`] if there is a store already.
    pub async fn begin(settings: &MongoSettings, what: &str) -> Result<Self, MongoOpenError> {
        let limits = Limits::default();
        let link = open::reach(settings, limits).await?;
        let place = link.place.clone();
        let failed = |failure| open::failed(&place, failure);
        if let Some(seconds) = sign_of_life::seen(&link).await.map_err(failed)? {
            let place = place.clone();
            return Err(MongoOpenError::InUse { place, seconds });
        }
        if find(&link).await.map_err(failed)?.is_some() {
            clear(&link).await.map_err(failed)?;
        }
        let holdings = export::holdings(&link).await.map_err(failed)?;
        if !holdings.is_empty() {
            let (place, holdings) = (place.clone(), Box::new(holdings));
            return Err(MongoOpenError::Occupied { place, holdings });
        }
        mark(&link, what).await.map_err(failed)?;
        link.close();
        link.client.shutdown().immediate(true).await;
        let claim = Claim::of(&MongoStore::fresh_owner(), &[]);
        let store = MongoStore::of(open::open(settings, limits, &claim, true).await?);
        Ok(Self {
            link: store.link.clone(),
            store: Arc::new(store),
        })
    }

    /// The store, to be filled.
    #[must_use]
    pub fn store(&self) -> Arc<MongoStore> {
        self.store.clone()
    }

    /// Reads what it holds by now.
    #[must_use]
    pub fn reader(&self) -> MongoReader {
        MongoReader {
            link: self.link.clone(),
        }
    }

    /// Takes the mark away and closes the store, which is whole now.
    ///
    /// # Errors
    /// If the database doesn't take that. Then the mark may stay.
    pub async fn finish(self) -> Result<(), MongoOpenError> {
        let unmark = doc! { "q": { "_id": ID }, "limit": 1 };
        let unmark = doc! { "delete": head::COLLECTION, "deletes": [unmark] };
        let unmarked = self.link.write(unmark, None).await;
        unmarked.map_err(|failure| open::failed(&self.link.place, failure))?;
        // It says only that what was written is closed.
        let _ = self.store.close().await;
        Ok(())
    }
}

/// What a marked database was to be filled with; `None`: it is not marked.
pub(super) async fn find(link: &Link) -> Result<Option<String>, Failure> {
    let mark = link.get(head::COLLECTION, ID).await?;
    Ok(mark.map(|mark| mark.get_str("what").unwrap_or("a copy").to_owned()))
}

async fn mark(link: &Link, what: &str) -> Result<(), Failure> {
    let mark = doc! { "q": { "_id": ID }, "u": { "what": what }, "upsert": true };
    let mark = doc! { "update": head::COLLECTION, "updates": [mark] };
    link.write(mark, None).await.map(drop)
}

/// Removes every record. The mark stays.
async fn clear(link: &Link) -> Result<(), Failure> {
    // The head first: what it says must not be carried out again.
    let all_but_the_mark = doc! { "_id": { "$ne": ID } };
    let head = doc! { "q": all_but_the_mark, "limit": 0 };
    let head = doc! { "delete": head::COLLECTION, "deletes": [head] };
    link.write(head, None).await?;
    for collection in COLLECTIONS.into_iter().chain([head::CHUNKS]) {
        let all = doc! { "q": {}, "limit": 0 };
        let clear = doc! { "delete": collection, "deletes": [all] };
        link.write(clear, None).await?;
    }
    Ok(())
}
