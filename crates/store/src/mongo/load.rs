//! What a start needs, streamed in order and in chunks, as of one instant: a snapshot of the
//! replica set, or a single server that nobody writes meanwhile.

use std::future::IntoFuture as _;

use cloudai_model::{TaskStatus, record::Record};
use mongodb::{
    ClientSession,
    bson::{Array, Bson, Document, doc},
};
use tokio::sync::mpsc;

use super::{
    documents::{ORDER, assignments, cluster, removed, stop_orders, tasks, workers},
    failure::Failure,
    head::Head,
    link::Link,
};
use crate::{Highest, LOAD_CHUNK, ReadError};

pub(super) async fn load(
    link: &Link,
    owner: &str,
    sink: &mpsc::Sender<Vec<Record>>,
) -> Result<Highest, Failure> {
    let _still;
    let session = if link.replica_set {
        let mut before = link.session().await?;
        if !Head::touch(link, owner, &mut before).await? {
            return Err(Failure::TakenOver);
        }
        link.snapshot(&before).await?
    } else {
        _still = link.still.lock().await;
        link.session().await?
    };
    let mut load = Load {
        link,
        session,
        sink,
        chunk: Vec::new(),
    };
    load.all().await
}

/// Whatever has an id of ours. Documents of others have ids of other kinds.
fn ours() -> Document {
    doc! { "_id": { "$type": "string" } }
}

fn by_id() -> Document {
    doc! { "_id": 1 }
}

fn live() -> Document {
    let live = TaskStatus::ALL.iter().filter(|status| !status.is_final());
    let words: Array = live.map(|status| status.as_str().into()).collect();
    doc! { "status": { "$in": words }, ORDER: { "$gte": 0_i64 } }
}

struct Load<'a> {
    link: &'a Link,
    session: ClientSession,
    sink: &'a mpsc::Sender<Vec<Record>>,
    chunk: Vec<Record>,
}

impl Load<'_> {
    async fn all(&mut self) -> Result<Highest, Failure> {
        self.each(cluster::COLLECTION, ours(), by_id(), |document| {
            cluster::read(document).map(Record::Cluster).map(Some)
        })
        .await?;
        self.each(workers::COLLECTION, ours(), by_id(), |document| {
            workers::read(document).map(Record::Worker).map(Some)
        })
        .await?;
        let mut orders = Vec::new();
        self.each(tasks::COLLECTION, live(), doc! { ORDER: 1 }, |document| {
            let task = tasks::read(document)?;
            orders.push(task.order.cast_signed());
            Ok(Some(Record::TaskAdded(Box::new(task))))
        })
        .await?;
        // In the order of tasks as well, so the tasks that are live are found by halving.
        let open = doc! { "open": true };
        let sort = doc! { ORDER: 1, "attempt": 1 };
        self.each(assignments::COLLECTION, open, sort, |document| {
            let order = document.get_i64(ORDER).unwrap_or(-1);
            if orders.binary_search(&order).is_err() {
                return Ok(None);
            }
            assignments::read(document)
                .map(Record::Assignment)
                .map(Some)
        })
        .await?;
        self.each(stop_orders::COLLECTION, ours(), by_id(), |document| {
            stop_orders::read(document).map(Record::StopOrder).map(Some)
        })
        .await?;
        self.flush().await?;
        self.highest().await
    }

    async fn each(
        &mut self,
        collection: &str,
        filter: Document,
        sort: Document,
        mut read: impl FnMut(&Document) -> Result<Option<Record>, ReadError> + Send,
    ) -> Result<(), Failure> {
        let link = self.link;
        let collection = link.plain_collection(collection);
        let find = collection
            .find(filter)
            .sort(sort)
            .session(&mut self.session);
        let mut cursor = link.within(find.into_future()).await?;
        while let Some(document) = link.next(&mut cursor, &mut self.session).await? {
            self.chunk.extend(read(&document)?);
            if self.chunk.len() == LOAD_CHUNK {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        self.sink
            .send(chunk)
            .await
            .map_err(|_| Failure::ReceiverGone)
    }

    /// The highest numbers, each from the end of an index. A number beyond 2^63 is kept as a
    /// negative one: if there are any, the highest is among them. Forgotten tasks count.
    async fn highest(&mut self) -> Result<Highest, Failure> {
        let order = self.last(ORDER, doc! { "$gte": 0_i64 }).await?;
        let number = match self.last("task_number", doc! { "$lt": 0_i64 }).await? {
            Some(number) => Some(number),
            None => self.last("task_number", doc! { "$gte": 0_i64 }).await?,
        };
        let stored = Highest {
            task_number: number.map(i64::cast_unsigned),
            order: order.map_or(0, i64::cast_unsigned),
        };
        Ok(stored.and(self.forgotten().await?))
    }

    /// Those of forgotten tasks.
    async fn forgotten(&mut self) -> Result<Highest, Failure> {
        let collection = self.link.plain_collection(removed::FORGOTTEN);
        let find = collection
            .find_one(doc! { "_id": removed::HIGHEST })
            .session(&mut self.session);
        let found = self.link.within(find.into_future()).await?;
        let numbers = found.as_ref().map(removed::read_forgotten).transpose()?;
        Ok(numbers.map_or_else(Highest::default, Highest::from))
    }

    async fn last(&mut self, field: &str, range: Document) -> Result<Option<i64>, Failure> {
        let collection = self.link.plain_collection(tasks::COLLECTION);
        let find = collection
            .find_one(doc! { field: range })
            .sort(doc! { field: -1 })
            .projection(doc! { field: 1 })
            .session(&mut self.session);
        let found = self.link.within(find.into_future()).await?;
        Ok(found.and_then(|document| document.get(field).and_then(Bson::as_i64)))
    }
}
