//! Doors for `crates/fuzzing` to what reads the journal back. Nothing else goes through them.

pub use crate::journal::fuzzing::{entries, file_of, sample, take_up};
