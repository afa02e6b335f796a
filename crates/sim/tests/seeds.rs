//! A fixed number of seeds, on all cores: nothing is found amiss, and every transition is taken.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may"
)]

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
    sync::mpsc,
    thread,
};

use cloudai_sim::{
    plan::{FaultKind, Generator, generate},
    report::Summary,
    run::run,
};

/// So many take some twenty seconds on two cores.
const SEEDS: u64 = 1_200;

/// Transitions that one seed in some thousands takes: `transitions.rs` has a plan for each.
const RARE: &[&str] = &[
    "Searching FindLoss",
    "SearchingToStop FindLoss",
    "SearchingToStop FindCreated",
    "Stopping Fail",
];

fn run_all(seeds: u64, generator: &Generator) -> Summary {
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let next = AtomicU64::new(0);
    let mut summary = Summary::default();
    thread::scope(|scope| {
        let (sender, outcomes) = mpsc::channel();
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let outcome = run(&generate(seed, generator), None, false);
                    sender.send((seed, outcome)).unwrap();
                }
            });
        }
        drop(sender);
        for (seed, outcome) in outcomes {
            summary.add(seed, outcome);
        }
    });
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
    assert!(summary.faults.keys().eq(FaultKind::ALL), "{summary}");
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
