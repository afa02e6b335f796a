//! What a master counts, in the form that Prometheus reads, and a history of what its workers use.
//!
//! Nothing here serves or waits. Counting follows what the core decides ([`Tally`]), not the news
//! that listeners may lose. Every family is named in [`catalogue`], and no label of any has values
//! that users choose.

pub mod catalogue;
pub mod history;
mod http;
mod metrics;
mod state;
mod tally;

pub use self::{
    http::{Dropped, HttpMetrics, StreamKind},
    metrics::{AssignmentRefused, CONTENT_TYPE, Metrics, SubmitRefused},
    state::{DiskState, State},
    tally::Tally,
};
