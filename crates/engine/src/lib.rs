//! The Docker Engine as CloudAI uses it: images, one container an attempt, its log and its end.
//!
//! Every answer of the engine becomes a value of ours here, and every failure an error that tells
//! a user what to do. Nothing is decided here (what to run, when to stop, what to keep) and
//! nothing is remembered: whoever asks after a restart gets the same answers. A call takes no
//! lock, so that many tasks go side by side.
//!
//! It works with engines from 20.10 (API 1.41) on, and with both cgroup versions.

mod about;
mod asked;
mod connect;
mod container;
mod credentials;
mod end;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod image;
mod logs;
mod memory_kill;
mod plan;
mod pull_error;
mod pull_progress;
mod usage;
mod volume;

pub use about::{EngineInfo, Lack};
pub use connect::{ConnectError, DEFAULT_HOST, Engine};
pub use container::{
    CreateError, Created, HeldContainer, HeldState, Sight, StartError, Stopped, WaitError,
};
pub use credentials::{CredentialError, CredentialStore, Credentials};
pub use end::{ContainerState, RawEnd, StopCause, end_of};
pub use error::EngineError;
pub use image::{ImageId, ImageInfo, ImageRemoval, ListedImage};
pub use logs::{LogError, LogPiece, LogPieces, LogPosition, LogStream};
pub use plan::{ContainerId, ContainerPlan, ContainerSettings, labels};
pub use pull_error::PullError;
pub use pull_progress::{LayerStep, PullProgress};
pub use usage::Usage;
