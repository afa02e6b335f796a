//! Passwords: which ones are taken, how they are hashed, and how many at a time.

mod cost;
mod hash;
mod hasher;
mod rules;

pub use cost::{CostError, PasswordCost, PasswordCostError};
pub(crate) use hash::HashError;
pub(crate) use hasher::{Asker, Hasher, Verdict};
pub use hasher::{Busy, HashingLimits};
pub use rules::{LEAST_PASSWORD_CHARS, LONGEST_PASSWORD, check_password};
