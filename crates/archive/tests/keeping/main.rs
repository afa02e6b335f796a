//! Stores, logs and files as a master leaves them on disk: checked, copied, backed up, restored.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod backing_up;
mod checking;
mod copying;
mod master;
