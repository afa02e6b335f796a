//! The conformance suite over SQLite, and what only SQLite promises.

mod filling;
mod kill;
mod opening;
mod rows;
mod version_1;
mod version_3;

use std::sync::Arc;

use tempfile::TempDir;

use super::{SqliteReader, SqliteStore};
use crate::conformance::{ExportPlace, Place};

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

/// A store for a master, read by another connection.
fn export_place() -> (ExportPlace, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let place = ExportPlace {
        open: Box::new(move || {
            let dir = tempfile::tempdir_in(&path).unwrap().keep();
            let store = SqliteStore::open(&dir).unwrap();
            (Arc::new(store), Arc::new(SqliteReader::open(&dir).unwrap()))
        }),
    };
    (place, dir)
}

crate::conformance::export_suite!(super::export_place);
