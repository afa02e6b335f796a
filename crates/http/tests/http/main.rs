//! The server as clients meet it: real connections, real accounts, over a fake master
//! (`support/master.rs`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod accounts;
mod arrivals;
mod bounds;
mod document;
mod files;
mod frame;
mod logs;
mod safety;
mod sockets;
mod support;
mod tasks;
mod telemetry;
mod tls;
mod workers;
