//! Doors for `crates/fuzzing` to what reads calls of other machines. Nothing else goes through them.

pub use crate::grpc::fuzzing::{LetIn, Uploaded, lets_in, no_accounts, upload};
