//! Reservations: what of a worker is promised to which attempt, and for how long.

use std::{collections::BTreeSet, sync::Arc};

use cloudai_model::{
    AttemptId, DeviceShare, Grant, Mono, Resources, UserName, WorkerId, resources::WHOLE_DEVICE,
};

use super::{Allocated, Registry, UnknownWorker};
use crate::explain::Obstacle;

/// Capacity of one worker, promised to one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Whose capacity.
    pub worker: WorkerId,
    /// Whose attempt.
    pub user: UserName,
    /// How much is held now.
    pub grant: Grant,
    /// When it ends by itself; `None` once the worker has accepted.
    pub deadline: Option<Mono>,
}

/// Why nothing was reserved. Nothing is ever reserved in part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// No such worker.
    #[error(transparent)]
    UnknownWorker(#[from] UnknownWorker),
    /// The attempt has a reservation.
    #[error("attempt {0} has a reservation already")]
    AlreadyReserved(AttemptId),
    /// The worker hasn't that much free.
    #[error("worker {0} has not enough free: {1}")]
    Short(WorkerId, Obstacle),
    /// The worker hasn't that much free on these devices, or no such devices.
    #[error("worker {0} has not these devices free: {1:?}")]
    Devices(WorkerId, Vec<DeviceShare>),
}

/// No reservation belongs to this attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("attempt {0} has no reservation")]
pub struct UnknownReservation(pub AttemptId);

impl Registry {
    /// How many reservations there are.
    #[must_use]
    pub fn reservation_count(&self) -> usize {
        self.reservations.len()
    }

    /// The attempt's reservation.
    #[must_use]
    pub fn reservation(&self, attempt: &AttemptId) -> Option<&Reservation> {
        self.reservations.get(attempt)
    }

    /// Promises `grant` of `worker` to `attempt` of `user`: all of it, or nothing and an error. It ends
    /// at `deadline` unless [`Self::confirm`]ed before.
    ///
    /// # Errors
    /// If any resource, or any single device, has less free than is asked. Whether the user may have
    /// as much is asked before, of [`crate::Users::admit`].
    pub fn reserve(
        &mut self,
        attempt: &AttemptId,
        user: &UserName,
        worker: &WorkerId,
        grant: Grant,
        deadline: Mono,
    ) -> Result<(), ReserveError> {
        let entry = self
            .get(worker)
            .ok_or_else(|| UnknownWorker(worker.clone()))?;
        if self.reservations.contains_key(attempt) {
            return Err(ReserveError::AlreadyReserved(attempt.clone()));
        }
        let amounts = Resources {
            cpu_milli: grant.cpu_milli,
            memory_bytes: grant.memory_bytes,
            storage_bytes: grant.storage_bytes,
            ..Resources::default()
        };
        entry
            .room_for(&amounts)
            .map_err(|obstacle| ReserveError::Short(worker.clone(), obstacle))?;
        let gpus = entry.capacity.map_or(0, |capacity| capacity.gpus);
        let rising = grant
            .devices
            .windows(2)
            .all(|pair| pair[0].device < pair[1].device);
        let free = |share: &DeviceShare| {
            let taken = entry
                .allocated
                .device_milli
                .get(usize::from(share.device))
                .copied();
            share.device < gpus
                && (1..=WHOLE_DEVICE).contains(&u32::from(share.milli))
                && taken.unwrap_or(0) + u32::from(share.milli) <= WHOLE_DEVICE
        };
        if !rising || !grant.devices.iter().all(free) {
            return Err(ReserveError::Devices(worker.clone(), grant.devices));
        }
        self.take(attempt, user, worker, grant, Some(deadline));
        self.advance_turn(worker);
        Ok(())
    }

    /// Books what an attempt holds that was promised before a restart, whether or not the worker
    /// still offers as much: a worker that comes back smaller keeps what runs there.
    ///
    /// # Errors
    /// If the worker is unknown or the attempt is booked already.
    pub fn restore(
        &mut self,
        attempt: &AttemptId,
        user: &UserName,
        worker: &WorkerId,
        grant: Grant,
        deadline: Option<Mono>,
    ) -> Result<(), ReserveError> {
        if !self.workers.contains_key(worker) {
            return Err(UnknownWorker(worker.clone()).into());
        }
        if self.reservations.contains_key(attempt) {
            return Err(ReserveError::AlreadyReserved(attempt.clone()));
        }
        self.take(attempt, user, worker, grant, deadline);
        Ok(())
    }

    /// The worker has accepted: the reservation lasts until it is released.
    ///
    /// # Errors
    /// If there is none.
    pub fn confirm(&mut self, attempt: &AttemptId) -> Result<(), UnknownReservation> {
        let reservation = self
            .reservations
            .get_mut(attempt)
            .ok_or_else(|| UnknownReservation(attempt.clone()))?;
        if let Some(deadline) = reservation.deadline.take() {
            self.deadlines.remove(&(deadline, attempt.clone()));
        }
        Ok(())
    }

