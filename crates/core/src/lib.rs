//! The master's core: the one synchronous state machine that decides.
//!
//! ```text
//! core.step(now, input, &mut effects)
//! ```
//!
//! Inputs are everything that happens: submits, heartbeats, answers, stored records after a start,
//! ticks. Effects are plain values: records to write, calls to make, answers, news. There is no
//! I/O here, no clock, no randomness, no thread and no lock; the same inputs at the same times give
//! the same effects. Live traffic, recovery and simulation go through the same `step`.

mod answer;
mod blocked;
mod class;
mod core;
mod effect;
mod ended;
pub mod explain;
mod handlers;
mod input;
pub mod inspect;
pub mod lifecycle;
pub mod policy;
mod queue;
pub mod registry;
mod schedule;
mod settings;
pub mod simulation;
mod snapshot;
mod stop_orders;
mod suspicion;
mod task;
mod timers;
pub mod users;
mod verdict;

pub use answer::{
    AddWorkerError, Answer, BatchRefused, CancelError, CancelOutcome, ChangeError, ChangeOutcome,
    DrainError, HeartbeatTaken, NotReady, PlaceError, RemoveWorkerError, Reported, SubmitError,
    SubmitManyError, Submitted, Taken, WaitCause, Waiting, Welcome, WorkerCallError,
};
pub use class::TaskClass;
pub use core::Core;
pub use effect::{Assignment, Effect, Event, StopRequest, TaskNews, WorkerChange};
pub use input::{AssignAnswer, Call, Heartbeat, Held, Hello, Input, Retired, StopAnswer, Which};
pub use settings::Settings;
pub use snapshot::Snapshot;
pub use stop_orders::FormerRegistrations;
pub use users::{LimitReached, Used, Users};
