//! The master's shell: it owns the core, stores what the core writes, carries out what it wants,
//! and lets workers, users and operators in.
//!
//! Nothing is decided here. See ARCHITECTURE.md for the way of a task through it.

pub mod access_settings;
pub mod accounts;
pub mod coming_in;
pub mod core_loop;
pub mod diagnostics;
pub mod disk_settings;
pub mod effects;
pub mod front_end;
#[doc(hidden)]
pub mod fuzzing;
pub mod grpc;
pub mod intake;
pub mod live;
pub mod logs;
pub mod operations;
pub mod retention;
pub mod room;
pub mod settings;
pub mod snapshot;
pub mod specs;
pub mod startup;
pub mod store_news;
pub mod store_tools;
#[cfg(test)]
mod testing;
pub mod token;
pub mod workers;

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
