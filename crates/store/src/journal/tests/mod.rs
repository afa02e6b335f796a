//! The journal over a database that fails when it is told to, and over real servers.

mod accounts;
mod away;
mod catching_up;
mod conforming;
mod file;
mod intake;
mod servers;

use std::{path::Path, sync::Arc, time::Duration};

use cloudai_model::record::Record;

use super::{FakeDatabase, JournalSettings, JournaledOpenError, JournaledStore};
use crate::conformance::sample;

/// A commit waits so long in these tests.
const PATIENCE: Duration = Duration::from_millis(300);

fn settings(data_dir: &Path) -> JournalSettings {
    JournalSettings {
        data_dir: data_dir.to_owned(),
        required: false,
        journal_after: PATIENCE,
    }
}

async fn try_open(
    data_dir: &Path,
    database: &FakeDatabase,
) -> Result<JournaledStore, JournaledOpenError> {
    JournaledStore::open_over(settings(data_dir), Arc::new(database.clone())).await
}

/// One that nothing makes wait too long.
async fn open_patiently(data_dir: &Path, database: &FakeDatabase) -> JournaledStore {
    let mut settings = settings(data_dir);
    settings.journal_after = Duration::from_secs(90);
    let store = JournaledStore::open_over(settings, Arc::new(database.clone())).await;
    store.unwrap()
}

async fn open(data_dir: &Path, database: &FakeDatabase) -> JournaledStore {
    try_open(data_dir, database).await.unwrap()
}

/// As a process that was killed leaves it: nothing is closed.
async fn kill(store: JournaledStore) {
    store.end_keeper().await;
    drop(store);
}

/// Waits until something is so.
async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "waited for {what}");
}

/// Waits until the database lacks nothing.
async fn is_well(store: &JournaledStore) {
    eventually("the store to be well", async || store.degraded().is_none()).await;
}

/// Waits until the database is found to be out of reach.
async fn is_degraded(store: &JournaledStore) {
    eventually("the store to be degraded", async || {
        store.degraded().is_some()
    })
    .await;
}

/// One task's whole life, as one batch.
fn life(number: u64) -> Arc<Vec<Record>> {
    let it = sample(number);
    Arc::new(vec![
        it.added(),
        it.now_running(),
        it.assigned(),
        it.now_done(),
        it.resulted(),
        it.uploaded(),
    ])
}
