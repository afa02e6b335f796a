//! A short run of chaos on each store, by a seed that doesn't change. `make chaos` goes on for longer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::{sync::Arc, time::Duration};

use cloudai_tests::chaos::{
    self, Settings, Store,
    leftovers::{self, RunFolder},
    plan,
};
use tokio::sync::{Mutex, watch};

const SPAN: Duration = Duration::from_secs(26);
/// A plan of that length with every kind of fault, but for one of the database's four.
const SEED: u64 = 3019;

/// Two at a time would be each other's chaos.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

async fn keeps_its_promises(store: Store) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (_go_on, stop) = watch::channel(false);
    leftovers::clean_dead().await;
    let folder = Arc::new(RunFolder::new());
    let settings = Settings::new(store, SPAN, SEED);
    let planned = plan::draw(SEED, SPAN, store == Store::MongoDb).len();
    let report = chaos::run(settings, &folder, stop).await;

    assert_eq!(report.violation_count(), 0, "{report}");
    // It was a run worth the name: the faults came, tasks completed meanwhile, and what they had left was
    // there, and not only a word that it isn't.
    let lost = report.without_effect.len();
    assert_eq!(report.faults.len() + lost, planned, "{report}");
    assert!(lost <= 2, "{report}");
    assert!(report.completed() >= 10, "{report}");
    let (whole, looked_at) = report.whole();
    assert!(whole * 10 >= looked_at * 7, "{report}");
    assert!(!folder.path().exists(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_every_promise_is_kept() {
    keeps_its_promises(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_replica_set_every_promise_is_kept() {
    keeps_its_promises(Store::MongoDb).await;
}

#[test]
fn the_plan_has_every_kind_of_fault_and_three_of_the_databases() {
    let machine = ["killed", "stopped", "disk full", "clock stepped"];
    let way = [
        "network cut",
        "network one-way, deaf",
        "network one-way, mute",
        "network slow",
        "engine away",
        "engine frozen",
    ];
    let database = ["stepped down", "primary killed", "primary stopped"];
    let whose = |whose: &str, kinds: &[&str]| -> Vec<String> {
        kinds
            .iter()
            .map(|kind| format!("{whose}: {kind}"))
            .collect()
    };
    let mut expected = [
        whose("the master", &machine),
        whose("a worker", &machine),
        whose("a worker", &way),
        whose("the client", &["answers lost"]),
        whose("the database", &database),
    ]
    .concat();
    expected.sort();

    let plan = plan::draw(SEED, SPAN, true);

    let kinds: Vec<String> = plan::counts(&plan).into_keys().collect();
    assert_eq!(kinds, expected);
    let a_day = plan.iter().any(|planned| {
        matches!(planned.fault, plan::Fault::ClockStepped { offset_s } if offset_s.abs() == 86_400)
    });
    assert!(a_day, "{plan:?}");
}
