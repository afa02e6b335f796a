//! One file a collection, or a small group of them: how a record becomes a document, and how a
//! document is read.
//!
//! What the contract names is there in its units (cores, GB, devices, dates). Beside it stands what
//! is read back: exact integers, a number of 64 bits without sign as the same bits with one. Where
//! that is missing, as in what the Go master wrote, the contract's field is read instead, and what
//! neither has gets a default.
//!
//! Names and values of maps may be any text, and a field's name may not: they are lists of pairs.

pub(crate) mod accounts;
pub(crate) mod assignments;
pub(crate) mod cluster;
mod fields;
pub(crate) mod files;
pub(crate) mod removed;
pub(crate) mod results;
pub(crate) mod stop_orders;
pub(crate) mod tasks;
pub(crate) mod workers;

pub(crate) use self::fields::{Fields, bits, date, if_any, nanos, pairs};

/// A task's place in the order of submits. What lacks it is not read.
pub(crate) const ORDER: &str = "order_number";
