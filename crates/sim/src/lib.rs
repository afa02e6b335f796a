//! Faults on purpose, in simulated time: the real cores of master and worker run in one thread under
//! a simulated clock, network, store, engine and machines, all of it from a seed, while an auditor
//! checks every promise of the design after each step.
//!
//! - [`plan`]: what is going to happen, from a seed or a file.
//! - [`run`]: brings it about, and says what was found amiss.
//! - [`audit`]: what is checked.
//! - [`bugs`]: bugs that are put in, to show that they are found.
//!
//! `docs/simulation.md` tells how it is used.

pub mod audit;
pub mod bugs;
pub mod chance;
pub mod conditions;
pub mod coverage;
pub mod engine;
mod events;
pub mod life;
pub mod log;
pub mod many;
pub mod master;
pub mod network;
pub mod plan;
pub mod report;
pub mod run;
pub mod shrink;
pub mod spool;
pub mod store;
pub mod time;
mod users;
pub mod wire;
mod wishes;
pub mod worker;
pub mod world;
