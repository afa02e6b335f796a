//! A cluster of real processes for tests: real programs, real engine, real sockets.
//!
//! It drives the programs as their users do, through stdin, flags, gRPC and HTTP, and never looks
//! inside. Whatever it starts it ends, also when a test fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "this is for tests"
)]

pub mod chaos;
pub mod client;
pub mod cluster;
pub mod engine;
pub mod measuring;
pub mod namespace;
pub mod old_nodes;
pub mod own_engine;
pub mod process;
pub mod programs;
pub mod pty;
pub mod registry;
pub mod relay;
pub mod root;
pub mod small_disk;
pub mod wait;
pub mod wall_clock;
pub mod web;
