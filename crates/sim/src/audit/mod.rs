//! The auditor: an independent model that sees only what goes over the wire, into the store and onto
//! the workers' disks, and what containers really do. It knows nothing of the cores, and calls none.
//!
//! Each promise has a part that watches it. What a part is told, it checks before it takes it in, so
//! the first thing amiss is found at the step that brought it about.

mod containers;
mod endings;
mod kept;
mod ledger;
mod lost_workers;
mod outbox;
mod promises;
mod users;
mod violation;

use std::collections::BTreeSet;

use cloudai_core::CancelOutcome;
use cloudai_model::{
    AttemptId, TaskChange, TaskId, TaskStatus, UserLimits, UserName, WorkerId, record::Record,
};
use cloudai_worker_core::SpoolRecord;

pub(crate) use users::BATCH_LABEL;
pub use violation::{Kind, Promise, Violation};

use self::{
    containers::Containers, endings::Endings, kept::Kept, ledger::Ledger,
    lost_workers::LostWorkers, outbox::Outbox, promises::Promises, users::Users,
};
use crate::{
    engine::RawEnd,
    plan::Plan,
    store::TableError,
    wire::{FromMaster, FromWorker, ToMaster, ToWorker},
};

/// What the auditor sees.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// A batch is in the store from now on.
    Flushed(&'a [Record]),
    /// The store refuses a batch.
    StoreRefused(&'a TableError),
    /// The master is gone.
    MasterGone,
    /// The master has read its store.
    MasterReady,
    /// Another second has passed; whether anything keeps the master from noticing.
    Second {
        /// It is down or stands still, or its store doesn't write.
        master_troubled: bool,
    },
    /// The master has sent something.
    SentToWorker {
        /// To whom.
        worker: usize,
        /// What.
        request: &'a ToWorker,
    },
    /// Something of the master's has arrived.
    ArrivedAtWorker {
        /// Where.
        worker: usize,
        /// What.
        request: &'a ToWorker,
    },
    /// A worker has sent its answer.
    AnsweredByWorker {
        /// Who.
        worker: usize,
        /// To what.
        request: &'a ToWorker,
        /// What it says.
        answer: &'a FromWorker,
    },
    /// Something of a worker's has arrived.
    ArrivedAtMaster {
        /// Whose.
        worker: usize,
        /// What.
        request: &'a ToMaster,
    },
    /// The master has sent its answer.
    AnsweredByMaster {
        /// To whom.
        worker: usize,
        /// To what.
        request: &'a ToMaster,
        /// What it says.
        answer: &'a FromMaster,
    },
    /// A user asks for a cancel.
    CancelAsked(&'a TaskId),
    /// An admin says what a user may have.
    LimitsAsked(&'a UserName, &'a UserLimits),
    /// A user or admin has been told something.
    UserTold(&'a Told),
    /// A worker is shut down in order, and takes its containers with it.
    ShutDown {
        /// Which.
        worker: usize,
    },
    /// A record is on a worker's disk.
    SpoolFlushed {
        /// Whose.
        worker: usize,
        /// What.
        record: &'a SpoolRecord,
    },
    /// What a worker's disk had of an attempt is deleted.
    SpoolDeleted {
        /// Whose.
        worker: usize,
        /// Of which.
        attempt: &'a AttemptId,
    },
    /// A worker's disk is lost.
    DiskLost {
        /// Whose.
        worker: usize,
    },
    /// Somebody removes a worker's containers.
    ContainersLost {
        /// Whose.
        worker: usize,
    },
    /// There is a container.
    ContainerCreated {
        /// Where.
        worker: usize,
        /// Of which attempt.
        attempt: &'a AttemptId,
    },
    /// The engine is asked to start it.
    ContainerStartAsked {
        /// Where.
        worker: usize,
        /// Of which attempt.
        attempt: &'a AttemptId,
    },
    /// Its command runs.
    ContainerStarted {
        /// Where.
        worker: usize,
        /// Of which attempt.
        attempt: &'a AttemptId,
    },
    /// The engine is stopping it.
    ContainerStopAsked {
        /// Where.
        worker: usize,
        /// Of which attempt.
        attempt: &'a AttemptId,
    },
    /// Its command has ended.
    ContainerEnded {
        /// Where.
        worker: usize,
        /// Of which attempt.
        attempt: &'a AttemptId,
        /// How.
        end: &'a RawEnd,
    },
    /// It is gone.
    ContainerRemoved {
        /// Where.
        worker: usize,
        /// Of which attempt.
        attempt: &'a AttemptId,
    },
    /// A worker takes a container for nobody's.
    OrphanFound {
        /// Which worker.
        worker: usize,
        /// Of which attempt.
        attempt: &'a AttemptId,
    },
    /// With all faults over, something has not come to rest.
    Restless(&'a Violation),
}

/// What a user or admin was told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Their task is kept.
    Submitted(TaskId),
    /// What a cancel came to.
    Cancelled(TaskId, CancelOutcome),
    /// It has ended already.
    IsFinal(TaskId),
    /// A change holds.
    Changed(TaskId, TaskChange),
    /// A worker is registered.
    Registered(WorkerId),
    /// A worker is not registered any more.
    Unregistered(WorkerId),
    /// A worker drains, or doesn't any more.
    Drained(WorkerId, bool),
    /// These limits hold for a user.
    Limited(UserName, UserLimits),
}

/// See the module.
pub struct Auditor {
    ledger: Ledger,
    kept: Kept,
    endings: Endings,
    promises: Promises,
    containers: Containers,
    outbox: Outbox,
    lost_workers: LostWorkers,
    users: Users,
}

impl Auditor {
    /// One that has seen nothing of the run of this plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            ledger: Ledger::default(),
            kept: Kept::default(),
            endings: Endings::default(),
            promises: Promises::default(),
            containers: Containers::new(plan),
            outbox: Outbox::default(),
            lost_workers: LostWorkers::default(),
            users: Users::default(),
        }
    }

    /// Takes in what is seen.
    ///
    /// # Errors
    /// The first thing that is amiss with it.
    pub fn see(&mut self, now_ms: u64, seen: &Seen<'_>) -> Result<(), Violation> {
        match seen {
            Seen::Flushed(batch) => return self.flushed(batch),
            Seen::StoreRefused(error) => {
                return Err(Violation::new(Kind::StoreRefused, error.to_string()));
            }
            Seen::Restless(violation) => return Err((*violation).clone()),
            _ => {}
        }
        self.kept.see(&self.ledger, seen)?;
        self.endings.see(seen);
        self.users.see(seen);
        self.promises.see(&self.ledger, seen);
        self.containers.see(seen)?;
        self.outbox.see(seen)?;
        self.lost_workers.see(&self.ledger, now_ms, seen)
    }

    /// The changes of tasks' statuses that were stored.
    #[must_use]
    pub fn status_changes(&self) -> BTreeSet<(TaskStatus, TaskStatus)> {
        self.ledger.status_changes.clone()
    }

    fn flushed(&mut self, batch: &[Record]) -> Result<(), Violation> {
        for record in batch {
            self.ledger.check(record)?;
            self.endings.check(&self.ledger, &self.containers, record)?;
            self.promises.check(&self.ledger, record)?;
            self.users.check(&self.ledger, &self.promises, record)?;
            self.ledger.take_in(record);
        }
        Users::check_flush(batch)?;
        self.ledger.check_batch(batch)
    }
}
