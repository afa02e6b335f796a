//! The whole way with the real programs, the real engine and real networks.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod access;
mod cancelling;
mod console;
mod holding;
mod inspecting;
mod keeping;
mod log_exactness;
mod logs_and_files;
mod nonsense;
mod placing;
mod restarts;
mod running;
mod settings;
