//! All of a database: its documents as records, and how many there are.
//!
//! On a replica set it is read in a snapshot. On a single server, which has none, it is as of one
//! instant only if the head stands where it stood when all has been read, and what the head says had
//! been carried out before.

use std::{collections::BTreeMap, future::IntoFuture as _, time::Duration};

use cloudai_model::{account::AccountChange, record::Record};
use mongodb::{
    ClientSession,
    bson::{Array, Bson, Document, doc},
};
use tokio::{sync::mpsc, time::sleep};

use super::{
    documents::{
        ORDER, accounts, assignments, cluster, files, removed, results, stop_orders, tasks, workers,
    },
    failure::Failure,
    head::{self, Head},
    link::{How, Link},
    query,
    writes::BATCH,
};
use crate::{Holdings, Piece, ReadError, export::Chunk};

/// How often, and with what pause, it is looked whether a batch is carried out. One that is being
/// carried out is within seconds.
const LOOKS: usize = 50;
const PAUSE: Duration = Duration::from_millis(200);

/// How many ids one question names.
const IDS_AT_ONCE: usize = 10_000;

/// Sends everything.
pub(super) async fn export(link: &Link, sink: &mpsc::Sender<Piece>) -> Result<(), Failure> {
    if link.replica_set {
        let session = settled_snapshot(link).await?;
        return Export::new(link, session, sink).all().await;
    }
    let before = settled_head(link).await?;
    Export::new(link, link.session().await?, sink).all().await?;
    let after = Head::find(link).await?;
    if after.map(|head| head.number) != before {
        return Err(Failure::Document(ReadError::WrittenMeanwhile {
            place: link.place.clone(),
        }));
    }
    Ok(())
}

fn unsettled(link: &Link) -> Failure {
    Failure::Document(ReadError::Unsettled {
        place: link.place.clone(),
    })
}

/// A snapshot in which the last batch is there as a whole.
async fn settled_snapshot(link: &Link) -> Result<ClientSession, Failure> {
    for _ in 0..LOOKS {
        let start = link.client.start_session().snapshot(true);
        let mut session = link.within(start.into_future()).await?;
        let find = link.plain_collection(head::COLLECTION);
        let find = find
            .find_one(doc! { "_id": head::ID })
            .session(&mut session);
        let found = link.within(find.into_future()).await?;
        if found.is_none_or(|head| Head::read(&head).is_settled()) {
            return Ok(session);
        }
        sleep(PAUSE).await;
    }
    Err(unsettled(link))
}

/// The number of the last batch, once it is carried out; `None`: there never was one.
async fn settled_head(link: &Link) -> Result<Option<i64>, Failure> {
    for _ in 0..LOOKS {
        let Some(head) = Head::find(link).await? else {
            return Ok(None);
        };
        if is_carried_out(link, &head).await? {
            return Ok(Some(head.number));
        }
        sleep(PAUSE).await;
    }
    Err(unsettled(link))
}

