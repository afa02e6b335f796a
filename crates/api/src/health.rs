//! Whether the master is alive, and whether it can be used.

use cloudai_core::Snapshot;
use cloudai_operator::{About, Disks};
use serde::Serialize;
use utoipa::{ToSchema, openapi::Object};

use crate::figures::{Time, words};

/// Whether the master is alive, and how it is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Health {
    /// `full`: no new task is taken for want of room. `degraded`: the store's database is out of
    /// reach.
    #[schema(schema_with = status_schema)]
    status: &'static str,
    /// The program's version.
    version: String,
    /// The cluster's id; absent until the store has been read.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// Registered workers.
    workers: usize,
    /// Those that were heard of lately.
    active_workers: usize,
    /// The store: its kind, and for who may know what it is and where.
    store: String,
    /// Absent while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<Degraded>,
    /// Why no new task is taken, and for who may know what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Each disk that the master writes to; none for who may not know.
    disks: Vec<DiskHealth>,
}

fn status_schema() -> Object {
    words(["ok", "starting", "full", "degraded"]).into()
}

/// The store's database is out of reach.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Degraded {
    /// Since when.
    since: Time,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Whether it was read before.
    read: bool,
    /// Changes that wait in the journal.
    journaled_changes: usize,
    /// Submits among them that no scheduler has seen yet.
    journaled_submits: usize,
    /// What the journal takes.
    journal_bytes: u64,
}

/// Room on a disk.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DiskHealth {
    /// What lies on it: `store`, `logs`, `files`.
    holds: Vec<&'static str>,
    /// Its size.
    total_bytes: u64,
    /// What may still be taken.
    free_bytes: u64,
    /// With less free than this no new task is taken.
    keep_free_bytes: u64,
}

impl Health {
    /// How a master is.
    #[must_use]
    pub fn new(
        about: About,
        snapshot: &Snapshot,
        disks: Disks,
        degraded: Option<cloudai_operator::Degraded>,
    ) -> Self {
        let shown = disks.disks.into_iter().map(|disk| DiskHealth {
            holds: disk.holds,
            total_bytes: disk.total_bytes,
            free_bytes: disk.free_bytes,
            keep_free_bytes: disk.keep_free_bytes,
        });
        Self {
            status: match (snapshot.ready, &disks.held_up, &degraded) {
                (_, _, Some(_)) => "degraded",
                (false, _, None) => "starting",
                (true, Some(_), None) => "full",
                (true, None, None) => "ok",
            },
            version: about.version,
            cluster: snapshot.ready.then(|| snapshot.cluster.to_string()),
            workers: snapshot.workers.len(),
            active_workers: snapshot.active_workers(),
            store: about.store,
            degraded: degraded.map(|away| Degraded {
                since: away.since.into(),
                reason: Some(away.reason),
                read: away.read,
                journaled_changes: away.changes,
                journaled_submits: away.submitted,
                journal_bytes: away.journal_bytes,
            }),
            reason: disks.held_up,
            disks: shown.collect(),
        }
    }

    /// The same for somebody who has not shown who they are: words and counts, nothing of the machine
    /// or of what the database said.
    #[must_use]
    pub fn for_strangers(self) -> Self {
        let kind = self.store.split(' ').next().unwrap_or_default();
        Self {
            store: kind.to_owned(),
            degraded: self.degraded.map(|away| Degraded {
                reason: None,
                ..away
            }),
            reason: self.reason.map(|_| NO_ROOM.to_owned()),
            disks: Vec::new(),
            ..self
        }
    }
}

/// What strangers are told of a disk without room.
const NO_ROOM: &str = "there is no room for new tasks";

/// Whether the master can be used, which is more than that it is alive: whether new tasks are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether it can.
    pub ready: bool,
    /// Why it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Readiness {
    /// The same for somebody who has not shown who they are.
    #[must_use]
    pub fn for_strangers(self) -> Self {
        Self {
            reason: self
                .reason
                .map(|_| "new tasks are not taken just now".to_owned()),
            ..self
        }
    }
}
