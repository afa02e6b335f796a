//! What the fault simulation alone does with a core: it turns a safeguard off, to show that it finds
//! the bug that the safeguard is there for, and looks which transitions were taken.
//!
//! Without the feature `simulation` there is no way to turn anything off, and nothing is noted.

/// Safeguards that are turned off: none, but in a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sabotage {
    /// An assignment that comes again is taken for a new one.
    pub no_deduplication: bool,
    /// Containers are swept away whether or not an attempt that is held has them.
    pub sweeps_all: bool,
}

#[cfg(feature = "simulation")]
mod taken {
    use std::{cell::RefCell, collections::BTreeSet};

    use super::Sabotage;
    use crate::{AttemptEvent, AttemptState, WorkerCore};

    thread_local! {
        static TAKEN: RefCell<BTreeSet<(AttemptState, AttemptEvent)>> = RefCell::default();
    }

    /// The transitions that were taken on this thread since it was last asked.
    #[must_use]
    pub fn transitions_taken() -> BTreeSet<(AttemptState, AttemptEvent)> {
        TAKEN.take()
    }

    pub(crate) fn note(state: AttemptState, event: AttemptEvent) {
        TAKEN.with_borrow_mut(|taken| taken.insert((state, event)));
    }

    impl WorkerCore {
        /// Turns safeguards off.
        pub fn sabotage(&mut self, sabotage: Sabotage) {
            self.sabotage = sabotage;
        }
    }
}

#[cfg(feature = "simulation")]
pub(crate) use taken::note;
#[cfg(feature = "simulation")]
pub use taken::transitions_taken;
