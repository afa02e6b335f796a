//! Opening: the server is found, what is there is checked, indexes are made, the last batch is
//! carried out to its end, and what an earlier program left is taken up. In this order.

use std::{future::IntoFuture as _, sync::Arc};

use mongodb::{
    Client,
    bson::{Document, doc},
};

use super::{
    adopt::{self, Adopted},
    commit::Committer,
    documents::{ORDER, accounts, assignments, files, results, tasks},
    failure::Failure,
    filling,
    head::{self, Claim, Head},
    link::Link,
    settings::{Limits, MongoSettings, MongoSettingsError},
};
use crate::{Holdings, error::Cause};

/// The wire version of MongoDB 5.0, the first with snapshots outside of transactions.
const OLDEST_WIRE_VERSION: i32 = 13;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum MongoOpenError {
    /// The settings are not right.
    #[error(transparent)]
    Settings(#[from] MongoSettingsError),
    /// Nobody answers, or nobody who takes writes.
    #[error("{place} can't be reached: expected a server, or a replica set with a primary")]
    Unreachable {
        /// Which database.
        place: String,
        /// What the driver said.
        #[source]
        cause: Cause,
    },
    /// It doesn't let this program in.
    #[error(
        "{place} refuses the credentials: expected a user that may read and write there \
         (MONGODB_USERNAME and MONGODB_PASSWORD, or those of MONGODB_URI with its authSource)"
    )]
    Refused {
        /// Which database.
        place: String,
        /// What it said.
        #[source]
        cause: Cause,
    },
    /// The server's program is too old.
    #[error("{place} is a MongoDB older than 5.0: expected 5.0 or later")]
    TooOld {
        /// Which database.
        place: String,
    },
    /// A newer CloudAI wrote there.
    #[error(
        "{place} has schema {found}, and this program knows {known}: expected the version of \
         CloudAI that wrote it, or a later one"
    )]
    Newer {
        /// Which database.
        place: String,
        /// Its version.
        found: i64,
        /// The highest that is known.
        known: i64,
    },
    /// It is being filled, or that did not come to its end.
    #[error(
        "{place} is only half filled: {what} did not come to its end. Run that again, which begins \
         anew, or drop the database"
    )]
    Unfinished {
        /// Which database.
        place: String,
        /// What was to fill it.
        what: String,
    },
    /// There is something already, where a new store was to be made.
    #[error("{place} is not empty: it holds {holdings}; expected a database without a store")]
    Occupied {
        /// Which database.
        place: String,
        /// What is there.
        holdings: Box<Holdings>,
    },
    /// A master is at work on it.
    #[error(
        "{place} is in use by a master, which wrote a sign of life {seconds} s ago: stop it; if it \
         was killed, try again in a quarter of a minute"
    )]
    InUse {
        /// Which database.
        place: String,
        /// How long ago.
        seconds: i64,
    },
    /// Another master has had it since this one wrote there last.
    #[error("another master has taken {place} over since this one wrote there last")]
    TakenOver {
        /// Which database.
        place: String,
    },
    /// It was reached, and then something went wrong.
    #[error("{place} failed")]
    Failed {
        /// Which database.
        place: String,
        /// What it said.
        #[source]
        cause: Cause,
    },
}

/// A database that may be written.
pub(super) struct Opened {
    pub(super) link: Arc<Link>,
    pub(super) owner: String,
    pub(super) committer: Committer,
    pub(super) adopted: Adopted,
}

/// Opens a database to be written. One that is being filled is for whoever is `filling` it.
pub(super) async fn open(
    settings: &MongoSettings,
    limits: Limits,
    claim: &Claim,
    filling: bool,
) -> Result<Opened, MongoOpenError> {
    let link = reach(settings, limits).await?;
    let place = link.place.clone();
    let failed = |failure| failed(&place, failure);
    // Both before anything is written there.
    let head = Head::find(&link).await.map_err(failed)?;
    if !claim.may_follow(head.as_ref()) {
        return Err(failed(Failure::TakenOver));
    }
    if !filling {
        refuse_unfinished(&link).await?;
    }
    prepare(Arc::new(link), claim).await.map_err(failed)
}

/// A database that is being filled is none yet.
pub(super) async fn refuse_unfinished(link: &Link) -> Result<(), MongoOpenError> {
    let place = link.place.clone();
    match filling::find(link).await {
        Ok(None) => Ok(()),
        Ok(Some(what)) => Err(MongoOpenError::Unfinished { place, what }),
        Err(failure) => Err(failed(&place, failure)),
    }
}

pub(super) fn failed(place: &str, failure: Failure) -> MongoOpenError {
    if failure.is_about_credentials() || failure.is_about_reach() {
        return unreachable(place, failure);
    }
    let place = place.to_owned();
    match failure {
        Failure::TakenOver => MongoOpenError::TakenOver { place },
        failure => MongoOpenError::Failed {
            place,
            cause: failure.cause(),
        },
    }
}

fn unreachable(place: &str, failure: Failure) -> MongoOpenError {
    let place = place.to_owned();
    if failure.is_about_credentials() {
        let cause = failure.cause();
        MongoOpenError::Refused { place, cause }
    } else {
        let cause = failure.cause();
        MongoOpenError::Unreachable { place, cause }
    }
}

