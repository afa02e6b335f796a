//! What tells others that a master is at work on a database: a document that it touches every few
//! seconds, and takes away when it ends in order. It holds nobody off who wants to be the master; it
//! is for what must not read or fill a database under one.

use std::{
    future::IntoFuture as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mongodb::bson::{Bson, Document, doc};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{failure::Failure, head, link::Link};

const ID: &str = "alive";

/// How often it is touched.
const INTERVAL: Duration = Duration::from_secs(5);

/// Without a touch for so long, nobody is at work.
const GONE_AFTER_MS: i64 = 15_000;

/// How long the end of a master waits for the document to be taken away.
const LONGEST_GOODBYE: Duration = Duration::from_secs(2);

/// Touches the document until it is ended or dropped.
pub(super) struct SignOfLife {
    link: Arc<Link>,
    owner: String,
    /// Its touching ends when this is gone.
    lives: Mutex<Option<oneshot::Sender<()>>>,
    touching: Mutex<Option<JoinHandle<()>>>,
}

impl SignOfLife {
    pub(super) fn start(link: &Arc<Link>, owner: &str) -> Self {
        let (link, owner) = (link.clone(), owner.to_owned());
        let (lives, ended) = oneshot::channel();
        let touching = tokio::spawn(touch(link.clone(), owner.clone(), ended));
        Self {
            link,
            owner,
            lives: Mutex::new(Some(lives)),
            touching: Mutex::new(Some(touching)),
        }
    }

    /// Takes the document away, unless it is another's by now.
    pub(super) async fn end(&self) {
        drop(lock(&self.lives).take());
        let touching = lock(&self.touching).take();
        let goodbye = async {
            // Not called off: a touch that is under way would come after what takes it away.
            if let Some(touching) = touching {
                let _ = touching.await;
            }
            let mine = doc! { "_id": ID, "owner": &self.owner };
            let remove = doc! { "q": mine, "limit": 1 };
            let remove = doc! { "delete": head::COLLECTION, "deletes": [remove] };
            self.link.write(remove, None).await
        };
        // In a database that is away it is found stale soon enough.
        let _ = tokio::time::timeout(LONGEST_GOODBYE, goodbye).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn touch(link: Arc<Link>, owner: String, mut ended: oneshot::Receiver<()>) {
    let mut due = tokio::time::interval(INTERVAL);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = &mut ended => return,
            _ = due.tick() => {}
        }
        let update = doc! { "$set": { "owner": &owner }, "$currentDate": { "seen_at": true } };
        let update = doc! { "q": { "_id": ID }, "u": update, "upsert": true };
        let touch = doc! { "update": head::COLLECTION, "updates": [update] };
        // Whoever took it over shows its own life, and what is wrong with the database shows where it
        // is written.
        if let Err(Failure::Closed) = link.write(touch, None).await {
            return;
        }
    }
}

/// How many seconds ago a master showed that it is at work; `None`: none is.
pub(super) async fn seen(link: &Link) -> Result<Option<i64>, Failure> {
    let Some(found) = link.get(head::COLLECTION, ID).await? else {
        return Ok(None);
    };
    let admin = link.client.database("admin");
    let hello: Document = link
        .within(admin.run_command(doc! { "hello": 1 }).into_future())
        .await?;
    // Both by the server's clock.
    let millis = |from: &Document, field: &str| match from.get(field) {
        Some(Bson::DateTime(at)) => Some(at.timestamp_millis()),
        _ => None,
    };
    let (seen, now) = (millis(&found, "seen_at"), millis(&hello, "localTime"));
    let age = now.zip(seen).map_or(0, |(now, seen)| now - seen);
    Ok((age < GONE_AFTER_MS).then_some(age.max(0) / 1000))
}
