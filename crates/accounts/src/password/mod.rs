//! Passwords: which ones are taken, how they are hashed, and how many at a time.

mod cost;
mod hash;
mod hasher;
mod rules;

pub use cost::{CostError, PasswordCost};
pub(crate) use hash::HashError;
pub use hasher::{Busy, HashingLimits};
pub(crate) use hasher::{Hasher, Verdict};
pub use rules::{LONGEST_PASSWORD, check_password};
