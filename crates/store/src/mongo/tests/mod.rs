//! Against real servers: the conformance suite over a single one and a replica set of three, and
//! what only a database elsewhere can do.

mod failover;
mod go_master;
mod opening;
mod queries;
mod single;

use std::sync::Arc;

use super::MongoStore;
use crate::{MongoSettings, conformance::Place};

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

mod on_a_single_server {
    use std::sync::LazyLock;

    use crate::conformance::Place;
    use crate::mongod::Server;

    static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(&[]));

    fn place() -> (Place, ()) {
        (super::place(SERVER.settings()), ())
    }

    crate::conformance::suite!(super::place);
}

mod on_a_replica_set {
    use std::sync::LazyLock;

    use crate::conformance::Place;
    use crate::mongod::ReplicaSet;

    static SET: LazyLock<ReplicaSet> = LazyLock::new(ReplicaSet::start);

    fn place() -> (Place, ()) {
        (super::place(SET.settings()), ())
    }

    crate::conformance::suite!(super::place);
}
