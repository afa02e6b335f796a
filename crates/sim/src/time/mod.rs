//! Simulated time: tasks that wait for it, and what they hand to each other.

mod channel;
mod executor;

pub use channel::{Gone, Inbox, Receiver, Sender, Watch, oneshot};
pub use executor::{First, Process, Sim, Sleep, first};
