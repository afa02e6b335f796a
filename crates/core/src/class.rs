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
    /// What it asks for that old nodes can't be told.
    pub beyond_old_nodes: Option<&'static str>,
}

impl TaskClass {
    /// The class of a task.
    #[must_use]
    pub fn of(spec: &TaskSpec) -> Self {
        Self {
            resources: spec.resources,
            target: spec.target.clone(),
            beyond_old_nodes: spec.beyond_old_nodes(),
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
        if let Some(what) = self.beyond_old_nodes.filter(|_| worker.is_old_node()) {
            return Err(Obstacle::OldNode(what));
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
                let beyond = self.beyond_old_nodes.filter(|_| worker.is_old_node());
                let old = beyond.map(Obstacle::OldNode);
                let others = worker.obstacles(&self.resources, now);
                old.into_iter().chain(others).collect()
            }
        }
    }
}
