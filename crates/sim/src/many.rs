//! Many seeds, on many threads. Each run is on one of them from its beginning to its end.

use std::{
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use crate::{
    bugs::Bug,
    plan::{Generator, generate},
    run::{Outcome, run},
};

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Many<'a> {
    /// The first seed.
    pub from: u64,
    /// What plans are made of.
    pub generator: &'a Generator,
    /// The bug that is put in.
    pub bug: Option<Bug>,
    /// On so many threads; as many as there are cores if nothing is said.
    pub threads: Option<usize>,
}

/// Runs seed after seed for as long as `wanted` says of the next one that it is to be run. `told` hears
/// what comes of each, in the order in which they end, and says whether to go on. How many threads that
/// took.
pub fn run_many(
    many: &Many<'_>,
    wanted: impl Fn(u64) -> bool + Sync,
    mut told: impl FnMut(u64, Outcome) -> bool,
) -> usize {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let threads = many.threads.unwrap_or_else(cores).max(1);
    let next = AtomicU64::new(many.from);
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let (sender, outcomes) = mpsc::channel();
        for _ in 0..threads {
            let (sender, next, enough, wanted) = (sender.clone(), &next, &enough, &wanted);
            scope.spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !wanted(seed) {
                        return;
                    }
                    let outcome = run(&generate(seed, many.generator), many.bug, false);
                    if sender.send((seed, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (seed, outcome) in outcomes {
            if !told(seed, outcome) {
                enough.store(true, Ordering::Relaxed);
            }
        }
    });
    threads
}
