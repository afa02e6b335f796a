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
}

impl TaskClass {
    /// The class of a task.
    #[must_use]
    pub fn of(spec: &TaskSpec) -> Self {
        Self {
            resources: spec.resources,
            target: spec.target.clone(),
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
        worker.fit(&self.resources, now)
    }

    /// Everything that stands against a task of this class on this worker now, of what doesn't
    /// change first; nothing: it fits.
    #[must_use]
    pub fn obstacles(&self, worker: &Worker, now: Mono) -> Vec<Obstacle> {
        match &self.target {
            Some(target) if *target != worker.id => vec![Obstacle::NotTarget],
            _ => worker.obstacles(&self.resources, now),
        }
    }
}