/// Finds the server and looks whether what is there can be read. Changes nothing.
pub(super) async fn reach(
    settings: &MongoSettings,
    limits: Limits,
) -> Result<Link, MongoOpenError> {
    let target = settings.target(&limits).await?;
    let (place, limits) = (target.place, target.limits);
    // No server is asked yet: what fails here is a setting, such as a file of certificates.
    let client = Client::with_options(target.options).map_err(|error| MongoOpenError::Failed {
        place: place.clone(),
        cause: Failure::from(error).cause(),
    })?;
    let admin = client.database("admin");
    let hello = admin.run_command(doc! { "hello": 1 }).into_future();
    let hello = match tokio::time::timeout(limits.answer, hello).await {
        Ok(hello) => hello.map_err(|error| unreachable(&place, error.into()))?,
        Err(_) => return Err(unreachable(&place, Failure::NoAnswer(limits.answer))),
    };
    if hello.get_i32("maxWireVersion").unwrap_or(0) < OLDEST_WIRE_VERSION {
        return Err(MongoOpenError::TooOld { place });
    }
    // A router of a sharded cluster has transactions, too.
    let replica_set =
        hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|it| it == "isdbgrid");
    let link = Link::new(client, &target.database, place.clone(), limits, replica_set);
    if let Some(head) = Head::find(&link)
        .await
        .map_err(|failure| failed(&place, failure))?
        && head.schema > head::SCHEMA
    {
        return Err(MongoOpenError::Newer {
            place,
            found: head.schema,
            known: head::SCHEMA,
        });
    }
    Ok(link)
}

async fn prepare(link: Arc<Link>, claim: &Claim) -> Result<Opened, Failure> {
    make_indexes(&link).await?;
    let owner = claim.owner.clone();
    let head = Head::claim(&link, claim).await?;
    head.redo(&link).await?;
    head::clear(&link, &owner, head.number).await?;
    drop_unnamed_chunks(&link).await?;
    let adopted = adopt::adopt(&link, head.number).await?;
    Ok(Opened {
        committer: Committer::new(Arc::clone(&link), owner.clone(), head.number),
        link,
        owner,
        adopted,
    })
}

/// What lacks its marker does not exist.
async fn drop_unnamed_chunks(link: &Link) -> Result<(), Failure> {
    let drop = doc! { "delete": head::CHUNKS, "deletes": [{ "q": {}, "limit": 0 }] };
    link.write(drop, None).await?;
    Ok(())
}

/// Name, keys and further options.
type Index = (&'static str, Document, Document);

/// The indexes of each collection.
fn indexes() -> [(&'static str, Vec<Index>); 7] {
    let any = || doc! {};
    let ordered =
        || doc! { "partialFilterExpression": { ORDER: { "$gte": 0_i64 } }, "unique": true };
    [
        (
            tasks::COLLECTION,
            vec![
                ("cloudai_order", doc! { ORDER: 1 }, ordered()),
                ("cloudai_status", doc! { "status": 1, ORDER: 1 }, any()),
                ("cloudai_user", doc! { "user_id": 1, ORDER: 1 }, any()),
                (
                    "cloudai_user_status",
                    doc! { "user_id": 1, "status": 1, ORDER: 1 },
                    any(),
                ),
                (
                    "cloudai_submit",
                    doc! { "user_id": 1, "submit_key": 1, ORDER: 1 },
                    doc! { "partialFilterExpression": { "submit_key": { "$gte": "" } } },
                ),
                ("cloudai_worker", doc! { "worker_id": 1, ORDER: 1 }, any()),
                ("cloudai_number", doc! { "task_number": 1 }, any()),
                (
                    "cloudai_end",
                    doc! { "status": 1, "completed_at": 1, ORDER: 1 },
                    any(),
                ),
            ],
        ),
        (
            assignments::COLLECTION,
            vec![
                ("cloudai_task", doc! { "task_id": 1, "attempt": 1 }, any()),
                (
                    "cloudai_open",
                    doc! { ORDER: 1, "attempt": 1 },
                    doc! { "partialFilterExpression": { "open": true } },
                ),
            ],
        ),
        (
            results::COLLECTION,
            vec![("cloudai_order", doc! { ORDER: 1 }, any())],
        ),
        (
            files::COLLECTION,
            vec![
                ("cloudai_user", doc! { "user_id": 1, ORDER: 1 }, any()),
                ("cloudai_bytes", doc! { "user_id": 1, "bytes": 1 }, any()),
            ],
        ),
        (
            accounts::KEYS,
            vec![("cloudai_user", doc! { "username": 1 }, any())],
        ),
        (
            accounts::ENDED_TOKENS,
            vec![("cloudai_until", doc! { "until": 1 }, any())],
        ),
        (
            accounts::AUDIT,
            vec![
                ("cloudai_number", doc! { "number": 1 }, any()),
                ("cloudai_user", doc! { "username": 1, "number": 1 }, any()),
                ("cloudai_action", doc! { "action": 1, "number": 1 }, any()),
                ("cloudai_at", doc! { "at": 1 }, any()),
            ],
        ),
    ]
}

async fn make_indexes(link: &Link) -> Result<(), Failure> {
    for (collection, indexes) in indexes() {
        // One by one: another program may have made one of them under its own name.
        for (name, keys, options) in indexes {
            let mut index = doc! { "name": name, "key": keys };
            index.extend(options);
            let make = doc! { "createIndexes": collection, "indexes": [index] };
            match link.make_index(make).await {
                Err(failure) if failure.is_index_there() => {}
                outcome => outcome?,
            }
        }
    }
    Ok(())
}
