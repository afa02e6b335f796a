//! A worker's disk: the records of its attempts, flushed or only written, and its tombstones.
//!
//! As in the real spool, writes of one attempt are in lanes: an older one never covers a newer one,
//! and nothing is written after a deletion that was asked for later.

use std::{cell::RefCell, collections::BTreeMap};

use cloudai_model::AttemptId;
use cloudai_worker_core::SpoolRecord;

/// See the module.
#[derive(Default)]
pub struct Spool {
    places: RefCell<BTreeMap<AttemptId, Place>>,
    /// What is deleted as long as the machine runs: the folder of all attempts is flushed when the next
    /// one is accepted, and not for this.
    unlinked: RefCell<BTreeMap<AttemptId, SpoolRecord>>,
    tombstones: RefCell<(u64, Vec<AttemptId>)>,
}

#[derive(Debug, Clone, Default)]
struct Place {
    written: Option<SpoolRecord>,
    flushed: Option<SpoolRecord>,
}

/// Whether a process may still write what it wants of one attempt.
#[derive(Debug, Clone, Default)]
pub struct Lane(std::rc::Rc<std::cell::Cell<bool>>);

impl Lane {
    /// Nothing is written in it any more.
    pub fn close(&self) {
        self.0.set(true);
    }
}

fn revision(record: Option<&SpoolRecord>) -> u64 {
    record.map_or(0, |record| record.revision)
}

impl Spool {
    /// Writes a record, unless a newer one is there. With `flush` it survives the machine's end.
    /// Whether anything was flushed by it.
    pub fn save(&self, lane: &Lane, record: &SpoolRecord, flush: bool) -> bool {
        if lane.0.get() {
            return false;
        }
        let mut places = self.places.borrow_mut();
        let place = places.entry(record.attempt().clone()).or_default();
        if record.revision > revision(place.written.as_ref()) {
            place.written = Some(record.clone());
        }
        let newer = flush && record.revision > revision(place.flushed.as_ref());
        if newer {
            if place.flushed.is_none() {
                self.unlinked.borrow_mut().clear();
            }
            place.flushed = Some(record.clone());
        }
        newer
    }

    /// Deletes what there is of an attempt; whether there was something.
    pub fn delete(&self, attempt: &AttemptId) -> bool {
        let deleted = self.places.borrow_mut().remove(attempt);
        let flushed = deleted.as_ref().and_then(|place| place.flushed.clone());
        if let Some(record) = flushed {
            let mut unlinked = self.unlinked.borrow_mut();
            unlinked.insert(attempt.clone(), record);
        }
        deleted.is_some()
    }

    /// Writes and flushes the list of attempts that never shall be started.
    pub fn save_tombstones(&self, revision: u64, attempts: &[AttemptId]) {
        let mut tombstones = self.tombstones.borrow_mut();
        if tombstones.0 < revision {
            *tombstones = (revision, attempts.to_vec());
        }
    }

    /// What a start of the program finds. Its revisions of tombstones begin anew.
    #[must_use]
    pub fn read(&self) -> (Vec<SpoolRecord>, Vec<AttemptId>) {
        let mut tombstones = self.tombstones.borrow_mut();
        tombstones.0 = 0;
        let places = self.places.borrow();
        let records = places.values().filter_map(|place| place.written.clone());
        (records.collect(), tombstones.1.clone())
    }

    /// The machine has broken down: what was not flushed is lost, a deletion perhaps, too.
    pub fn lose_unflushed(&self, comes_back: impl Fn(&AttemptId) -> bool) {
        let mut places = self.places.borrow_mut();
        places.retain(|_, place| {
            place.written.clone_from(&place.flushed);
            place.flushed.is_some()
        });
        for (attempt, record) in self.unlinked.take() {
            if comes_back(&attempt) {
                let place = places.entry(attempt).or_default();
                place.written.get_or_insert(record.clone());
                place.flushed.get_or_insert(record);
            }
        }
    }

    /// The disk is lost.
    pub fn lose_all(&self) {
        self.places.borrow_mut().clear();
        self.unlinked.borrow_mut().clear();
        *self.tombstones.borrow_mut() = (0, Vec::new());
    }

    /// What is flushed of an attempt.
    #[must_use]
    pub fn flushed(&self, attempt: &AttemptId) -> Option<SpoolRecord> {
        self.places.borrow().get(attempt)?.flushed.clone()
    }

    /// The attempts of which there is something.
    #[must_use]
    pub fn attempts(&self) -> Vec<AttemptId> {
        self.places.borrow().keys().cloned().collect()
    }
}
