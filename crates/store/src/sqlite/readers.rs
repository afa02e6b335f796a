//! Connections that read, off the async threads and beside the writer: in WAL neither waits for
//! the other.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{failure::RowError, open};
use crate::ReadError;

/// Reads at one time.
const CONNECTIONS: u32 = 4;

/// A few connections, opened as they are needed.
pub(super) struct Readers {
    path: PathBuf,
    place: String,
    free: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, place: String) -> Self {
        Self {
            path,
            place,
            free: Arc::new(Semaphore::new(CONNECTIONS as usize)),
            idle: Arc::default(),
        }
    }

    /// Runs `read` on a connection, in one transaction: all that it sees is of one instant.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, RowError> + Send + 'static,
    {
        let permit = Arc::clone(&self.free)
            .acquire_owned()
            .await
            .map_err(|_| ReadError::Closed)?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let reading = tokio::task::spawn_blocking(move || {
            let kept = lock(&idle).pop();
            let db = match kept {
                Some(db) => db,
                None => open::connect_to_read(&path)?,
            };
            let found = in_one_transaction(&db, read);
            lock(&idle).push(db);
            // Held until the connection is back, so that closing finds all of them.
            drop(permit);
            found
        });
        match reading.await {
            Ok(found) => found.map_err(|error| error.at(&self.place)),
            Err(error) => Err(ReadError::Failed {
                place: self.place.clone(),
                cause: Box::new(error),
            }),
        }
    }

    /// Waits for reads under way, then closes their connections.
    pub(super) async fn close(&self) {
        if let Ok(all) = self.free.acquire_many(CONNECTIONS).await {
            self.free.close();
            lock(&self.idle).clear();
            drop(all);
        }
    }
}

fn in_one_transaction<T>(
    db: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, RowError>,
) -> Result<T, RowError> {
    let transaction = db.unchecked_transaction()?;
    let found = read(&transaction)?;
    transaction.finish()?;
    Ok(found)
}

fn lock(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
