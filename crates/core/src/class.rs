//! What placement looks at: tasks that it can't tell apart are one class.

use cloudai_model::{Grant, Mono, Resources, TaskSpec, WorkerId};

use crate::{explain::Obstacle, registry::Worker};

/// Everything about a task that decides where it may run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskClass {
    /// What it needs.
    pub resources: Resources,
    /// The only worker it may run on.
    pub target: Option<WorkerId>,
    /// Whether its container needs settings. Old nodes don't read them and would run it without.
    pub has_settings: bool,
}

impl TaskClass {
    /// The class of a task.
    #[must_use]
    pub fn of(spec: &TaskSpec) -> Self {
        Self {
            resources: spec.resources,
            target: spec.target.clone(),
            has_settings: !spec.container.is_default(),
        }
    }

    /// What a task of this class would get on this worker now.
    ///
    /// # Errors
    /// The first thing that stands against it.
    pub fn fit(&self, worker: &Worker, now: Mono) -> Result<Grant, Obstacle> {
        if self
            .target
            .as_ref()
            .is_some_and(|target| *target != worker.id)
        {
            return Err(Obstacle::NotTarget);
        }
        if self.has_settings && worker.is_old_node() {
            return Err(Obstacle::OldNode);
        }
        worker.fit(&self.resources, now)
    }

    /// Everything that stands against a task of this class on this worker now, of what doesn't
    /// change first; nothing: it fits.
    #[must_use]
    pub fn obstacles(&self, worker: &Worker, now: Mono) -> Vec<Obstacle> {
        match &self.target {
            Some(target) if *target != worker.id => vec![Obstacle::NotTarget],
            _ => {
                let old = (self.has_settings && worker.is_old_node()).then_some(Obstacle::OldNode);
                let others = worker.obstacles(&self.resources, now);
                old.into_iter().chain(others).collect()
            }
        }
    }
}
