//! Doors for `crates/fuzzing` to this program's readers of foreign bytes. Nothing else goes through
//! them.

use std::path::Path;

use cloudai_config::{LoadError, Surroundings};
use cloudai_model::{AttemptId, Capacity};
use cloudai_proto::cluster::WorkerInfo;

pub use crate::spool::fuzzing::{left_out, order, state, tombstones};
use crate::{
    auth,
    images::list::ImageList,
    log_filter,
    master_link::{Bearer, endpoint, hello},
    settings::Settings,
    spool::Spool,
};

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

/// What a worker makes of its settings at a start.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The settings, as `Debug` shows them.
    pub shown: String,
    /// What it registers with, on a machine that has something of everything.
    pub registers_with: Option<WorkerInfo>,
    /// Each address of a master, with the host and the port that are dialled.
    pub dials: Vec<(String, Option<(String, u16)>)>,
    /// What the start fails with.
    pub problems: Vec<String>,
}

/// What a worker that is started so does with its settings, up to where it looks at its machine.
///
/// # Errors
/// As the program's own.
pub fn settings(surroundings: &Surroundings) -> Result<Start, LoadError> {
    let settings = Settings::load(surroundings)?;
    let machine = Capacity {
        cpu_milli: 4000,
        memory_bytes: 8 << 30,
        storage_bytes: 100 << 30,
        gpus: 0,
    };
    let capacity = settings.offer.complete(&machine);
    let problems = [
        log_filter(&settings.log_level).err(),
        Bearer::new(settings.token.as_deref())
            .err()
            .map(|error| error.to_string()),
        capacity.as_ref().err().map(ToString::to_string),
    ];
    let dials = settings.masters.iter().map(|address| {
        let uri = endpoint(address).ok().map(|at| at.uri().clone());
        let dialled = uri.and_then(|uri| Some((uri.host()?.to_owned(), uri.port_u16()?)));
        (address.clone(), dialled)
    });
    Ok(Start {
        shown: format!("{settings:?}"),
        registers_with: capacity
            .ok()
            .map(|capacity| hello(&settings, capacity).into_wire()),
        dials: dials.collect(),
        problems: problems.into_iter().flatten().collect(),
    })
}

/// Whether a worker with this token lets in a call from another machine that brings this header.
#[must_use]
pub fn lets_in(token: Option<&str>, authorization: Option<&str>) -> bool {
    auth::lets_in_from_afar(token, authorization)
}
