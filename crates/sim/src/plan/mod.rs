//! A plan: everything that is going to happen in a run, written down before it begins.
//!
//! A plan follows from a seed, can be cut down item by item, and can be kept in a file. What it does
//! not say, such as how long a message takes, follows from the seed and from the thing itself.

mod faults;
mod file;
mod generate;
mod wishes;

use cloudai_model::Capacity;
use serde::{Deserialize, Serialize};

pub use faults::{Fault, FaultKind, UnknownFault};
pub use file::{FileError, read, write};
pub use generate::{Generator, generate};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What chance follows from.
    pub seed: u64,
    /// When the faults end. From then on everything is to come to rest.
    pub horizon_ms: u64,
    /// The workers, by index.
    pub workers: Vec<Offer>,
    /// What happens, by time.
    pub items: Vec<Item>,
}

/// What a worker offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// MB of memory.
    pub memory_mb: u64,
    /// MB of disk.
    pub storage_mb: u64,
    /// Devices.
    pub gpus: u16,
}

impl Offer {
    /// As the model has it.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        Capacity {
            cpu_milli: self.cpu_milli,
            memory_bytes: self.memory_mb << 20,
            storage_bytes: self.storage_mb << 20,
            gpus: self.gpus,
        }
    }
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// When.
    pub at_ms: u64,
    /// What.
    pub what: What,
}

/// What happens. Workers are named by their index, tasks by the number of their submit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A user submits a task.
    Submit(TaskPlan),
    /// A user cancels a task, if its id is known by then.
    Cancel {
        /// Which.
        task: u64,
    },
    /// A user changes a task's time-out.
    Change {
        /// Which.
        task: u64,
        /// To so many seconds, or to none.
        timeout_s: Option<u64>,
    },
    /// A user submits several tasks at once.
    SubmitMany {
        /// Which.
        tasks: Vec<TaskPlan>,
        /// Whether they are on hold.
        hold: bool,
    },
    /// A user puts a task on hold, or releases it.
    Hold {
        /// Which.
        task: u64,
        /// Whether it is on hold from then on.
        hold: bool,
    },
    /// A user changes a task's priority.
    Prioritise {
        /// Which.
        task: u64,
        /// 0 to 100.
        priority: u8,
    },
    /// An admin says what a user may have.
    Limit(LimitPlan),
    /// An agent places a task.
    Place {
        /// Which.
        task: u64,
        /// Where.
        worker: usize,
    },
    /// An admin registers a worker.
    Register {
        /// Which.
        worker: usize,
    },
    /// An admin unregisters a worker.
    Unregister {
        /// Which.
        worker: usize,
    },
    /// An admin drains a worker, or ends that.
    Drain {
        /// Which.
        worker: usize,
        /// Whether it drains from then on.
        draining: bool,
    },
    /// A worker is shut down in order, and started again.
    ShutDown {
        /// Which.
        worker: usize,
        /// Whether it takes its containers with it.
        stop_tasks: bool,
        /// For how long it is gone.
        for_ms: u64,
    },
    /// An admin has what is amiss mended.
    Mend,
    /// Something breaks.
    Fault(Fault),
}

/// What a user may have at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitPlan {
    /// Which user, by number.
    pub user: u64,
    /// Thousandths of a core.
    pub cpu_milli: Option<u64>,
    /// Thousandths of a device.
    pub gpu_milli: Option<u64>,
    /// Tasks that wait.
    pub queued_tasks: Option<u64>,
}