/// Whether every document of the head's batch is as that batch left it.
async fn is_carried_out(link: &Link, head: &Head) -> Result<bool, Failure> {
    let Some(writes) = head.writes_here()? else {
        return Ok(head.is_settled());
    };
    let mut written: BTreeMap<String, (Array, Array)> = BTreeMap::new();
    for write in writes {
        let removes = write.removes();
        let (there, gone) = written.entry(write.collection).or_default();
        if removes { gone } else { there }.push(Bson::String(write.id));
    }
    let count = async |collection: &str, ids: &[Bson], batch: Document| {
        let filter = doc! { "_id": { "$in": ids.to_vec() }, BATCH: batch };
        let how = How {
            fields: doc! { "_id": 1 },
            ..How::default()
        };
        let found = link.find(collection, filter, how).await?;
        Ok::<usize, Failure>(found.len())
    };
    for (collection, (there, gone)) in &written {
        for ids in there.chunks(IDS_AT_ONCE) {
            let as_written = doc! { "$gte": head.number };
            if count(collection, ids, as_written).await? < ids.len() {
                return Ok(false);
            }
        }
        for ids in gone.chunks(IDS_AT_ONCE) {
            let still_there = doc! { "$lt": head.number };
            if count(collection, ids, still_there).await? > 0 {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Whatever has an id of ours. Documents of others have ids of other kinds.
fn ours() -> Document {
    doc! { "_id": { "$type": "string" } }
}

struct Export<'a> {
    link: &'a Link,
    session: ClientSession,
    sink: &'a mpsc::Sender<Piece>,
    chunk: Chunk,
}

impl<'a> Export<'a> {
    fn new(link: &'a Link, session: ClientSession, sink: &'a mpsc::Sender<Piece>) -> Self {
        Self {
            link,
            session,
            sink,
            chunk: Chunk::default(),
        }
    }

    async fn all(mut self) -> Result<(), Failure> {
        let by_id = doc! { "_id": 1 };
        let by_order = doc! { ORDER: 1 };
        let by_attempt = doc! { ORDER: 1, "attempt": 1 };
        self.each(cluster::COLLECTION, by_id.clone(), |document| {
            cluster::read(document).map(Record::Cluster)
        })
        .await?;
        self.each(workers::COLLECTION, by_id.clone(), |document| {
            workers::read(document).map(Record::Worker)
        })
        .await?;
        self.people(&by_id).await?;
        self.each(tasks::COLLECTION, by_order.clone(), |document| {
            tasks::read(document).map(|task| Record::TaskAdded(Box::new(task)))
        })
        .await?;
        self.each(removed::COLLECTION, by_order.clone(), |document| {
            removed::read(document).map(Record::Removed)
        })
        .await?;
        self.each(assignments::COLLECTION, by_attempt, |document| {
            assignments::read(document).map(Record::Assignment)
        })
        .await?;
        self.each(results::COLLECTION, by_order.clone(), |document| {
            results::read(document).map(|result| Record::Result(Box::new(result)))
        })
        .await?;
        self.files(by_order).await?;
        let by_attempt = doc! { "task_id": 1, "attempt": 1 };
        self.each(stop_orders::COLLECTION, by_attempt, |document| {
            stop_orders::read(document).map(Record::StopOrder)
        })
        .await?;
        self.each(accounts::AUDIT, by_id.clone(), |document| {
            let entry = accounts::read_audit(document)?;
            Ok(Record::Account(AccountChange::Audit(Box::new(entry))))
        })
        .await?;
        self.each(removed::FORGOTTEN, by_id, |document| {
            removed::read_forgotten(document).map(Record::Forgotten)
        })
        .await?;
        let rest = self.chunk.take();
        self.send(rest).await
    }

    async fn each(
        &mut self,
        collection: &str,
        sort: Document,
        read: impl Fn(&Document) -> Result<Record, ReadError> + Send,
    ) -> Result<(), Failure> {
        let mut cursor = self.find(collection, sort).await?;
        while let Some(document) = self.link.next(&mut cursor, &mut self.session).await? {
            self.take(read(&document)).await?;
        }
        Ok(())
    }

    /// Each with its pages.
    async fn files(&mut self, sort: Document) -> Result<(), Failure> {
        let mut cursor = self.find(files::COLLECTION, sort).await?;
        while let Some(document) = self.link.next(&mut cursor, &mut self.session).await? {
            let record = match self.pages(&document).await? {
                Ok(pages) => files::read(&document, &pages),
                Err(error) => Err(error),
            };
            let record = record.map(|files| Record::Files(Box::new(files)));
            self.take(record).await?;
        }
        Ok(())
    }

    async fn people(&mut self, by_id: &Document) -> Result<(), Failure> {
        self.each(accounts::USERS, by_id.clone(), |document| {
            let user = accounts::read_user(document)?;
            Ok(Record::Account(AccountChange::User(Box::new(user))))
        })
        .await?;
        self.each(accounts::KEYS, by_id.clone(), |document| {
            let key = accounts::read_key(document)?;
            Ok(Record::Account(AccountChange::Key(Box::new(key))))
        })
        .await?;
        self.each(accounts::ENDED_TOKENS, by_id.clone(), |document| {
            let token = accounts::read_token(document)?;
            Ok(Record::Account(AccountChange::TokenEnded(token)))
        })
        .await
    }

    async fn pages(
        &mut self,
        document: &Document,
    ) -> Result<Result<Vec<Document>, ReadError>, Failure> {
        let count = match files::pages(document) {
            Ok(count) => count,
            Err(error) => return Ok(Err(error)),
        };
        let mut pages = Vec::new();
        for number in 1..=count {
            let id = files::page_id(document.get_str("_id").unwrap_or_default(), number);
            let collection = self.link.plain_collection(files::PAGES);
            let find = collection
                .find_one(doc! { "_id": &id })
                .session(&mut self.session);
            match self.link.within(find.into_future()).await? {
                Some(page) => pages.push(page),
                None => return Ok(Err(query::missing_page(id))),
            }
        }
        Ok(Ok(pages))
    }

    async fn find(
        &mut self,
        collection: &str,
        sort: Document,
    ) -> Result<mongodb::SessionCursor<Document>, Failure> {
        let collection = self.link.plain_collection(collection);
        let find = collection
            .find(ours())
            .sort(sort)
            // There is no index for each of these orders.
            .allow_disk_use(true)
            .session(&mut self.session);
        self.link.within(find.into_future()).await
    }

    async fn take(&mut self, record: Result<Record, ReadError>) -> Result<(), Failure> {
        match record {
            Ok(record) => {
                let full = self.chunk.add(record);
                self.send(full).await
            }
            Err(error) => {
                let before = self.chunk.take();
                self.send(before).await?;
                self.send(Some(Piece::Unreadable(error))).await
            }
        }
    }

    async fn send(&self, piece: Option<Piece>) -> Result<(), Failure> {
        match piece {
            Some(piece) => self
                .sink
                .send(piece)
                .await
                .map_err(|_| Failure::ReceiverGone),
            None => Ok(()),
        }
    }
}

/// How much there is.
pub(super) async fn holdings(link: &Link) -> Result<Holdings, Failure> {
    let count = async |collection: &str, filter: Document| {
        let collection = link.collection(collection);
        let count = collection.count_documents(filter).into_future();
        link.within(count).await
    };
    let cluster = link.get(cluster::COLLECTION, cluster::ID).await?;
    let mut not_taken_up = 0;
    for collection in [
        workers::COLLECTION,
        tasks::COLLECTION,
        assignments::COLLECTION,
        results::COLLECTION,
        files::COLLECTION,
        accounts::USERS,
    ] {
        let others = doc! { "_id": { "$not": { "$type": "string" } } };
        not_taken_up += count(collection, others).await?;
    }
    Ok(Holdings {
        cluster: cluster.as_ref().map(cluster::read).transpose()?,
        workers: count(workers::COLLECTION, ours()).await?,
        tasks: query::count_by_status(link).await?,
        assignments: count(assignments::COLLECTION, ours()).await?,
        results: count(results::COLLECTION, ours()).await?,
        files: count(files::COLLECTION, ours()).await?,
        stop_orders: count(stop_orders::COLLECTION, ours()).await?,
        removed: count(removed::COLLECTION, ours()).await?,
        has_forgotten: count(removed::FORGOTTEN, ours()).await? > 0,
        users: count(accounts::USERS, ours()).await?,
        keys: count(accounts::KEYS, ours()).await?,
        ended_tokens: count(accounts::ENDED_TOKENS, ours()).await?,
        audit: count(accounts::AUDIT, ours()).await?,
        not_taken_up,
    })
}
