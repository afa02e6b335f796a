//! The master's command line: what an operator types, and what comes back.
//!
//! A [`Session`] reads a line, asks the [`cloudai_operator::Operator`] and prints the answer to an [`Output`]. Two
//! front ends feed it: [`terminal`] with line editing, [`piped`] from a stdin that is no terminal.
//! Nothing here decides anything or knows how the master is built.

mod command;
mod complete;
#[doc(hidden)]
pub mod fuzzing;
mod help;
mod history;
mod keys;
mod monitor;
pub mod news;
mod options;
mod output;
pub mod piped;
mod render;
mod session;
pub mod terminal;
#[cfg(test)]
mod testing;
mod time;

pub use output::Output;
pub use session::Session;
