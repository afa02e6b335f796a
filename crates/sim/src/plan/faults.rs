//! The kinds of faults, by name.

use serde::{Deserialize, Serialize};

/// Something that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// On which worker, or on the way to it; `None`: on the master.
    pub worker: Option<usize>,
    /// For how long. Nothing outlasts the plan's horizon.
    pub for_ms: u64,
    /// How much of it, where there is more and less: see [`FaultKind`].
    pub strength: u64,
}

macro_rules! fault_kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// What can break.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "kebab-case")]
        pub enum FaultKind { $($(#[doc = $doc])+ $variant),+ }

        impl FaultKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

fault_kinds!(
    /// Messages between master and worker take up to `strength` ms longer.
    Delay = "delay",
    /// So many percent of the messages between master and worker are lost.
    Loss = "loss",
    /// So many percent of the calls between master and worker arrive twice.
    Duplication = "duplication",
    /// Messages overtake each other: some take up to `strength` ms longer.
    Reorder = "reorder",
    /// No message passes between master and worker.
    Partition = "partition",
    /// No message passes from master to worker (strength 0) or from worker to master (1).
    PartitionOneWay = "partition-one-way",
    /// The worker's process is killed; its containers go on.
    WorkerCrash = "worker-crash",
    /// The worker's machine breaks down: containers die, and what was not flushed is lost.
    MachineCrash = "machine-crash",
    /// The worker's machine breaks down and its disk is lost; with strength 0 only the worker's folder.
    DiskLoss = "disk-loss",
    /// A process of master or worker stands still.
    Pause = "pause",
    /// What the worker's engine does takes `strength` times as long.
    Slow = "slow",
    /// The machine's wall clock is off by `strength` seconds, less an hour.
    Clock = "clock",
    /// The worker's engine doesn't answer; its containers go on.
    EngineAway = "engine-away",
    /// The worker's engine is stopped, and takes its containers with it.
    EngineStop = "engine-stop",
    /// So many percent of what the engine is asked for fails.
    EngineErrors = "engine-errors",
    /// Somebody removes the containers that the worker's engine has.
    ContainersLost = "containers-lost",
    /// So many percent of the images that are about to be used have just been removed.
    ImagesRemoved = "images-removed",
    /// The worker's disk refuses what is written.
    DiskErrors = "disk-errors",
    /// The worker comes back smaller: with so many percent of what it offered.
    Smaller = "smaller",
    /// The master's process is killed.
    MasterCrash = "master-crash",
    /// What is handed to the store takes until the end of this.
    StoreStall = "store-stall",
    /// The store refuses so many percent of the batches; some of those it has written all the same.
    StoreFailure = "store-failure",
    /// The master's disk is full: no new task is taken or placed.
    MasterDiskFull = "master-disk-full",
);

/// No fault has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no fault: expected one of {known}", known = names())]
pub struct UnknownFault(String);

fn names() -> String {
    let names: Vec<_> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
    names.join(", ")
}

impl std::str::FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let known = Self::ALL.iter().copied().find(|kind| kind.name() == text);
        known.ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_known_by_its_name_and_says_what_it_is() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
            let words = serde_json::to_string(kind).unwrap();
            assert_eq!(words, format!("{:?}", kind.name()));
            assert!(kind.description().ends_with('.'), "{kind}");
        }
        let error = "rain".parse::<FaultKind>().unwrap_err().to_string();
        assert!(
            error.starts_with("\"rain\" is no fault: expected one of delay, loss"),
            "{error}"
        );
    }
}
