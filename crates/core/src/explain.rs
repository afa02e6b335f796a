//! Why a task waits, as data: what stands against it on each worker, and by how much.
//!
//! Asked of the same functions that place tasks, so that the answer is what a pass would find.

use std::{collections::BTreeMap, fmt};

use cloudai_model::{Mono, Resources, WorkerId, resources::bytes_to_gb};

use crate::{class::TaskClass, registry::Worker, users::LimitReached};

/// What a task on hold waits for.
pub const ON_HOLD: &str = "on hold";

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// In milli-cores.
    Cpu,
    /// In bytes.
    Memory,
    /// In bytes.
    Storage,
    /// In milli-GPUs.
    Gpu,
}

impl ResourceKind {
    /// An amount of it for people: `1.5 cores`, `2.0 GB`.
    #[must_use]
    pub fn amount(self, amount: u64) -> String {
        match self {
            Self::Cpu if amount == 1000 => "1 core".to_owned(),
            Self::Cpu => format!("{} cores", amount as f64 / 1000.0),
            Self::Memory | Self::Storage => format!("{:.1} GB", bytes_to_gb(amount)),
            Self::Gpu if amount > 1000 => format!("{} GPUs", amount as f64 / 1000.0),
            Self::Gpu => format!("{} GPU", amount as f64 / 1000.0),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Gpu => "GPU",
        }
    }

    fn of(self, request: &Resources) -> u64 {
        match self {
            Self::Cpu => request.cpu_milli,
            Self::Memory => request.memory_bytes,
            Self::Storage => request.storage_bytes,
            Self::Gpu => u64::from(request.gpu.milli()),
        }
    }
}

/// What stands against a task on one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The task must run on another worker.
    NotTarget,
    /// The worker is an old node and can't be told what the task asks for.
    OldNode(&'static str),
    /// The worker was never seen: what it offers is not known.
    NeverSeen,
    /// It is silent.
    Inactive,
    /// An admin wants it to be given nothing new.
    Draining,
    /// It says that it takes nothing new, and why.
    Unwell(String),
    /// It refused or was not reached lately, and is left alone for a moment.
    HeldOff(String),
    /// Tasks fail there in a row: it is given none for a while.
    SetAside(String),
    /// It hasn't enough free.
    Short {
        /// Of what.
        kind: ResourceKind,
        /// How much is missing, in the kind's unit.
        by: u64,
        /// Whether it would be short with nothing running, too.
        never: bool,
    },
}

impl Obstacle {
    /// The resource that is short, if that is what it is.
    #[must_use]
    pub fn kind(&self) -> Option<ResourceKind> {
        match self {
            Self::Short { kind, .. } => Some(*kind),
            _ => None,
        }
    }

    /// Whether it stays, whatever ends or comes back.
    #[must_use]
    pub fn is_for_ever(&self) -> bool {
        matches!(
            self,
            Self::NotTarget | Self::OldNode(_) | Self::Short { never: true, .. }
        )
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTarget => f.write_str("the task is for another worker"),
            Self::OldNode(what) => write!(f, "an old node, which knows no {what}"),
            Self::NeverSeen => f.write_str("never seen, its capacity is not known"),
            Self::Inactive => f.write_str("inactive"),
            Self::Draining => f.write_str("draining"),
            Self::Unwell(reason) => write!(f, "takes nothing new: {reason}"),
            Self::HeldOff(reason) => write!(f, "left alone for a moment: {reason}"),
            Self::SetAside(reason) => write!(f, "set aside for a while: {reason}"),
            Self::Short { kind, by, never } => {
                let more = if *never { ", even when idle" } else { "" };
                match kind {
                    ResourceKind::Gpu => write!(f, "{} short{more}", kind.amount(*by)),
                    _ => write!(f, "{} short by {}{more}", kind.word(), kind.amount(*by)),
                }
            }
        }
    }
}

/// What a worker says to a task class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which worker.
    pub worker: WorkerId,
    /// What stands against it; `None`: it could start there now.
    pub obstacle: Option<Obstacle>,
}

/// Whether and when a class can be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Some worker has room now.
    Now,
    /// Some worker would have room if less ran there, or were well.
    Later,
    /// No worker that is known has room, but some were never seen.
    Unknown,
    /// No registered worker could ever hold it.
    Never,
}

/// The answer to "why is it waiting".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether and when.
    pub outlook: Outlook,
    /// Worker by worker, in order of id.
    pub verdicts: Vec<Verdict>,
    /// The user's limit that stands against it, whatever workers say.
    pub limit: Option<LimitReached>,
    /// In one line.
    pub summary: String,
}

