//! What a worker does where things go wrong: real registries, real limits, engines that are far
//! away or gone, with the real programs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod ending;
mod engine_disk;
mod engines;
mod full_disk;
mod images;
mod limits;
mod orphans;
mod outputs;
mod pulls;
mod volumes;
