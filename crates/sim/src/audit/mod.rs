//! The auditor: an independent model that sees only what goes over the wire, into the store and onto
//! the workers' disks, and what containers really do. It knows nothing of the cores, and calls none.
//!
//! Each promise has a part that watches it. What a part is told, it checks before it takes it in, so
//! the first thing amiss is found at the step that brought it about.

mod containers;
mod endings;
mod given_up;
mod kept;
mod ledger;
mod lost_workers;
mod outbox;
mod promises;
#[cfg(test)]
mod tests;
mod time_outs;
mod users;
mod violation;

use std::collections::BTreeSet;

use cloudai_core::CancelOutcome;
use cloudai_model::{
    AttemptId, Capacity, TaskChange, TaskId, TaskStatus, UserLimits, UserName, WorkerId,
    record::Record,
};
use cloudai_worker_core::SpoolRecord;

pub(crate) use users::BATCH_LABEL;
pub use violation::{Kind, Promise, Violation};

use self::{
    containers::Containers, endings::Endings, given_up::GivenUp, kept::Kept, ledger::Ledger,
    lost_workers::LostWorkers, outbox::Outbox, promises::Promises, time_outs::TimeOuts,
    users::Users,
};
use crate::{
    engine::RawEnd,
    network::CallError,
    plan::Plan,
    store::TableError,
    wire::{FromMaster, FromWorker, ToMaster, ToWorker},
};

/// What the auditor sees.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// The master is going to write this: its core has just said so.
    Decided(&'a Record),
    /// A commit is under way.
    CommitBegins,
    /// It is done, however often it was tried.
    CommitIsOver,
    /// The master's core has been told that its disk is full, or is not any more.
    DiskIsFull(bool),
    /// A batch is in the store from now on.
    Flushed(&'a [Record]),
    /// The store refuses a batch.
    StoreRefused(&'a TableError),
    /// The master is gone.
    MasterGone,
    /// The master has read its store.
    MasterReady,
    /// The master's process is stopped, as by SIGSTOP.
    MasterStandsStill,
    /// It goes on.
    MasterGoesOn,
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
    /// What came of a call of the master, as it hears it.
    HeardFromWorker {
        /// Whom it called.
        worker: usize,
        /// With what.
        request: &'a ToWorker,
        /// The answer, or why there is none.
        answer: &'a Result<FromWorker, CallError>,
    },
    /// A worker has sent something.
    SentToMaster {
        /// Who.
        worker: usize,
        /// What.
        request: &'a ToMaster,
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
        /// When that arrived.
        arrived_ms: u64,
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
    /// A worker's program starts.
    WorkerStarts {
        /// Which.
        worker: usize,
        /// What it offers.
        capacity: &'a Capacity,
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
        /// By its worker; else by somebody, or with its disk.
        by_worker: bool,
    },
    /// A worker takes a container for nobody's.
    OrphanFound {
        /// Which worker.
        worker: usize,
        /// Of which attempt.
        attempt: &'a AttemptId,
    },
    /// A core has answered a call that has its answer already.
    AnsweredTwice,
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
    given_up: GivenUp,
    time_outs: TimeOuts,
}

impl Auditor {
    /// One that has seen nothing of the run of this plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            ledger: Ledger::default(),
            kept: Kept::default(),
            endings: Endings::new(plan),
            promises: Promises::default(),
            containers: Containers::new(plan),
            outbox: Outbox::default(),
            lost_workers: LostWorkers::default(),
            users: Users::default(),
            given_up: GivenUp::default(),
            time_outs: TimeOuts::new(plan),
        }
    }

    /// Takes in what is seen.
    ///
    /// # Errors
    /// The first thing that is amiss with it.
    pub fn see(&mut self, now_ms: u64, seen: &Seen<'_>) -> Result<(), Violation> {
        match seen {
            Seen::Flushed(batch) => return self.flushed(now_ms, batch),
            Seen::StoreRefused(error) => {
                return Err(Violation::new(Kind::StoreRefused, error.to_string()));
            }
            Seen::AnsweredTwice => {
                let what = "a call that has its answer already";
                return Err(Violation::new(Kind::AnsweredTwice, what));
            }
            Seen::Restless(violation) => return Err((*violation).clone()),
            _ => {}
        }
        self.kept.see(&self.ledger, &self.promises, seen)?;
        self.endings.see(seen);
        self.users.see(seen);
        self.promises.see(&self.ledger, seen)?;
        self.containers.see(now_ms, seen)?;
        self.outbox.see(seen)?;
        self.given_up.see(&self.ledger, now_ms, seen)?;
        self.time_outs.see(&self.ledger, now_ms, seen)?;
        self.lost_workers.see(&self.ledger, now_ms, seen)
    }

    /// The changes of tasks' statuses that were stored.
    #[must_use]
    pub fn status_changes(&self) -> BTreeSet<(TaskStatus, TaskStatus)> {
        self.ledger.status_changes.clone()
    }

    fn flushed(&mut self, now_ms: u64, batch: &[Record]) -> Result<(), Violation> {
        for record in batch {
            self.ledger.check(record)?;
            self.endings
                .check(&self.ledger, &self.containers, &self.given_up, record)?;
            self.promises.check(&self.ledger, record)?;
            self.users.check(&self.ledger, &self.promises, record)?;
            self.endings.take_in(record);
            self.kept.take_in(now_ms, record);
            self.ledger.take_in(record);
        }
        Users::check_flush(batch)?;
        self.ledger.check_batch(batch)
    }
}
