//! The wire: code generated from `proto/`, and what its messages mean in the words of the model.
//!
//! Outside this crate a message is never opened: it is read into one of the types here, or made
//! from one. Old nodes, which know only the fields below 100, are dealt with here as well.
//! No connection, server or clock lives here.

pub mod agent_view;
pub mod answer;
pub mod cancel;
pub mod completion;
pub mod error;
pub mod exit;
pub mod heartbeat;
pub mod hello;
pub mod log;
pub mod master_contact;
pub mod order;
pub mod progress;
pub mod submit;
pub mod upload;
pub mod worker_view;

mod field;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod contract;

pub use agent_view::{AgentWorker, Placement, WaitingTask};
pub use answer::{
    CancelAnswer, HeartbeatTaken, OrderTaken, Refused, Registered, ReportAnswer, Submitted,
    UploadAnswer,
};
pub use cancel::CancelRequest;
pub use completion::{Completion, OldResult};
pub use error::WireError;
pub use heartbeat::{HeartbeatReport, Held};
pub use hello::WorkerHello;
pub use log::{LogMessage, LogPiece, LogRequest, OutputStream};
pub use master_contact::MasterContact;
pub use order::Order;
pub use progress::Progress;
pub use upload::{FileDigest, UploadChunk};
pub use worker_view::{Allocated, WorkerEntry};

/// Messages and services of `master_worker.proto`.
pub mod cluster {
    #![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("cluster");
}

/// Messages and service of `master_agent.proto`.
pub mod agent {
    #![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("agent");
}

/// Both files as an encoded `FileDescriptorSet`, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
