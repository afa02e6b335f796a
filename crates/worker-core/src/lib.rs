//! The worker's core: which attempts a worker holds, and what it owes its master.
//!
//! One synchronous state machine: [`WorkerCore::step`] takes an [`Input`] and appends the
//! [`Effect`]s that follow from it. It does no I/O, reads no clock and makes nothing up; the shell
//! around it wraps the Docker Engine, the disk and the wire.
//!
//! Invariants, each with a test that tries to break it:
//!
//! - An acceptance is answered only after its record is on disk, and what was accepted is reported
//!   until the master has acknowledged it; then never again.
//! - An attempt that was seen before is answered as before, and never run twice.
//! - No more is promised than the capacity, in any resource, on any single device.
//! - An attempt whose cancel was answered never starts afterwards, also after a restart.

mod answer;
mod attempt;
mod core;
mod effect;
mod handlers;
mod input;
mod lifecycle;
mod memory;
mod order;
mod record;
mod room;
mod settings;
pub mod simulation;

pub use answer::{Answer, AssignAnswer, CancelAnswer, Refusal};
pub use attempt::HeldAttempt;
pub use core::WorkerCore;
pub use effect::{Effect, Report};
pub use input::{
    Blame, Call, Delivery, Failure, Found, Input, Labelled, Outcome, PulledImage, SealedLog,
    SentFiles, StopTarget,
};
pub use lifecycle::{AttemptEvent, AttemptState, TRANSITIONS};
pub use order::{Job, Order};
pub use record::{EndRecord, HostRun, SpoolRecord, StopCause};
pub use room::Shortage;
pub use settings::Settings;
