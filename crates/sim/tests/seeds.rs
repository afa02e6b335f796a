//! A fixed number of seeds, on all cores: nothing is found amiss, every fault changes something, and
//! every transition is taken but for those that `transitions.rs` takes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may"
)]

use std::collections::BTreeSet;

use cloudai_sim::{
    many::{Many, run_many},
    plan::{FaultKind, Generator},
    report::Summary,
};

/// So many take some twenty seconds on two cores.
const SEEDS: u64 = 1_200;

/// After so long all that is left over from the faults has come to its end.
const LONGEST_REST_MS: u64 = 900_000;

/// Transitions that one seed in some thousands takes: `transitions.rs` has a plan for each.
const RARE: &[&str] = &[
    "Creating Vanish",
    "Searching FindLoss",
    "SearchingToStop FindLoss",
    "SearchingToStop FindCreated",
    "Stopping Fail",
];

fn run_all(seeds: u64, generator: &Generator) -> Summary {
    let many = Many {
        from: 0,
        generator,
        bug: None,
        threads: None,
    };
    let mut summary = Summary::default();
    run_many(
        &many,
        |seed| seed < seeds,
        |seed, outcome| {
            summary.add(seed, outcome);
            true
        },
    );
    summary
}

fn assert_sound(summary: &Summary) {
    if let Some((seed, finding)) = summary.findings.first_key_value() {
        let count = summary.findings.len();
        panic!(
            "{count} seeds found something amiss, the first: seed {seed}, {finding}\n\
             `cargo run -p cloudai-sim -- replay {seed}` shows its log, `shrink {seed}` cuts it down"
        );
    }
}

#[test]
fn nothing_is_amiss_whatever_breaks() {
    let summary = run_all(SEEDS, &Generator::default());
    println!("{summary}");
    assert_sound(&summary);
    // Each kind begins, and changes something.
    assert!(summary.faults.keys().eq(FaultKind::ALL), "{summary}");
    assert!(summary.bites.keys().eq(FaultKind::ALL), "{summary}");
    let (rest_ms, seed) = summary.longest_rest;
    assert!(
        rest_ms <= LONGEST_REST_MS,
        "seed {seed} rests after {rest_ms} ms"
    );
    for table in summary.coverage.tables() {
        let of = table.table;
        let common = table.missing.iter();
        let missing: Vec<_> = common.filter(|it| !RARE.contains(&it.as_str())).collect();
        assert!(
            missing.is_empty(),
            "transitions of {of} not taken: {missing:?}"
        );
    }
}

#[test]
fn nothing_is_amiss_where_nothing_breaks() {
    let generator = Generator {
        faults: BTreeSet::new(),
        ..Generator::default()
    };
    let summary = run_all(100, &generator);
    assert_sound(&summary);
    assert!(summary.faults.is_empty());
}
