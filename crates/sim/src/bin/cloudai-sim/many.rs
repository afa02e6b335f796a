//! Runs many seeds on all cores, with a line that shows how far they are.

use std::{
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use cloudai_model::Mono;
use cloudai_sim::{
    many::{self, run_many},
    report::Summary,
};

use crate::arguments::Many;

/// How often the line is written anew.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// Whether nothing was found amiss.
pub(crate) fn run(options: &Many, out: &mut impl Write) -> io::Result<bool> {
    let began = now();
    let many = many::Many {
        from: options.from,
        generator: &options.options.generator,
        bug: options.options.bug,
        threads: options.threads,
    };
    let wanted = |seed| match options.span {
        Some(span) => now().since(began) < span,
        None => seed - options.from < options.seeds,
    };
    let shows = io::stderr().is_terminal();
    let mut summary = Summary::default();
    let mut shown = began;
    let mut written = Ok(());
    let threads = run_many(&many, wanted, |seed, outcome| {
        let amiss = outcome.finding.as_ref();
        let line = amiss.map(|finding| format!("seed {seed}, {finding}"));
        summary.add(seed, outcome);
        let goes_on = line.is_none() || options.keep_going;
        if let Some(line) = line {
            clear_line(shows);
            written = writeln!(out, "{line}");
        }
        if shows && now().since(shown) >= SHOW_EVERY {
            shown = now();
            show(&summary, began);
        }
        goes_on && written.is_ok()
    });
    written?;
    clear_line(shows);
    let took = now().since(began).as_secs_f64().max(0.001);
    writeln!(out, "{summary}")?;
    let rate = summary.steps as f64 / took;
    writeln!(out, "{took:.1} s on {threads} threads, {rate:.0} steps/s")?;
    Ok(summary.findings.is_empty())
}

fn show(summary: &Summary, began: Mono) {
    let took = now().since(began).as_secs_f64();
    let rate = summary.steps as f64 / took;
    let (seeds, amiss) = (summary.seeds, summary.findings.len());
    // It is a courtesy; whoever took the error output away doesn't want it.
    let line = format!("\r{seeds} seeds, {rate:.0} steps/s, {amiss} amiss");
    let _ = write!(io::stderr(), "{line}");
}

fn clear_line(shows: bool) {
    if shows {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

fn now() -> Mono {
    cloudai_clock::now().mono
}
