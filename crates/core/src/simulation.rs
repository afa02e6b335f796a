//! What the fault simulation alone does with a core: it turns a safeguard off, to show that it finds
//! the bug that the safeguard is there for, and looks which transitions were taken.
//!
//! Without the feature `simulation` there is no way to turn anything off, and nothing is noted.

/// Safeguards that are turned off: none, but in a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sabotage {
    /// The last word on an attempt counts for whichever attempt of its task is live.
    pub no_fencing: bool,
    /// What is promised of a worker is not counted, so that everything seems to be free.
    pub no_reservation_check: bool,
    /// A heartbeat is a sign of life alone: what it says of attempts is not looked at.
    pub no_reconcile: bool,
    /// An attempt that was cancelled keeps what was promised to it.
    pub no_release_at_cancel: bool,
    /// A user's limits are not looked at when something is placed.
    pub no_user_limits: bool,
    /// A task that is submitted on hold is taken for one that isn't.
    pub no_hold: bool,
    /// Silence counts also while nobody could be heard, because this process stood still.
    pub no_forgiveness: bool,
    /// That a task is cancelled is written down, and its worker is not told.
    pub no_stop_at_cancel: bool,
    /// Nothing is ever timed out.
    pub no_time_outs: bool,
    /// What may take so long is timed out after half of it.
    pub hasty_time_outs: bool,
    /// What a worker offers is what it offered first.
    pub first_offer_counts: bool,
}

impl Sabotage {
    /// How long something may still take.
    pub(crate) fn time_left(self, left: std::time::Duration) -> std::time::Duration {
        match (self.no_time_outs, self.hasty_time_outs) {
            (true, _) => std::time::Duration::MAX,
            (false, true) => left / 2,
            (false, false) => left,
        }
    }
}

#[cfg(feature = "simulation")]
mod taken {
    use std::{cell::RefCell, collections::BTreeSet};

    use super::Sabotage;
    use crate::{
        Core,
        lifecycle::{AttemptEvent, AttemptState},
    };

    thread_local! {
        static TAKEN: RefCell<BTreeSet<(AttemptState, AttemptEvent)>> = RefCell::default();
    }

    /// The transitions of attempts that were taken on this thread since it was last asked.
    #[must_use]
    pub fn transitions_taken() -> BTreeSet<(AttemptState, AttemptEvent)> {
        TAKEN.take()
    }

    pub(crate) fn note(state: AttemptState, event: AttemptEvent) {
        TAKEN.with_borrow_mut(|taken| taken.insert((state, event)));
    }

    impl Core {
        /// Turns safeguards off.
        pub fn sabotage(&mut self, sabotage: Sabotage) {
            self.sabotage = sabotage;
            self.registry.counts_nothing = sabotage.no_reservation_check;
        }
    }
}

#[cfg(feature = "simulation")]
pub(crate) use taken::note;
#[cfg(feature = "simulation")]
pub use taken::transitions_taken;
