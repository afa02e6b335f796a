//! Doors for `crates/fuzzing` to this program's readers of foreign bytes. Nothing else goes through
//! them.

use std::path::Path;

use cloudai_config::{LoadError, Surroundings};
use cloudai_model::AttemptId;

pub use crate::spool::fuzzing::{left_out, order, state, tombstones};
use crate::{auth, images::list::ImageList, settings::Settings, spool::Spool};

/// What a start finds in a spool.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundInSpool {
    /// Attempts whose order and state could be read.
    pub records: Vec<AttemptId>,
    /// Attempts whose order alone could.
    pub stateless: Vec<AttemptId>,
    /// Attempts of which nothing could.
    pub lost: Vec<AttemptId>,
    /// Attempts that never shall be started.
    pub tombstones: Vec<AttemptId>,
    /// What was said of the rest.
    pub notes: Vec<String>,
}

/// Opens the spool in this folder and reads all of it, as a start does.
///
/// # Errors
/// If the folder can't be read.
pub fn spool(root: &Path) -> Result<FoundInSpool, String> {
    let spool = Spool::open(root).map_err(|error| error.to_string())?;
    let found = spool.read().map_err(|error| error.to_string())?;
    let records = found.records.iter();
    let stateless = found.stateless.iter();
    Ok(FoundInSpool {
        records: records.map(|record| record.attempt().clone()).collect(),
        stateless: stateless.map(|(order, _)| order.attempt.clone()).collect(),
        lost: found.lost,
        tombstones: found.tombstones,
        notes: found.notes,
    })
}

/// How many pulled images the list in this folder names, and what is wrong with its file.
#[must_use]
pub fn images(folder: &Path) -> (usize, Option<String>) {
    let (list, damage) = ImageList::read(folder);
    (list.all().len(), damage)
}

/// The settings of a worker started so, shown as `Debug` does.
///
/// # Errors
/// As the program's own.
pub fn settings(surroundings: &Surroundings) -> Result<String, LoadError> {
    Settings::load(surroundings).map(|settings| format!("{settings:?}"))
}

/// Whether a worker with this token lets in a call from another machine that brings this header.
#[must_use]
pub fn lets_in(token: Option<&str>, authorization: Option<&str>) -> bool {
    auth::lets_in_from_afar(token, authorization)
}
