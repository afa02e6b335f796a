//! Round-robin over the workers that have room.
//!
//! Whose last task lies furthest back gets the next one. Against a cursor over a list this has the
//! advantage that a worker next to a full one doesn't get the full one's turns.

use super::{Placement, Policy, View};
use crate::class::TaskClass;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobin;

impl Policy for RoundRobin {
    fn name(&self) -> &'static str {
        "round-robin"
    }

    fn description(&self) -> &'static str {
        "each worker with room in turn, the one that waited longest for a task first"
    }

    fn place(&self, class: &TaskClass, view: View<'_>) -> Option<Placement> {
        let (worker, grant) = view.feasible(class).next()?;
        Some(Placement {
            worker: worker.id.clone(),
            grant,
        })
    }
}
