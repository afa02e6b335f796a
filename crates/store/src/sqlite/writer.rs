//! The one thread that writes: it owns the writing connection and takes whole batches.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use cloudai_model::{account::AccountChange, record::Record};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{failure::WriteError, lock::DataDirLock, open::Opened, tables};
use crate::{CommitError, batch::that_count};

/// Batches that may wait; the caller normally has one under way.
const WAITING_BATCHES: usize = 16;

type Reply = oneshot::Sender<Result<(), CommitError>>;

enum Request {
    Commit(Arc<Vec<Record>>, Reply),
    Close(Reply),
}

/// The way to the writing thread.
pub(super) struct Writer {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(opened: Opened, place: String) -> std::io::Result<Self> {
        let (requests, waiting) = mpsc::channel(WAITING_BATCHES);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(opened.db, opened.lock, &place, waiting))?;
        Ok(Self {
            requests: Mutex::new(Some(requests)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Commits a batch. It is written whole or not at all even if the caller stops waiting.
    pub(super) async fn commit(&self, batch: Arc<Vec<Record>>) -> Result<(), CommitError> {
        let requests = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        ask(requests, |reply| Request::Commit(batch, reply)).await
    }

    /// Writes what waits, then closes the database and lets go of the directory.
    pub(super) async fn close(&self) -> Result<(), CommitError> {
        let requests = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match requests {
            Some(requests) => ask(Some(requests), Request::Close).await,
            None => Ok(()),
        }
    }
}

async fn ask(
    requests: Option<mpsc::Sender<Request>>,
    request: impl FnOnce(Reply) -> Request,
) -> Result<(), CommitError> {
    let requests = requests.ok_or(CommitError::Closed)?;
    let (reply, answer) = oneshot::channel();
    requests
        .send(request(reply))
        .await
        .map_err(|_| CommitError::Closed)?;
    answer.await.map_err(|_| CommitError::Closed)?
}

impl Drop for Writer {
    /// Waits for the thread, so that the directory can be opened again at once.
    fn drop(&mut self) {
        *self
            .requests
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner) = None;
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // If it panicked, that was said where it happened.
            let _ = thread.join();
        }
    }
}

fn run(mut db: Connection, lock: DataDirLock, place: &str, mut waiting: mpsc::Receiver<Request>) {
    let mut closing = None;
    while let Some(request) = waiting.blocking_recv() {
        match request {
            Request::Commit(batch, reply) => {
                let outcome = commit(&mut db, &batch).map_err(|error| error.at(place));
                // Whoever stopped waiting has no use for the answer.
                let _ = reply.send(outcome);
            }
            Request::Close(reply) => {
                closing = Some(reply);
                waiting.close();
            }
        }
    }
    let outcome = db
        .close()
        .map_err(|(_, error)| WriteError::from(error).at(place));
    drop(lock);
    if let Some(reply) = closing {
        let _ = reply.send(outcome);
    }
}

/// Writes a batch as one transaction.
pub(super) fn commit(db: &mut Connection, batch: &[Record]) -> Result<(), WriteError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for record in that_count(batch) {
        write(&transaction, &record)?;
    }
    transaction.commit()?;
    Ok(())
}

fn write(db: &Connection, record: &Record) -> Result<(), WriteError> {
    match record {
        Record::Cluster(cluster) => tables::cluster::put(db, cluster),
        Record::Worker(worker) => tables::workers::put(db, worker),
        Record::WorkerRemoved(worker) => tables::workers::remove(db, worker),
        Record::TaskAdded(task) => tables::tasks::add(db, task),
        Record::TaskChanged(task, state) => tables::tasks::change(db, task, state),
        Record::SpecChanged(task, change) => tables::tasks::change_spec(db, task, change),
        Record::Assignment(assignment) => tables::assignments::put(db, assignment),
        Record::Result(result) => tables::results::add(db, result),
        Record::Files(files) => tables::files::put(db, files),
        Record::StopOrder(stop) => tables::stop_orders::put(db, stop),
        Record::StopOrderDone(attempt) => tables::stop_orders::remove(db, attempt),
        Record::Removed(record) => tables::removed::put(db, record),
        Record::TaskForgotten(task) => tables::forgotten::forget(db, task),
        Record::Forgotten(numbers) => tables::forgotten::raise(db, (*numbers).into()),
        Record::Account(change) => write_account(db, change),
    }
}

fn write_account(db: &Connection, change: &AccountChange) -> Result<(), WriteError> {
    match change {
        AccountChange::User(user) => tables::users::put(db, user),
        AccountChange::UserRemoved(user) => tables::users::remove(db, user),
        AccountChange::Key(key) => tables::users::put_key(db, key),
        AccountChange::KeyRemoved(key) => tables::users::remove_key(db, key),
        AccountChange::TokenEnded(token) => tables::ended_tokens::put(db, token),
        AccountChange::TokensForgotten(before) => tables::ended_tokens::forget(db, *before),
        AccountChange::Audit(entry) => tables::audit::add(db, entry),
        AccountChange::AuditForgotten(before) => tables::audit::forget(db, *before),
    }
}
