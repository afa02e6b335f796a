//! Placement policies: one small file each behind one trait.
//!
//! A policy chooses; the core checks the choice against the registry and reserves. A policy is
//! pure: the same class and view give the same choice.

mod round_robin;

use cloudai_model::{Grant, Mono, WorkerId};

pub use round_robin::RoundRobin;

use crate::{
    class::TaskClass,
    registry::{Registry, Worker},
};

/// Where a task shall run, and with which devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The worker.
    pub worker: WorkerId,
    /// What it gets there.
    pub grant: Grant,
}

/// The workers as a policy sees them.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    registry: &'a Registry,
    now: Mono,
}

impl<'a> View<'a> {
    pub(crate) fn new(registry: &'a Registry, now: Mono) -> Self {
        Self { registry, now }
    }

    /// Workers that have room for the class now, the one that waited longest for a task first.
    pub fn feasible(&self, class: &'a TaskClass) -> impl Iterator<Item = (&'a Worker, Grant)> {
        let now = self.now;
        let target = class.target.as_ref().map(|id| self.registry.get(id));
        let all = target.is_none().then(|| self.registry.by_turn());
        all.into_iter()
            .flatten()
            .chain(target.flatten())
            .filter_map(move |worker| Some((worker, class.fit(worker, now).ok()?)))
    }
}

/// Chooses a worker for a task.
pub trait Policy: Send {
    /// Its name, as in `-scheduler`.
    fn name(&self) -> &'static str;

    /// What it does, in a sentence.
    fn description(&self) -> &'static str;

    /// Where a task of this class shall run now; `None` if nowhere.
    fn place(&self, class: &TaskClass, view: View<'_>) -> Option<Placement>;
}

/// No policy has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scheduler {0:?} is not known: expected one of {known}", known = NAMES.join(", "))]
pub struct UnknownPolicy(String);

/// The names of all policies.
pub const NAMES: &[&str] = &["round-robin"];

/// The policy with this name.
///
/// # Errors
/// If there is none; the message lists those that are there.
pub fn by_name(name: &str) -> Result<Box<dyn Policy>, UnknownPolicy> {
    match name {
        "round-robin" => Ok(Box::new(RoundRobin)),
        _ => Err(UnknownPolicy(name.to_owned())),
    }
}
