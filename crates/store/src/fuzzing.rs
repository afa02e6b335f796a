//! Doors for `crates/fuzzing` to what reads the journal back, and where a MongoDB is. Nothing else goes
//! through them.

pub use crate::{
    journal::fuzzing::{entries, file_of, sample, take_up},
    mongo::fuzzing::database,
};
