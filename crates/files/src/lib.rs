//! Task logs and output files on disk.
//!
//! What a worker or a container names never becomes a path of this machine except through this
//! crate. It knows files, not the network: callers move the bytes, and call it where blocking is
//! allowed, for its I/O is synchronous.

pub mod log;
pub mod output;
pub mod space;
