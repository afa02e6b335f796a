//! What everything that carries out the core's wishes has at hand.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use cloudai_engine::{ContainerId, CredentialStore, Engine, EngineError};
use cloudai_model::{AttemptId, ClusterId};
use cloudai_worker_core::{Order, SpoolRecord};
use tokio::sync::Semaphore;

use crate::{
    console,
    core_loop::CoreHandle,
    engine_link::{self, EngineLink},
    images::Images,
    logs::Logs,
    master_link::MasterLink,
    settings::{OutputKind, Settings},
    spool::{Spool, SpoolError},
};

/// The parts of the worker. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) settings: Arc<Settings>,
    pub(crate) core: CoreHandle,
    pub(crate) spool: Spool,
    pub(crate) logs: Logs,
    pub(crate) engine: EngineLink,
    pub(crate) master: MasterLink,
    /// The cluster of assignments that name none.
    pub(crate) old_cluster: ClusterId,
    pub(crate) credentials: Arc<CredentialStore>,
    /// The engine does not see this worker's files, though its socket is on this machine.
    pub(crate) unshared_files: Arc<AtomicBool>,
    /// Turns for uploads.
    pub(crate) uploads: Arc<Semaphore>,
    /// Turns for fetching what was left in volumes.
    pub(crate) fetches: Arc<Semaphore>,
    pub(crate) images: Images,
    /// Containers that this process has made, so that they need not be looked for.
    pub(crate) made: Arc<Mutex<BTreeMap<AttemptId, ContainerId>>>,
}

impl Context {
    /// Writes a record where blocking is allowed.
    pub(crate) async fn save(&self, record: &SpoolRecord, flush: bool) -> Result<(), SpoolError> {
        let place = self.spool.place(record.attempt());
        let record = record.clone();
        blocking(move || place.save(&record, flush)).await
    }

    /// The container of an attempt.
    pub(crate) async fn container(
        &self,
        engine: &Engine,
        order: &Order,
    ) -> Result<Option<ContainerId>, EngineError> {
        if let Some(made) = self.known(&order.attempt) {
            return Ok(Some(made));
        }
        let worker = &self.settings.id;
        let found = engine_link::find(engine, &order.cluster, worker, &order.attempt).await?;
        Ok(found.map(|held| held.id))
    }

    /// Whether the `/output` of a new container is to be a volume.
    pub(crate) fn wants_volume(&self, engine: &Engine) -> bool {
        match self.settings.output {
            // A container's root leaves what nobody else may read.
            OutputKind::Auto => {
                !engine.is_local()
                    || !rustix::process::geteuid().is_root()
                    || self.unshared_files.load(Ordering::Relaxed)
            }
            OutputKind::Folder => false,
            OutputKind::Volume => true,
        }
    }

    /// A folder of this worker was not found by an engine that looked local: one of them runs in a
    /// container, or the socket leads to another machine.
    pub(crate) fn engine_sees_other_files(&self) {
        let known = self.unshared_files.swap(true, Ordering::Relaxed);
        if !known && self.settings.output == OutputKind::Auto {
            console::line(
                "⚠ The Docker Engine does not see this worker's files; /output is a volume from now on",
            );
        }
    }

    /// The container of an attempt, if this process has made or found it.
    pub(crate) fn known(&self, attempt: &AttemptId) -> Option<ContainerId> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get(attempt).cloned()
    }

    /// Remembers the container of an attempt.
    pub(crate) fn made(&self, attempt: &AttemptId, container: Option<ContainerId>) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match container {
            Some(container) => made.insert(attempt.clone(), container),
            None => made.remove(attempt),
        };
    }
}

/// Does what blocks on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Blocking work is cancelled only when the runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
