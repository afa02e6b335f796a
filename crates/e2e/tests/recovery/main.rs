//! What survives what: real processes and containers, killed, stopped and damaged at any instant.
//! `docs/recovery.md` is the table of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod clock;
mod damage;
mod engine;
mod master_killed;
mod silence;
mod task;
mod worker_killed;
