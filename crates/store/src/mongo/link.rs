//! The way to the database: sessions that see what this store wrote, commands with time-outs.

use std::{
    future::{Future, IntoFuture as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mongodb::{
    Client, ClientSession, ClusterTime, Collection, Database,
    bson::{Document, Timestamp, doc},
    options::{DatabaseOptions, ReadConcern},
};

use super::{failure::Failure, settings::Limits, writes};

/// What the making of an index may take, the first time, on a database that is large already.
const LONGEST_INDEX_BUILD: Duration = Duration::from_secs(3600);

/// One database, and what is known of the servers behind it.
pub(super) struct Link {
    pub(super) client: Client,
    /// Its collections read what a majority has.
    database: Database,
    /// Its collections read as the session says.
    plain: Database,
    pub(super) place: String,
    pub(super) limits: Limits,
    /// A replica set has transactions and snapshots; a single server has neither.
    pub(super) replica_set: bool,
    seen: Mutex<Option<Seen>>,
    closed: AtomicBool,
    /// Held while a single server is written, and while it is loaded: it has no snapshots.
    pub(super) still: tokio::sync::Mutex<()>,
}

/// The last moment that this store has seen of the replica set. A server that has fallen behind it
/// doesn't answer before it has caught up.
#[derive(Clone)]
struct Seen {
    cluster: ClusterTime,
    operation: Timestamp,
}

/// How documents are wanted.
#[derive(Debug, Default)]
pub(super) struct How {
    /// In no order if empty.
    pub(super) sort: Document,
    /// All fields if empty.
    pub(super) fields: Document,
    /// All documents if 0.
    pub(super) limit: i64,
}

impl Link {
    pub(super) fn new(
        client: Client,
        database: &str,
        place: String,
        limits: Limits,
        replica_set: bool,
    ) -> Self {
        let plain = client.database(database);
        let database = if replica_set {
            let options = DatabaseOptions::builder()
                .read_concern(ReadConcern::majority())
                .build();
            client.database_with_options(database, options)
        } else {
            plain.clone()
        };
        Self {
            client,
            database,
            plain,
            place,
            limits,
            replica_set,
            seen: Mutex::new(None),
            closed: AtomicBool::new(false),
            still: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    /// For snapshots and linearizable reads, which set their own concern.
    pub(super) fn plain_collection(&self, name: &str) -> Collection<Document> {
        self.plain.collection(name)
    }

    /// Waits for the driver, but not for ever: it has no time-out of its own for an answer.
    pub(super) async fn within<T>(
        &self,
        work: impl Future<Output = mongodb::error::Result<T>> + Send,
    ) -> Result<T, Failure> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Failure::Closed);
        }
        match tokio::time::timeout(self.limits.answer, work).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Failure::NoAnswer(self.limits.answer)),
        }
    }

    /// A session in which everything is seen that was seen before.
    pub(super) async fn session(&self) -> Result<ClientSession, Failure> {
        let mut session = self
            .within(self.client.start_session().into_future())
            .await?;
        let seen = self.seen().clone();
        if let Some(seen) = seen {
            session.advance_cluster_time(&seen.cluster);
            session.advance_operation_time(seen.operation);
        }
        Ok(session)
    }

    /// A session whose reads are all of the moment of its last write.
    pub(super) async fn snapshot(&self, after: &ClientSession) -> Result<ClientSession, Failure> {
        let start = self.client.start_session().snapshot(true);
        let mut session = match after.operation_time() {
            Some(at) => self.within(start.snapshot_time(at).into_future()).await?,
            None => self.within(start.into_future()).await?,
        };
        if let Some(time) = after.cluster_time() {
            session.advance_cluster_time(time);
        }
        Ok(session)
    }

    /// Remembers what a session has seen.
    pub(super) fn note(&self, session: &ClientSession) {
        let Some((cluster, operation)) = session.cluster_time().zip(session.operation_time())
        else {
            return;
        };
        let mut seen = self.seen();
        if seen.as_ref().is_none_or(|seen| seen.operation < operation) {
            *seen = Some(Seen {
                cluster: cluster.clone(),
                operation,
            });
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write of its own: a majority has it in its journal when it returns. The server gives up
    /// before the answer is given up.
    pub(super) async fn write(
        &self,
        mut command: Document,
        session: Option<&mut ClientSession>,
    ) -> Result<Document, Failure> {
        let milliseconds = i64::try_from(self.limits.work.as_millis()).unwrap_or(i64::MAX);
        let concern = doc! { "w": "majority", "j": true, "wtimeout": milliseconds };
        command.insert("writeConcern", concern);
        command.insert("maxTimeMS", milliseconds);
        let run = self.plain.run_command(command);
        let reply = match session {
            Some(session) => {
                let reply = self.within(run.session(&mut *session).into_future()).await;
                self.note(session);
                reply?
            }
            None => self.within(run.into_future()).await?,
        };
        writes::check(&reply)?;
        Ok(reply)
    }

    /// Makes an index, which takes as long as there is to read.
    pub(super) async fn make_index(&self, command: Document) -> Result<(), Failure> {
        let make = self.plain.run_command(command).into_future();
        match tokio::time::timeout(LONGEST_INDEX_BUILD, make).await {
            Ok(made) => drop(made?),
            Err(_) => return Err(Failure::NoAnswer(LONGEST_INDEX_BUILD)),
        }
        Ok(())
    }

    /// A write within a session's transaction.
    pub(super) async fn write_in(
        &self,
        command: Document,
        session: &mut ClientSession,
    ) -> Result<Document, Failure> {
        let run = self.plain.run_command(command).session(session);
        let reply = self.within(run.into_future()).await?;
        writes::check(&reply)?;
        Ok(reply)
    }

    /// All documents that fit.
    pub(super) async fn find(
        &self,
        collection: &str,
        filter: Document,
        how: How,
    ) -> Result<Vec<Document>, Failure> {
        let mut session = self.session().await?;
        let collection = self.collection(collection);
        let find = collection
            .find(filter)
            .sort(how.sort)
            .projection(how.fields)
            .limit(how.limit)
            .max_time(self.limits.work)
            .session(&mut session);
        let mut cursor = self.within(find.into_future()).await?;
        let mut found = Vec::new();
        while let Some(document) = self.next(&mut cursor, &mut session).await? {
            found.push(document);
        }
        self.note(&session);
        Ok(found)
    }

    pub(super) async fn next(
        &self,
        cursor: &mut mongodb::SessionCursor<Document>,
        session: &mut ClientSession,
    ) -> Result<Option<Document>, Failure> {
        let next = async { cursor.next(session).await.transpose() };
        self.within(next).await
    }

    /// The document of an id.
    pub(super) async fn get(
        &self,
        collection: &str,
        id: &str,
    ) -> Result<Option<Document>, Failure> {
        let found = self
            .find(collection, doc! { "_id": id }, How::default())
            .await?;
        Ok(found.into_iter().next())
    }
}
