//! What the tests with the real program and the real engine share: a worker process, an image to
//! run, and a master that misbehaves on demand.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "support for tests, of which each program uses its part"
)]

pub mod cut_engine;
pub mod fake_master;
pub mod image;
pub mod process;

use std::{future::Future, time::Duration};

use self::{fake_master::FakeMaster, process::Worker};

/// No step of a test takes longer than this unless something hangs.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Waits until a look gives something.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let seen = tokio::time::timeout(LIMIT, async {
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let seen = seen.await;
    seen.unwrap_or_else(|_| panic!("{what}: not seen within {LIMIT:?}"))
}

/// Ends a test that hangs.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("not done within {LIMIT:?}"))
}

/// A worker with a fake master, and its data directory.
pub async fn worker() -> (FakeMaster, Worker, tempfile::TempDir) {
    let master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(folder.path(), &master.address(), &[]);
    (master, worker, folder)
}

/// Whether no attempt is left in a worker's spool.
pub fn spool_is_empty(folder: &tempfile::TempDir) -> bool {
    let mut entries = std::fs::read_dir(folder.path().join("spool")).unwrap();
    entries.all(|entry| !entry.unwrap().path().is_dir())
}
