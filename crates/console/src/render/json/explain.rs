//! Why a task waits, or where it stands, in JSON.

use cloudai_core::explain::{Obstacle, Outlook, ResourceKind};
use cloudai_model::WorkerId;
use cloudai_operator::Standing;
use serde::Serialize;

use super::{TaskJson, gb, instant};
use crate::render::explain::outlook;

/// A task; while it waits, its place and what stands against it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StandingJson {
    #[serde(flatten)]
    task: TaskJson,
    assigned_at: Option<String>,
    waiting: Option<WaitingJson>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct WaitingJson {
    position: usize,
    waiting_for: String,
    /// `now`, `later`, `unknown` or `never`.
    outlook: &'static str,
    workers: Vec<VerdictJson>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct VerdictJson {
    worker_id: String,
    outlook: &'static str,
    obstacles: Vec<ObstacleJson>,
}

/// What stands against it; for a resource that is short, by how much, in the contract's units.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct ObstacleJson {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_by: Option<f64>,
    never: bool,
    message: String,
}

impl StandingJson {
    /// Where a task stands.
    #[must_use]
    pub(crate) fn new(standing: &Standing) -> Self {
        match standing {
            Standing::Waiting { entry, workers } => Self {
                task: TaskJson::new(&entry.record, None),
                assigned_at: None,
                waiting: Some(WaitingJson {
                    position: entry.position,
                    waiting_for: entry.why.summary.clone(),
                    outlook: word(entry.why.outlook),
                    workers: workers.iter().map(VerdictJson::new).collect(),
                }),
            },
            Standing::Given { view, assigned_at } => Self {
                task: TaskJson::new(&view.record, view.result.as_ref()).with_removed(&view.removed),
                assigned_at: instant(*assigned_at),
                waiting: None,
            },
        }
    }
}

impl VerdictJson {
    fn new((worker, obstacles): &(WorkerId, Vec<Obstacle>)) -> Self {
        Self {
            worker_id: worker.to_string(),
            outlook: word(outlook(obstacles)),
            obstacles: obstacles.iter().map(ObstacleJson::new).collect(),
        }
    }
}

impl ObstacleJson {
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
                ResourceKind::Cpu => ("cpu", Some(*by as f64 / 1000.0)),
                ResourceKind::Memory => ("memory", Some(gb(*by))),
                ResourceKind::Storage => ("storage", Some(gb(*by))),
                ResourceKind::Gpu => ("gpu", Some(*by as f64 / 1000.0)),
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

fn word(outlook: Outlook) -> &'static str {
    match outlook {
        Outlook::Now => "now",
        Outlook::Later => "later",
        Outlook::Unknown => "unknown",
        Outlook::Never => "never",
    }
}
