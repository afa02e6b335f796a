//! What can be set about the core.

use std::time::Duration;

use cloudai_model::Capacity;

/// What can be set about the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What this worker offers.
    pub capacity: Capacity,
    /// How long it is remembered what was answered about an attempt that is not held.
    pub memory: Duration,
    /// How often a pull, a create, a start or a removal that may yet succeed is tried.
    pub engine_tries: u32,
    /// How long a container that no record knows is left alone.
    pub orphan_grace: Duration,
    /// How long an old master has to refuse a result before that is taken to be for good.
    pub result_patience: Duration,
    /// The same for files, which hold up the result meanwhile.
    pub files_patience: Duration,
}

impl Settings {
    /// The defaults, for a worker that offers this much.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            memory: Duration::from_secs(3600),
            engine_tries: 6,
            orphan_grace: Duration::from_secs(120),
            result_patience: Duration::from_secs(3600),
            files_patience: Duration::from_secs(600),
        }
    }
}
