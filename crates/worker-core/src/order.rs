//! An assignment as the worker needs it: what to run, with what, under which name.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cloudai_model::{AttemptId, ClusterId, Command, ContainerSpec, Grant, ImageRef, UserName};

use crate::input::Labelled;

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose task it is.
    pub user: UserName,
    /// The task's name; may be empty.
    pub name: String,
    /// The image.
    pub image: ImageRef,
    /// What runs in it.
    pub command: Command,
    /// Environment on top of the image's.
    pub env: BTreeMap<String, String>,
    /// How its container is set up.
    pub container: ContainerSpec,
}

/// An assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Task and number.
    pub attempt: AttemptId,
    /// Rises with each assignment to this worker; 0 from an old master, which numbers nothing.
    pub sequence: u64,
    /// The cluster that gives it; labels its container.
    pub cluster: ClusterId,
    /// What it may use.
    pub grant: Grant,
    /// How long it has between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// What to run.
    pub job: Arc<Job>,
}

impl Order {
    /// Whether an old master gave it. One that wants another try of a task gives it once more
    /// under the same name, so that what was answered before says nothing.
    #[must_use]
    pub fn is_of_old_master(&self) -> bool {
        self.sequence == 0
    }

    /// What its container and its volume are labelled with.
    pub(crate) fn labelled(&self) -> Labelled {
        Labelled {
            cluster: self.cluster.clone(),
            attempt: self.attempt.clone(),
        }
    }

    /// Whether the other asks for the same to be run with the same.
    pub(crate) fn is_as_in(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.job == other.job && self.grant == other.grant
    }
}
