//! Runs many seeds on all cores, with a line that shows how far they are.

use std::{
    io::{self, IsTerminal as _, Write},
    num::NonZero,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use cloudai_model::Mono;
use cloudai_sim::{
    plan::generate,
    report::Summary,
    run::{Outcome, run as run_plan},
};

use crate::arguments::Many;

/// How often the line is written anew.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// Whether nothing was found amiss.
pub(crate) fn run(many: &Many, out: &mut impl Write) -> io::Result<bool> {
    let threads = many.threads.or_else(|| {
        let cores = thread::available_parallelism().ok();
        cores.map(NonZero::get)
    });
    let threads = threads.unwrap_or(1).max(1);
    let began = now();
    let next = AtomicU64::new(many.from);
    let enough = AtomicBool::new(false);
    let mut summary = Summary::default();
    thread::scope(|scope| -> io::Result<()> {
        let (sender, outcomes) = mpsc::channel();
        for _ in 0..threads {
            let (sender, next, enough) = (sender.clone(), &next, &enough);
            scope.spawn(move || {
                while let Some(seed) = take(many, next, enough, began) {
                    let plan = generate(seed, &many.options.generator);
                    let outcome = run_plan(&plan, many.options.bug, false);
                    if sender.send((seed, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let gathered = gather(many, &outcomes, &enough, began, &mut summary, out);
        enough.store(true, Ordering::Relaxed);
        gathered
    })?;
    let took = now().since(began).as_secs_f64().max(0.001);
    writeln!(out, "{summary}")?;
    let rate = summary.steps as f64 / took;
    writeln!(out, "{took:.1} s on {threads} threads, {rate:.0} steps/s")?;
    Ok(summary.findings.is_empty())
}

/// The next seed, if there is to be one.
fn take(many: &Many, next: &AtomicU64, enough: &AtomicBool, began: Mono) -> Option<u64> {
    let over = many.span.is_some_and(|span| now().since(began) >= span);
    if over || enough.load(Ordering::Relaxed) {
        return None;
    }
    let seed = next.fetch_add(1, Ordering::Relaxed);
    let among = many.span.is_some() || seed - many.from < many.seeds;
    among.then_some(seed)
}

fn gather(
    many: &Many,
    outcomes: &mpsc::Receiver<(u64, Outcome)>,
    enough: &AtomicBool,
    began: Mono,
    summary: &mut Summary,
    out: &mut impl Write,
) -> io::Result<()> {
    let shows = io::stderr().is_terminal();
    let mut shown = now();
    for (seed, outcome) in outcomes {
        if let Some(finding) = &outcome.finding {
            clear_line(shows);
            writeln!(out, "seed {seed}, {finding}")?;
            enough.fetch_or(!many.keep_going, Ordering::Relaxed);
        }
        summary.add(seed, outcome);
        if shows && now().since(shown) >= SHOW_EVERY {
            shown = now();
            let took = now().since(began).as_secs_f64();
            let rate = summary.steps as f64 / took;
            let (seeds, amiss) = (summary.seeds, summary.findings.len());
            // It is a courtesy; whoever took the error output away doesn't want it.
            let line = format!("\r{seeds} seeds, {rate:.0} steps/s, {amiss} amiss");
            let _ = write!(io::stderr(), "{line}");
        }
    }
    clear_line(shows);
    Ok(())
}

fn clear_line(shows: bool) {
    if shows {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

fn now() -> Mono {
    cloudai_clock::now().mono
}
