//! Against real servers: the conformance suite over a single one and a replica set of three, and
//! what only a database elsewhere can do.

mod failover;
mod filling;
mod go_master;
mod opening;
mod queries;
mod single;

use std::sync::Arc;

use super::{MongoReader, MongoStore};
use crate::{
    Export, MongoSettings, Store,
    conformance::{ExportPlace, Place},
};

/// Opens and closes from within a test that is no coroutine at that point.
fn place(settings: MongoSettings) -> Place {
    let open = move || {
        let opening = MongoStore::open(&settings);
        let runtime = tokio::runtime::Handle::current();
        let store = tokio::task::block_in_place(|| runtime.block_on(opening));
        Arc::new(store.unwrap()) as Arc<dyn crate::Store>
    };
    Place {
        open: Box::new(open),
        keeps: true,
    }
}

/// A store for a master, read by another client; each in the database that `settings` names next.
fn export_place(settings: impl Fn() -> MongoSettings + Send + Sync + 'static) -> ExportPlace {
    let open = move || {
        let settings = settings();
        let opening = async {
            let store = MongoStore::open(&settings).await.unwrap();
            let reader = MongoReader::open(&settings).await.unwrap();
            (
                Arc::new(store) as Arc<dyn Store>,
                Arc::new(reader) as Arc<dyn Export>,
            )
        };
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(opening))
    };
    ExportPlace {
        open: Box::new(open),
    }
}

mod on_a_single_server {
    use std::sync::LazyLock;

    use crate::conformance::{ExportPlace, Place};
    use crate::mongod::Server;

    static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(&[]));

    fn place() -> (Place, ()) {
        (super::place(SERVER.settings()), ())
    }

    fn export_place() -> (ExportPlace, ()) {
        (super::export_place(|| SERVER.settings()), ())
    }

    crate::conformance::suite!(super::place);
    crate::conformance::export_suite!(super::export_place);
}

mod on_a_replica_set {
    use std::sync::LazyLock;

    use crate::conformance::{ExportPlace, Place};
    use crate::mongod::ReplicaSet;

    static SET: LazyLock<ReplicaSet> = LazyLock::new(ReplicaSet::start);

    fn place() -> (Place, ()) {
        (super::place(SET.settings()), ())
    }

    fn export_place() -> (ExportPlace, ()) {
        (super::export_place(|| SET.settings()), ())
    }

    crate::conformance::suite!(super::place);
    crate::conformance::export_suite!(super::export_place);
}
