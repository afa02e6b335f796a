//! A short run of chaos on each store, by seeds that don't change. `make chaos` goes on for longer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::{sync::Arc, time::Duration};

use cloudai_tests::chaos::{self, Settings, Store, leftovers::RunFolder, plan};
use tokio::sync::{Mutex, watch};

const SPAN: Duration = Duration::from_secs(35);
/// Plans of that length with most kinds of faults.
const SQLITE_SEED: u64 = 1;
const MONGODB_SEED: u64 = 1;

/// Two at a time would be each other's chaos.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

async fn keeps_its_promises(store: Store, seed: u64) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (_go_on, stop) = watch::channel(false);
    let folder = Arc::new(RunFolder::new());
    let settings = Settings::new(store, SPAN, seed);
    let planned = plan::draw(seed, SPAN, store == Store::MongoDb).len();
    let report = chaos::run(settings, &folder, stop).await;

    assert_eq!(report.violation_count(), 0, "{report}");
    // It was a run worth the name.
    assert_eq!(report.faults.len(), planned, "{report}");
    assert!(report.ended() >= 15, "{report}");
    assert!(!folder.path().exists(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_every_promise_is_kept() {
    keeps_its_promises(Store::Sqlite, SQLITE_SEED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_replica_set_every_promise_is_kept() {
    keeps_its_promises(Store::MongoDb, MONGODB_SEED).await;
}

#[test]
fn the_plans_have_nearly_every_kind_of_fault() {
    for (seed, database, least) in [(SQLITE_SEED, false, 11), (MONGODB_SEED, true, 13)] {
        let kinds = plan::counts(&plan::draw(seed, SPAN, database));
        assert!(
            kinds.len() >= least,
            "{} kinds by {seed}: {kinds:?}",
            kinds.len()
        );
    }
}
