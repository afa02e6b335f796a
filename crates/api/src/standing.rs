//! Why a task waits, or where it stands.

use cloudai_core::explain::{Obstacle, Outlook, ResourceKind};
use cloudai_model::WorkerId;
use serde::Serialize;
use utoipa::{ToSchema, openapi::Object};

use crate::{
    Task,
    figures::{Time, gb, of_milli, words},
};

/// A task; while it waits, its place and what stands against it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Standing {
    /// The task.
    #[serde(flatten)]
    task: Task,
    /// When its last attempt was sent; null if it never had one.
    assigned_at: Option<Time>,
    /// Null if it doesn't wait.
    waiting: Option<Waiting>,
}

/// Why a task waits.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Waiting {
    /// Its place, from 1.
    position: usize,
    /// Why it waits, in one sentence.
    waiting_for: String,
    /// Whether and when it can be placed.
    #[schema(schema_with = outlook_schema)]
    outlook: &'static str,
    /// What stands against it on each worker.
    workers: Vec<Verdict>,
}

/// What a worker says to a task.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Verdict {
    /// The worker.
    worker_id: String,
    /// Whether it will ever hold the task.
    #[schema(schema_with = outlook_schema)]
    outlook: &'static str,
    /// Everything that stands against it; empty: it fits.
    obstacles: Vec<ObstacleView>,
}

/// What stands against a task; for a resource that is short, by how much, in the contract's units.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct ObstacleView {
    /// What kind of obstacle.
    #[schema(example = "cpu")]
    kind: &'static str,
    /// How much is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    short_by: Option<f64>,
    /// Whether it stays, whatever ends or comes back.
    never: bool,
    /// The same in words.
    message: String,
}

fn outlook_schema() -> Object {
    words(["now", "later", "unknown", "never"]).into()
}

impl From<&cloudai_operator::Standing> for Standing {
    fn from(standing: &cloudai_operator::Standing) -> Self {
        use cloudai_operator::Standing as Stands;
        match standing {
            Stands::Waiting { entry, workers } => Self {
                task: Task::new(&entry.record, None),
                assigned_at: None,
                waiting: Some(Waiting {
                    position: entry.position,
                    waiting_for: entry.why.summary.clone(),
                    outlook: word(entry.why.outlook),
                    workers: workers.iter().map(Verdict::new).collect(),
                }),
            },
            Stands::Given { view, assigned_at } => Self {
                task: Task::new(&view.record, view.result.as_ref()).with_removed(&view.removed),
                assigned_at: Time::of(*assigned_at),
                waiting: None,
            },
        }
    }
}

impl Verdict {
    fn new((worker, obstacles): &(WorkerId, Vec<Obstacle>)) -> Self {
        Self {
            worker_id: worker.to_string(),
            outlook: word(outlook(obstacles)),
            obstacles: obstacles.iter().map(ObstacleView::new).collect(),
        }
    }
}

impl ObstacleView {
    fn new(obstacle: &Obstacle) -> Self {
        let (kind, short_by) = match obstacle {
            Obstacle::NotTarget => ("not-target", None),
            Obstacle::OldNode(_) => ("old-node", None),
            Obstacle::NeverSeen => ("never-seen", None),
            Obstacle::Inactive => ("inactive", None),
            Obstacle::Draining => ("draining", None),
            Obstacle::Unwell(_) => ("unwell", None),
            Obstacle::HeldOff(_) => ("held-off", None),
            Obstacle::SetAside(_) => ("set-aside", None),
            Obstacle::Short { kind, by, .. } => match kind {
                ResourceKind::Cpu => ("cpu", Some(of_milli(*by))),
                ResourceKind::Memory => ("memory", Some(gb(*by))),
                ResourceKind::Storage => ("storage", Some(gb(*by))),
                ResourceKind::Gpu => ("gpu", Some(of_milli(*by))),
            },
        };
        Self {
            kind,
            short_by,
            never: obstacle.is_for_ever(),
            message: obstacle.to_string(),
        }
    }
}

/// Whether one worker will ever hold the task.
#[must_use]
pub fn outlook(obstacles: &[Obstacle]) -> Outlook {
    if obstacles.is_empty() {
        Outlook::Now
    } else if obstacles.iter().any(Obstacle::is_for_ever) {
        Outlook::Never
    } else if obstacles.contains(&Obstacle::NeverSeen) {
        Outlook::Unknown
    } else {
        Outlook::Later
    }
}

fn word(outlook: Outlook) -> &'static str {
    match outlook {
        Outlook::Now => "now",
        Outlook::Later => "later",
        Outlook::Unknown => "unknown",
        Outlook::Never => "never",
    }
}
