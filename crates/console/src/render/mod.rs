//! Records as what an operator reads. Nothing here asks anything or prints.

mod amounts;
pub(crate) mod disks;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod inspection;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod queue;
pub(crate) mod stats;
pub(crate) mod status;
mod table;
pub(crate) mod tasks;
pub(crate) mod text;
pub(crate) mod users;
pub(crate) mod workers;
