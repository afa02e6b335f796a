//! What a worker accepted it keeps, and reports until the master has it.

use std::collections::BTreeSet;

use cloudai_core::Reported;
use cloudai_model::AttemptId;

use super::{
    Seen,
    violation::{Kind, Violation, ensure},
};
use crate::wire::{FromMaster, FromWorker, ToMaster, ToWorker};

type Place = (usize, AttemptId);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    on_disk: BTreeSet<Place>,
    accepted: BTreeSet<Place>,
    /// The master has said that it has the report, or wants none.
    settled: BTreeSet<Place>,
    /// Their end is on disk.
    ended: BTreeSet<Place>,
    /// Containers that are nobody's.
    orphans: BTreeSet<Place>,
}

impl Outbox {
    /// Whether a worker that said that it has it has not been told yet that its report is taken.
    fn is_owed(&self, place: &Place) -> bool {
        self.accepted.contains(place) && !self.settled.contains(place)
    }

    pub(super) fn see(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        match seen {
            Seen::SpoolFlushed { worker, record } => {
                let place = (*worker, record.attempt().clone());
                if record.end.is_some() {
                    self.ended.insert(place.clone());
                }
                self.on_disk.insert(place);
            }
            Seen::ContainerRemoved {
                worker,
                attempt,
                by_worker: true,
            } => {
                let place = (*worker, (*attempt).clone());
                let may_go = self.ended.contains(&place) || self.orphans.contains(&place);
                return ensure(may_go, Kind::RemovedTooSoon, || {
                    format!("{attempt} on w{worker}")
                });
            }
            Seen::DiskLost { worker } => {
                self.on_disk.retain(|(at, _)| at != worker);
                self.accepted.retain(|(at, _)| at != worker);
            }
            Seen::AnsweredByWorker {
                worker,
                request: ToWorker::Assign { attempt, .. },
                answer: FromWorker::Taken,
            } => {
                let place = (*worker, attempt.clone());
                let kept = self.on_disk.contains(&place) || self.settled.contains(&place);
                ensure(kept, Kind::AcceptedUnkept, || {
                    format!("{attempt} on w{worker}")
                })?;
                self.accepted.insert(place);
            }
            Seen::AnsweredByWorker {
                worker,
                request: ToWorker::Assign { attempt, .. },
                answer: FromWorker::Refused(reason),
            } => {
                let place = (*worker, attempt.clone());
                // What is over it may have forgotten, and refuse for any reason.
                return ensure(!self.is_owed(&place), Kind::AnsweredOtherwise, || {
                    format!("{attempt} on w{worker}: {reason}")
                });
            }
            Seen::AnsweredByMaster {
                worker,
                request,
                answer: FromMaster::Heard(reported),
                ..
            } => {
                let settles = match request {
                    ToMaster::Report { .. } => true,
                    ToMaster::Upload { .. } => *reported == Reported::Superseded,
                    _ => false,
                };
                if let Some(attempt) = request.attempt().filter(|_| settles) {
                    self.settled.insert((*worker, attempt.clone()));
                }
            }
            Seen::OrphanFound { worker, attempt } => {
                let place = (*worker, (*attempt).clone());
                let owed = self.is_owed(&place);
                let held = self.on_disk.contains(&place) || owed;
                self.orphans.insert(place);
                return ensure(!held, Kind::OrphanIsHeld, || {
                    format!("{attempt} on w{worker}")
                });
            }
            Seen::SpoolDeleted { worker, attempt } => {
                let place = (*worker, (*attempt).clone());
                self.on_disk.remove(&place);
                let owed = self.is_owed(&place);
                return ensure(!owed, Kind::ReportDropped, || {
                    format!("{attempt} on w{worker}")
                });
            }
            _ => {}
        }
        Ok(())
    }
}
