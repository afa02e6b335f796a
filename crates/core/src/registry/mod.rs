//! The worker registry: who is there, what each offers, and what of it is promised to whom.
//!
//! It holds no task. Time comes in as an argument; the stored form leaves as records.

mod most_free;
pub mod reservation;
#[cfg(test)]
mod tests;
pub mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use cloudai_model::{AttemptId, Mono, UserLimits, WorkerId, record::WorkerRecord};

pub(crate) use most_free::MostFree;
pub use reservation::{Reservation, ReserveError, UnknownReservation};
pub use worker::{Allocated, HeldReport, HoldOff, SetAside, Worker};

use crate::users::Users;

/// No worker has this id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("worker {0} is not registered")]
pub struct UnknownWorker(pub WorkerId);

/// A worker with this id is there already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("worker {0} already registered")]
pub struct AlreadyRegistered(pub WorkerId);

/// All registered workers and all reservations on them.
#[derive(Debug, Default)]
pub struct Registry {
    workers: BTreeMap<WorkerId, Arc<Worker>>,
    /// Workers by when they were last given a task: whose turn it is comes first.
    turns: BTreeSet<(u64, WorkerId)>,
    last_turn: u64,
    reservations: BTreeMap<AttemptId, Reservation>,
    /// The same, summed up by whose attempts they are for.
    users: Users,
    /// Reservations that end by themselves, soonest first.
    deadlines: BTreeSet<(Mono, AttemptId)>,
    /// See [`crate::simulation::Sabotage::no_reservation_check`].
    pub(crate) counts_nothing: bool,
}

impl Registry {
    /// Without workers. The limits hold for each user who has none of their own.
    #[must_use]
    pub fn new(everybody: UserLimits) -> Self {
        Self {
            users: Users::new(everybody),
            ..Self::default()
        }
    }

    /// What each user may have and has.
    #[must_use]
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// The same, to change it.
    pub(crate) fn users_mut(&mut self) -> &mut Users {
        &mut self.users
    }

    /// Adds a worker, inactive until it is heard of.
    ///
    /// # Errors
    /// If one with its id is there.
    pub fn add(&mut self, record: WorkerRecord) -> Result<&Worker, AlreadyRegistered> {
        let id = record.worker.clone();
        if self.workers.contains_key(&id) {
            return Err(AlreadyRegistered(id));
        }
        self.turns.insert((0, id.clone()));
        let worker = Arc::new(Worker::from_record(record));
        Ok(self.workers.entry(id).or_insert(worker))
    }

    /// Takes a worker out, with every reservation on it.
    ///
    /// # Errors
    /// If there is none.
    pub fn remove(&mut self, id: &WorkerId) -> Result<Arc<Worker>, UnknownWorker> {
        let worker = self
            .workers
            .remove(id)
            .ok_or_else(|| UnknownWorker(id.clone()))?;
        self.turns.remove(&(worker.turn, id.clone()));
        for attempt in &worker.attempts {
            if let Some(reservation) = self.reservations.remove(attempt) {
                self.drop_deadline(&reservation, attempt);
                self.users.subtract(&reservation.user, &reservation.grant);
            }
        }
        Ok(worker)
    }

    /// The worker with this id.
    #[must_use]
    pub fn get(&self, id: &WorkerId) -> Option<&Worker> {
        self.workers.get(id).map(Arc::as_ref)
    }

    /// How many workers are registered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// Every worker, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values().map(Arc::as_ref)
    }

    /// Every worker, the one that waited longest for a task first.
    pub fn by_turn(&self) -> impl Iterator<Item = &Worker> {
        self.turns.iter().filter_map(|(_, id)| self.get(id))
    }

    /// All workers as they are now. Later changes don't reach it: a worker that changes while a
    /// snapshot holds it is copied first.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<WorkerId, Arc<Worker>> {
        self.workers.clone()
    }

    /// Changes a worker in place. Its id, turn and promises are changed elsewhere.
    ///
    /// # Errors
    /// If there is none with this id: nothing but [`Self::add`] makes a worker known.
    pub(crate) fn update<T>(
        &mut self,
        id: &WorkerId,
        change: impl FnOnce(&mut Worker) -> T,
    ) -> Result<T, UnknownWorker> {
        let worker = self
            .workers
            .get_mut(id)
            .ok_or_else(|| UnknownWorker(id.clone()))?;
        Ok(change(Arc::make_mut(worker)))
    }

    /// Makes those workers inactive that were silent for longer than `after`, counted from
    /// `forgiven` at the earliest. None is removed, and what it offered stays known.
    pub(crate) fn silence(&mut self, now: Mono, forgiven: Mono, after: Duration) -> Vec<WorkerId> {
        let silent = |worker: &Worker| {
            worker.active && now.since(worker.last_heard.unwrap_or_default().max(forgiven)) > after
        };
        let stale: Vec<_> = self
            .iter()
            .filter(|worker| silent(worker))
            .map(|worker| worker.id.clone())
            .collect();
        for id in &stale {
            let done = self.update(id, |worker| worker.active = false);
            debug_assert!(done.is_ok(), "listed just above");
        }
        stale
    }
}
