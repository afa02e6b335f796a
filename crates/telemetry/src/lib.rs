//! What this machine has, and what of it is in use: CPU, memory, disk and disk I/O.
//!
//! Figures come from the kernel (`/proc`, `/sys`, `statvfs`); Linux only. No clock is read here:
//! the caller says when a sample is taken. What containers use is the engine's to say, not this.

mod boot;
mod cgroup;
mod cpu;
mod detect;
mod disk;
mod memory;
mod sampler;

pub use boot::boot_id;
pub use detect::{DetectError, detect};
pub use disk::Space;
pub use sampler::{SampleError, Sampler};
