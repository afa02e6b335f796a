//! Which faults are active just now, and what that means for whoever asks.

use std::cell::RefCell;

use crate::{
    plan::{Fault, FaultKind},
    time::Watch,
};

/// See the module.
pub struct Conditions {
    active: RefCell<Vec<(u64, Fault)>>,
    /// Rises with each change.
    changes: Watch<u64>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            active: RefCell::default(),
            changes: Watch::new(0),
        }
    }
}

impl Conditions {
    /// A fault begins; the number ends it.
    pub fn begin(&self, fault: Fault) -> u64 {
        let number = self.changes.get() + 1;
        self.active.borrow_mut().push((number, fault));
        self.changes.set(number);
        number
    }

    /// The fault with this number is over.
    pub fn end(&self, number: u64) {
        self.active
            .borrow_mut()
            .retain(|(known, _)| *known != number);
        self.changes.set(self.changes.get() + 1);
    }

    /// Whether a fault of this kind is active there.
    #[must_use]
    pub fn is(&self, kind: FaultKind, worker: Option<usize>) -> bool {
        self.fold(kind, worker, false, |_, _| true)
    }

    /// The strongest fault of this kind that is active there; 0 if there is none.
    #[must_use]
    pub fn strength(&self, kind: FaultKind, worker: Option<usize>) -> u64 {
        self.fold(kind, worker, 0, u64::max)
    }

    /// The strongest of them as a percentage.
    #[must_use]
    pub fn percent(&self, kind: FaultKind, worker: Option<usize>) -> u32 {
        u32::try_from(self.strength(kind, worker)).unwrap_or(100)
    }

    /// Whether nothing passes between master and worker in this direction.
    #[must_use]
    pub fn is_cut(&self, worker: usize, to_worker: bool) -> bool {
        let direction = u64::from(!to_worker);
        self.is(FaultKind::Partition, Some(worker))
            || self.fold(
                FaultKind::PartitionOneWay,
                Some(worker),
                false,
                |cut, way| cut || way == direction,
            )
    }

    /// How far the wall clock of the master, or of a worker, is off.
    #[must_use]
    pub fn clock_offset_ms(&self, worker: Option<usize>) -> i64 {
        self.fold(FaultKind::Clock, worker, 0, |sum, strength| {
            sum + (i64::try_from(strength).unwrap_or(0) - 3600) * 1000
        })
    }

    /// Waits until this is so; looks each time that something changes.
    pub async fn wait_until(&self, wanted: impl Fn(&Self) -> bool) {
        self.changes.wait_for(|_| wanted(self).then_some(())).await;
    }

    /// Folds the strengths of what is active of this kind there.
    fn fold<T>(
        &self,
        kind: FaultKind,
        worker: Option<usize>,
        none: T,
        with: impl Fn(T, u64) -> T,
    ) -> T {
        let active = self.active.borrow();
        let of_kind = active
            .iter()
            .filter(|(_, fault)| fault.kind == kind && fault.worker == worker);
        of_kind.fold(none, |sum, (_, fault)| with(sum, fault.strength))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind, worker: Option<usize>, strength: u64) -> Fault {
        Fault {
            kind,
            worker,
            for_ms: 1,
            strength,
        }
    }

    #[test]
    fn faults_hold_where_they_are_and_until_they_end() {
        let conditions = Conditions::default();
        let weak = conditions.begin(fault(FaultKind::Loss, Some(1), 5));
        let strong = conditions.begin(fault(FaultKind::Loss, Some(1), 50));
        assert_eq!(conditions.percent(FaultKind::Loss, Some(1)), 50);
        assert_eq!(conditions.percent(FaultKind::Loss, Some(0)), 0);
        conditions.end(strong);
        assert_eq!(conditions.percent(FaultKind::Loss, Some(1)), 5);
        conditions.end(weak);
        assert!(!conditions.is(FaultKind::Loss, Some(1)));
    }

    #[test]
    fn a_way_may_be_cut_in_one_direction_alone() {
        let conditions = Conditions::default();
        let cut = conditions.begin(fault(FaultKind::PartitionOneWay, Some(2), 1));
        assert!(conditions.is_cut(2, false) && !conditions.is_cut(2, true));
        conditions.end(cut);
        conditions.begin(fault(FaultKind::Partition, Some(2), 0));
        assert!(conditions.is_cut(2, false) && conditions.is_cut(2, true));
        assert!(!conditions.is_cut(1, true));
    }

    #[test]
    fn clocks_that_are_set_twice_are_off_by_both() {
        let conditions = Conditions::default();
        conditions.begin(fault(FaultKind::Clock, None, 3600 + 10));
        conditions.begin(fault(FaultKind::Clock, None, 3600 - 4));
        assert_eq!(conditions.clock_offset_ms(None), 6000);
        assert_eq!(conditions.clock_offset_ms(Some(0)), 0);
    }
}
