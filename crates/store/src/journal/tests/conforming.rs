//! The conformance suite over a journal before a database that is there.

use std::sync::Arc;

use super::FakeDatabase;
use crate::conformance::Place;

fn place() -> (Place, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, database) = (folder.path().to_owned(), FakeDatabase::default());
    let open = move || {
        // A slow machine makes no outage here.
        let opening = super::open_patiently(&data_dir, &database);
        let runtime = tokio::runtime::Handle::current();
        let store = tokio::task::block_in_place(|| runtime.block_on(opening));
        Arc::new(store) as Arc<dyn crate::Store>
    };
    let place = Place {
        open: Box::new(open),
        keeps: true,
    };
    (place, folder)
}

crate::conformance::suite!(super::place);