    /// The container has ended: CPU, memory and devices are free, the disk is not yet.
    ///
    /// # Errors
    /// If there is no reservation.
    pub fn release_compute(&mut self, attempt: &AttemptId) -> Result<(), UnknownReservation> {
        self.confirm(attempt)?;
        if let Some(reservation) = self.reservations.get_mut(attempt) {
            let kept = reservation.grant.without_compute();
            let before = std::mem::replace(&mut reservation.grant, kept.clone());
            let worker = reservation.worker.clone();
            self.users.subtract(&reservation.user, &before);
            self.users.add(&reservation.user, &kept);
            self.change_promises(&worker, |promised| {
                promised.subtract(&before);
                promised.add(&kept);
            });
        }
        Ok(())
    }

    /// Takes the whole promise back.
    ///
    /// # Errors
    /// If there is none.
    pub fn release(&mut self, attempt: &AttemptId) -> Result<Reservation, UnknownReservation> {
        let reservation = self
            .reservations
            .remove(attempt)
            .ok_or_else(|| UnknownReservation(attempt.clone()))?;
        self.drop_deadline(&reservation, attempt);
        self.users.subtract(&reservation.user, &reservation.grant);
        self.change_promises(&reservation.worker, |promised| {
            promised.subtract(&reservation.grant);
        });
        if let Some(worker) = self.workers.get_mut(&reservation.worker) {
            Arc::make_mut(worker).attempts.remove(attempt);
        }
        Ok(reservation)
    }

    /// The reservations whose time ran out before a worker accepted. They stay until released:
    /// a promise is taken back only when the worker has shown that it doesn't hold the attempt.
    #[must_use]
    pub fn expired(&self, now: Mono) -> Vec<AttemptId> {
        let due = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now);
        due.map(|(_, attempt)| attempt.clone()).collect()
    }

    /// Moves every deadline that lies before `earliest` to it: time in which this process stood
    /// still is nobody's fault.
    pub(crate) fn forgive(&mut self, earliest: Mono) {
        let due: Vec<_> = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline < earliest)
            .cloned()
            .collect();
        for key in due {
            self.deadlines.remove(&key);
            if let Some(reservation) = self.reservations.get_mut(&key.1) {
                reservation.deadline = Some(earliest);
            }
            self.deadlines.insert((earliest, key.1));
        }
    }

    pub(super) fn drop_deadline(&mut self, reservation: &Reservation, attempt: &AttemptId) {
        if let Some(deadline) = reservation.deadline {
            self.deadlines.remove(&(deadline, attempt.clone()));
        }
    }

    fn take(
        &mut self,
        attempt: &AttemptId,
        user: &UserName,
        worker: &WorkerId,
        grant: Grant,
        deadline: Option<Mono>,
    ) {
        self.change_promises(worker, |promised| promised.add(&grant));
        self.users.add(user, &grant);
        if let Some(entry) = self.workers.get_mut(worker) {
            Arc::make_mut(entry).attempts.insert(attempt.clone());
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, attempt.clone()));
        }
        let reservation = Reservation {
            worker: worker.clone(),
            user: user.clone(),
            grant,
            deadline,
        };
        self.reservations.insert(attempt.clone(), reservation);
    }

    /// The sum of what is promised to these attempts.
    pub(crate) fn promised(&self, attempts: &BTreeSet<AttemptId>) -> Allocated {
        let mut sum = Allocated::default();
        for reservation in attempts
            .iter()
            .filter_map(|attempt| self.reservations.get(attempt))
        {
            sum.add(&reservation.grant);
        }
        sum
    }

    /// Takes the sum of a worker's promises anew.
    pub(crate) fn recount(&mut self, worker: &WorkerId) {
        let Some(entry) = self.workers.get(worker) else {
            return;
        };
        let sum = self.promised(&entry.attempts);
        self.change_promises(worker, |promised| *promised = sum);
    }

    fn change_promises(&mut self, worker: &WorkerId, change: impl FnOnce(&mut Allocated)) {
        if let Some(entry) = self.workers.get_mut(worker)
            && !self.counts_nothing
        {
            change(&mut Arc::make_mut(entry).allocated);
        }
    }

    fn advance_turn(&mut self, worker: &WorkerId) {
        self.last_turn += 1;
        let turn = self.last_turn;
        if let Some(entry) = self.workers.get_mut(worker) {
            let entry = Arc::make_mut(entry);
            self.turns.remove(&(entry.turn, worker.clone()));
            entry.turn = turn;
            self.turns.insert((turn, worker.clone()));
        }
    }
}