impl Explanation {
    /// Of a task that waits until somebody releases it.
    #[must_use]
    pub fn on_hold() -> Self {
        Self {
            outlook: Outlook::Later,
            verdicts: Vec::new(),
            limit: None,
            summary: ON_HOLD.to_owned(),
        }
    }

    /// The same for a user who is at a limit.
    #[must_use]
    pub fn limited(mut self, limit: LimitReached) -> Self {
        self.summary = match self.outlook {
            Outlook::Now => limit.to_string(),
            Outlook::Later | Outlook::Unknown | Outlook::Never => {
                format!("{limit}; {}", self.summary)
            }
        };
        if limit.is_for_ever() {
            self.outlook = Outlook::Never;
        } else if self.outlook == Outlook::Now {
            self.outlook = Outlook::Later;
        }
        self.limit = Some(limit);
        self
    }

    /// The same while nothing is placed at all, whatever there is room for.
    #[must_use]
    pub fn held_up(mut self, why: &str) -> Self {
        if self.outlook == Outlook::Now {
            self.outlook = Outlook::Later;
        }
        self.summary = why.to_owned();
        self
    }
}

/// Explains why tasks of this class wait, against the workers as they are.
pub fn explain<'a>(
    class: &TaskClass,
    workers: impl IntoIterator<Item = &'a Worker>,
    now: Mono,
) -> Explanation {
    let verdicts: Vec<_> = workers
        .into_iter()
        .map(|worker| Verdict {
            worker: worker.id.clone(),
            obstacle: class.fit(worker, now).err(),
        })
        .collect();
    let outlook = outlook(&verdicts);
    let summary = summary(class, &verdicts, outlook);
    Explanation {
        outlook,
        verdicts,
        limit: None,
        summary,
    }
}

fn outlook(verdicts: &[Verdict]) -> Outlook {
    let mut outlook = Outlook::Never;
    for verdict in verdicts {
        match &verdict.obstacle {
            None => return Outlook::Now,
            Some(obstacle) if obstacle.is_for_ever() => {}
            Some(Obstacle::NeverSeen) if outlook == Outlook::Never => outlook = Outlook::Unknown,
            Some(Obstacle::NeverSeen) => {}
            Some(_) => outlook = Outlook::Later,
        }
    }
    outlook
}

fn summary(class: &TaskClass, verdicts: &[Verdict], outlook: Outlook) -> String {
    if outlook == Outlook::Now {
        return "it can start now".to_owned();
    }
    if let Some(target) = &class.target {
        let verdict = verdicts.iter().find(|verdict| verdict.worker == *target);
        return match verdict.and_then(|verdict| verdict.obstacle.as_ref()) {
            Some(obstacle) => format!("{target}: {obstacle}"),
            None => format!("worker {target} is not registered"),
        };
    }
    if verdicts.is_empty() {
        return "no worker is registered".to_owned();
    }
    if verdicts
        .iter()
        .all(|verdict| verdict.obstacle == Some(Obstacle::Inactive))
    {
        return "no worker is active".to_owned();
    }
    if outlook == Outlook::Never
        && let Some(kind) = one_kind_never(verdicts)
    {
        return format!("no worker with {}", wanted(kind, &class.resources));
    }
    grouped(verdicts)
}

/// The kind of resource that is short for ever on every worker, if it is one.
fn one_kind_never(verdicts: &[Verdict]) -> Option<ResourceKind> {
    let mut kinds = verdicts.iter().map(|verdict| match &verdict.obstacle {
        Some(Obstacle::Short {
            kind, never: true, ..
        }) => Some(*kind),
        _ => None,
    });
    let first = kinds.next()??;
    kinds.all(|kind| kind == Some(first)).then_some(first)
}

fn wanted(kind: ResourceKind, request: &Resources) -> String {
    match kind {
        ResourceKind::Memory | ResourceKind::Storage => {
            format!("{} of {}", kind.amount(kind.of(request)), kind.word())
        }
        _ => kind.amount(kind.of(request)),
    }
}

/// More workers than these with one obstacle are counted, not named.
const MOST_NAMED: usize = 3;

/// `12 workers: CPU short by 1 core; gpu-1, gpu-2: inactive`.
fn grouped(verdicts: &[Verdict]) -> String {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for verdict in verdicts {
        if let Some(obstacle) = &verdict.obstacle {
            let group = groups.entry(obstacle.to_string()).or_default();
            group.push(verdict.worker.as_str());
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, workers)| std::cmp::Reverse(workers.len()));
    let words = groups.into_iter().map(|(text, workers)| {
        if workers.len() > MOST_NAMED {
            format!("{} workers: {text}", workers.len())
        } else {
            format!("{}: {text}", workers.join(", "))
        }
    });
    words.collect::<Vec<_>>().join("; ")
}
