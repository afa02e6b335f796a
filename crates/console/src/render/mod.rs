//! Records as what an operator reads. Nothing here asks anything or prints.

pub mod json;
pub(crate) mod queue;
pub(crate) mod status;
mod table;
pub(crate) mod tasks;
pub mod text;
pub(crate) mod workers;
