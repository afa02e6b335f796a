//! The words of CloudAI as types: ids, resources, specs, phases, outcomes and stored records.
//!
//! Values here are valid by construction: text from outside is parsed once, at the edge, into one
//! of these types. Nothing here does I/O, reads a clock or knows another crate of the project.

pub mod account;
pub mod attempt;
pub mod change;
pub mod container;
pub mod degraded;
pub mod draft;
pub mod ids;
pub mod image;
pub mod old_node;
pub mod record;
pub mod resources;
pub mod retry;
pub mod rfc3339;
pub mod spec;
pub mod status;
pub mod time;
pub mod worker;

pub use account::{AccountState, KeyScope, Role, UserLimits};
pub use attempt::{AttemptId, AttemptReport, ContainerEnd, Exit, PeakUsage, Whole};
pub use change::{ChangeDraft, Setting, TaskChange};
pub use container::{ContainerDraft, ContainerSpec, allowed::Allowed};
pub use degraded::Degraded;
pub use draft::{DraftErrors, FieldError, TaskDraft};
pub use ids::{ClusterId, IdError, TaskId, UserName, WorkerId};
pub use image::{ImageRef, ImageRefError};
pub use resources::{Capacity, DeviceShare, GpuRequest, Grant, ResourceError, Resources};
pub use retry::{Failure, FailureKind, RetryOn, RetryOnError, TimeOut};
pub use spec::{Command, Priority, SlaMultiplier, SubmitKey, TaskSpec, TaskType};
pub use status::{Phase, TaskStatus, WorkerStatus};
pub use time::{Mono, Now, Wall};
pub use worker::{HostUsage, WorkerAddress};