/// A task: what is asked for, and what its containers are going to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPlan {
    /// Its number in the plan.
    pub task: u64,
    /// Whether its user chooses its id, and so can ask again when no answer came.
    pub own_id: bool,
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// MB of memory.
    pub memory_mb: u64,
    /// MB of disk.
    pub storage_mb: u64,
    /// Thousandths of a device: below 1000 a share, else whole ones.
    pub gpu_milli: u64,
    /// The only worker that it may run on.
    pub target: Option<usize>,
    /// 0 to 100.
    pub priority: u8,
    /// How long it may run.
    pub timeout_s: Option<u64>,
    /// How long its pull may take.
    pub pull_timeout_s: Option<u64>,
    /// How long it may wait.
    pub queue_timeout_s: Option<u64>,
    /// How often it is run again.
    pub max_retries: u32,
    /// After which failures, where that is not the usual.
    pub retry_on: Option<String>,
    /// What its containers do.
    pub does: Behaviour,
}

impl Offer {
    /// Whether a task fits there when nothing else is there.
    #[must_use]
    pub fn has_room_for(&self, task: &TaskPlan) -> bool {
        task.cpu_milli <= self.cpu_milli
            && task.memory_mb <= self.memory_mb
            && task.storage_mb <= self.storage_mb
            && task.gpu_milli.div_ceil(1000) <= u64::from(self.gpus)
    }
}

/// What a task's containers do, whichever attempt and worker they are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behaviour {
    /// How long the pull of its image takes where it is not there yet.
    pub pull_ms: u64,
    /// Whether no registry has its image.
    pub unknown_image: bool,
    /// How long its command runs.
    pub run_ms: u64,
    /// So many attempts fail, and the next ends with exit code 0.
    pub failing_attempts: u32,
    /// How those end.
    pub failure: End,
    /// Whether its command takes no notice of SIGTERM.
    pub ignores_stop: bool,
    /// Whether its command can't be started.
    pub no_command: bool,
    /// Whether it leaves files.
    pub leaves_files: bool,
    /// When it takes more disk than it was given, if it does.
    pub overflows_after_ms: Option<u64>,
}

/// A command that runs for so long is waited for by nobody.
pub(crate) const ENDLESS_MS: u64 = 10 * 24 * 3600 * 1000;

impl Default for Behaviour {
    /// A command that takes a second and ends with exit code 0.
    fn default() -> Self {
        Self {
            pull_ms: 0,
            unknown_image: false,
            run_ms: 1000,
            failing_attempts: 0,
            failure: End::Code(1),
            ignores_stop: false,
            no_command: false,
            leaves_files: false,
            overflows_after_ms: None,
        }
    }
}

impl Behaviour {
    /// Whether its command never ends by itself: only a stop ends it.
    #[must_use]
    pub fn is_endless(&self) -> bool {
        self.run_ms >= ENDLESS_MS
    }
}

/// How a command ends that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// With this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
    /// At its memory limit.
    OutOfMemory,
}

impl Plan {
    /// The tasks of the plan.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskPlan> {
        self.items.iter().flat_map(|item| match &item.what {
            What::Submit(task) => std::slice::from_ref(task),
            What::SubmitMany { tasks, .. } => tasks,
            _ => &[],
        })
    }

    /// So many users there are.
    pub const USERS: u64 = 3;

    /// The name of a user.
    #[must_use]
    pub fn user_name(number: u64) -> String {
        format!("u{number}")
    }

    /// Whose task it is.
    #[must_use]
    pub fn user_of(task: u64) -> String {
        Self::user_name(task % Self::USERS)
    }

    /// Whether each task fits on one of the workers, and on the one that it names.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.tasks().all(|task| match task.target {
            Some(index) => {
                let target = self.workers.get(index);
                target.is_some_and(|offer| offer.has_room_for(task))
            }
            None => self.workers.iter().any(|offer| offer.has_room_for(task)),
        })
    }

    /// The name of a worker.
    #[must_use]
    pub fn worker_name(index: usize) -> String {
        format!("w{index}")
    }

    /// The worker with this name.
    #[must_use]
    pub fn worker_index(name: &str) -> Option<usize> {
        name.strip_prefix('w')?.parse().ok()
    }

    /// The same plan with only these items.
    #[must_use]
    pub fn with_items(&self, items: Vec<Item>) -> Self {
        Self {
            items,
            ..self.clone()
        }
    }
}
