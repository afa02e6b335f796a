//! Calls to workers: assignments, stops, invitations. Each call is a task of its own, has a
//! deadline, and ends as an input to the core.

mod call;
mod channel;
mod old_nodes;

use std::sync::{Arc, OnceLock};

use cloudai_core::{Assignment, StopRequest};
use cloudai_model::{WorkerAddress, WorkerId};

pub use call::{LogStream, LogStreamError};
use channel::Channels;

use crate::{core_loop::CoreHandle, snapshot::Snapshots, specs::Specs, token::Tokens};

/// See the module.
pub struct Workers {
    core: OnceLock<CoreHandle>,
    channels: Channels,
    specs: Specs,
    snapshots: Snapshots,
    tokens: Tokens,
    /// What MasterRegister sends as this master's address; `None`: the local address of the
    /// connection, with this port.
    advertise: Option<String>,
    grpc_port: u16,
    stop_grace: std::time::Duration,
}

/// What a [`Workers`] is made from.
pub struct WorkersSetup {
    /// Specs of tasks.
    pub specs: Specs,
    /// The registry as of the last flush.
    pub snapshots: Snapshots,
    /// Worker tokens.
    pub tokens: Tokens,
    /// See [`Workers`].
    pub advertise: Option<String>,
    /// The port of this master's gRPC server.
    pub grpc_port: u16,
    /// Between SIGTERM and SIGKILL.
    pub stop_grace: std::time::Duration,
}

impl Workers {
    /// No call is made before [`Self::connect`].
    #[must_use]
    pub fn new(setup: WorkersSetup) -> Self {
        Self {
            core: OnceLock::new(),
            channels: Channels::default(),
            specs: setup.specs,
            snapshots: setup.snapshots,
            tokens: setup.tokens,
            advertise: setup.advertise,
            grpc_port: setup.grpc_port,
            stop_grace: setup.stop_grace,
        }
    }

    /// Tells it the core, whose effects it carries out; once.
    pub fn connect(&self, core: CoreHandle) {
        let first = self.core.set(core).is_ok();
        debug_assert!(first, "there is one core");
    }

    /// Sends an assignment.
    pub fn assign(self: &Arc<Self>, assignment: Assignment) {
        let this = self.clone();
        tokio::spawn(async move { this.send_assignment(assignment).await });
    }

    /// Asks a worker to stop an attempt.
    pub fn stop(self: &Arc<Self>, request: StopRequest) {
        let this = self.clone();
        tokio::spawn(async move { this.send_stop(request).await });
    }

    /// Calls a worker, so that it registers here.
    pub fn invite(self: &Arc<Self>, worker: WorkerId, address: WorkerAddress, registration: u64) {
        let this = self.clone();
        tokio::spawn(async move { this.send_invitation(&worker, &address, registration).await });
    }

    /// A worker was unregistered: closes connections to addresses of no registered worker.
    pub fn close_unused(&self) {
        let snapshot = self.snapshots.latest();
        let workers = snapshot.workers.values();
        self.channels
            .keep_only(&workers.map(|worker| &worker.address).collect());
    }

    /// Whether a worker is known to be an old node.
    pub fn is_old_node(&self, worker: &WorkerId) -> bool {
        let snapshot = self.snapshots.latest();
        let worker = snapshot.workers.get(worker);
        worker.is_some_and(|worker| worker.is_old_node())
    }

    async fn tell(&self, input: cloudai_core::Input) {
        if let Some(core) = self.core.get() {
            // An error means that the master is shutting down; a start asks the worker again.
            let _ = core.tell(input).await;
        }
    }
}
