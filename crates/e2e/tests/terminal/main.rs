//! The master's console as a person uses it: the real programs on a pseudo-terminal.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod completing;
mod desk;
mod editing;
mod leaving;
mod live;
mod looks;
mod transcript;
