//! What a user asked for, checked and complete.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    container::ContainerSpec,
    ids::{UserName, WorkerId},
    image::ImageRef,
    resources::Resources,
    retry::RetryOn,
    status::words,
    time::Wall,
};

/// What runs in the container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Command {
    /// The image's own command.
    #[default]
    Image,
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, as they are.
    Exec(Vec<String>),
}

/// 0 to 100; higher goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// The priority of a task that names none.
    pub const DEFAULT: Self = Self(50);

    /// From 0 to 100; `None` otherwise.
    #[must_use]
    pub fn new(level: i64) -> Option<Self> {
        u8::try_from(level)
            .ok()
            .filter(|level| *level <= 100)
            .map(Self)
    }

    /// The level.
    #[must_use]
    pub fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How many times its estimated run time a task may take from its submit on, in thousandths:
/// 1500 to 2500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlaMultiplier(u16);

impl SlaMultiplier {
    /// The multiplier of a task that names none: 2.0.
    pub const DEFAULT: Self = Self(2000);

    /// From 1.5 to 2.5; `None` otherwise.
    #[must_use]
    pub fn new(factor: f64) -> Option<Self> {
        (1.5..=2.5)
            .contains(&factor)
            .then(|| Self((factor * 1000.0).round() as u16))
    }

    /// As a factor.
    #[must_use]
    pub fn factor(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl Default for SlaMultiplier {
    fn default() -> Self {
        Self::DEFAULT
    }
}

words!(
    /// What kind of work a task is, as its user says.
    TaskType, "task type" {
        /// Little CPU.
        CpuLight = "cpu-light",
        /// Much CPU.
        CpuHeavy = "cpu-heavy",
        /// Much memory.
        MemoryHeavy = "memory-heavy",
        /// Inference on a GPU.
        GpuInference = "gpu-inference",
        /// Training on a GPU.
        GpuTraining = "gpu-training",
        /// Some of each.
        Mixed = "mixed",
    }
);

/// A task as its user wants it. Made by [`crate::TaskDraft::check`].
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    /// Shown to people; may be empty.
    pub name: String,
    /// Whose task it is.
    pub user: UserName,
    /// The image to run.
    pub image: ImageRef,
    /// What to run in it.
    pub command: Command,
    /// What it needs.
    pub resources: Resources,
    /// The only worker it may run on, past the scheduler's choice.
    pub target: Option<WorkerId>,
    /// Environment of the command.
    pub env: BTreeMap<String, String>,
    /// Its place in the queue.
    pub priority: Priority,
    /// When it should be done, as its user set it.
    pub deadline: Option<Wall>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// How long a pull of its image may take.
    pub pull_timeout: Option<Duration>,
    /// How long it may wait before it first runs.
    pub queue_timeout: Option<Duration>,
    /// How long its user thinks it runs.
    pub estimate: Option<Duration>,
    /// How often it is run again after it failed by itself.
    pub max_retries: u32,
    /// After which failures.
    pub retry_on: RetryOn,
    /// Free words to find it by.
    pub labels: BTreeMap<String, String>,
    /// A free word.
    pub tag: String,
    /// What kind of work it is.
    pub task_type: Option<TaskType>,
    /// Makes a deadline of the estimate where none is set.
    pub sla_multiplier: SlaMultiplier,
    /// How its container is set up.
    pub container: ContainerSpec,
    /// Whether it waits until somebody releases it.
    pub hold: bool,
    /// Under which key its user submitted it, so that the same submit is not taken twice.
    pub submit_key: Option<SubmitKey>,
}

/// Names one submit of a user, of one task or of several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubmitKey {
    /// As the user sent it, 1 to 255 printable characters of ASCII.
    pub key: String,
    /// SHA-256 of what was submitted: the same key with something else is refused.
    pub body: [u8; 32],
    /// The task's place in the submit, from 0.
    pub index: u32,
}

impl TaskSpec {
    /// What it asks for that an old node can't be told, so that it must run on a new one.
    #[must_use]
    pub fn beyond_old_nodes(&self) -> Option<&'static str> {
        if !self.env.is_empty() {
            return Some("environment variables");
        }
        if !self.container.is_default() {
            return Some("container settings");
        }
        // They don't say when they pull.
        self.pull_timeout.map(|_| "time-outs of pulls")
    }

    /// The deadline that the user set, or the one that follows from the estimate.
    #[must_use]
    pub fn effective_deadline(&self, submitted_at: Wall) -> Option<Wall> {
        let estimated = || self.estimated_deadline(submitted_at);
        self.deadline.or_else(estimated)
    }

    /// The deadline that follows from the estimate, where the user sets none.
    #[must_use]
    pub fn estimated_deadline(&self, submitted_at: Wall) -> Option<Wall> {
        let estimate = self.estimate?;
        Some(submitted_at.after(estimate.mul_f64(self.sla_multiplier.factor())))
    }
}

impl fmt::Display for Command {
    /// As a person would type it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => Ok(()),
            Self::Shell(line) => f.write_str(line),
            Self::Exec(words) => f.write_str(&words.join(" ")),
        }
    }
}
