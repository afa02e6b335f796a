//! The conformance suite over SQLite, and what only SQLite promises.

mod kill;
mod opening;
mod rows;

use std::sync::Arc;

use tempfile::TempDir;

use super::SqliteStore;
use crate::conformance::Place;

fn place() -> (Place, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let place = Place {
        open: Box::new(move || Arc::new(SqliteStore::open(&path).unwrap())),
        keeps: true,
    };
    (place, dir)
}

crate::conformance::suite!(super::place);
