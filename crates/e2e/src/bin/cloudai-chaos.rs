//! `make chaos`: breaks a real cluster for as long as told, and says whether it kept its promises.
//!
//! Settings are variables: `CHAOS_FOR` (2m), `CHAOS_STORE` (sqlite, mongodb), `CHAOS_SEED` (any number;
//! without it a new one each time). Ends with 1 if a promise was broken, with 2 if it could not be run
//! to its end. The first Ctrl-C ends the faults and has what happened until then judged; the second one
//! only cleans up.

#![allow(clippy::print_stdout, reason = "it is a tool")]

use std::{process::ExitCode, sync::Arc, time::Duration};

use cloudai_tests::chaos::{
    self, Settings, Store,
    leftovers::{self, RunFolder},
};
use tokio::{signal::ctrl_c, sync::watch};

const USUAL_SPAN: &str = "2m";

/// It could not be run to its end.
const NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    // A panic, whose words are shown already, means that something it needs is not there.
    let ran = std::panic::catch_unwind(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.enable_all().build();
        runtime.expect("threads can be had").block_on(run())
    });
    ran.unwrap_or_else(|_| ExitCode::from(NOT_RUN))
}

async fn run() -> ExitCode {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(wrong) => {
            println!("{wrong}");
            return ExitCode::from(NOT_RUN);
        }
    };
    for folder in leftovers::clean_dead().await {
        println!(
            "Cleaned what a run that was killed had left in {}",
            folder.display()
        );
    }
    println!(
        "Chaos on {} for {:?}, seed {}; all that happens: {}",
        settings.store.as_str(),
        settings.span,
        settings.seed,
        settings.chronicle.display()
    );
    let (stop, is_stopped) = watch::channel(false);
    let folder = Arc::new(RunFolder::new());
    let mut running = Box::pin(chaos::run(settings, &folder, is_stopped));
    let report = tokio::select! {
        report = &mut running => Some(report),
        _ = ctrl_c() => {
            println!("Ending the faults; once more Ctrl-C ends it at once, without a judgement");
            stop.send_replace(true);
            tokio::select! {
                report = &mut running => Some(report),
                _ = ctrl_c() => None,
            }
        }
    };
    drop(running);
    let Some(report) = report else {
        println!("Cleaning up");
        leftovers::clean(&folder).await;
        return ExitCode::from(130);
    };
    print!("{report}");
    if report.violation_count() > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn settings() -> Result<Settings, String> {
    let given = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let span = given("CHAOS_FOR").unwrap_or_else(|| USUAL_SPAN.to_owned());
    let span: Duration = cloudai_config::duration(&span)
        .map_err(|error| format!("CHAOS_FOR={span}: {error}; expected a span such as 30m"))?;
    let store = match given("CHAOS_STORE").as_deref() {
        None | Some("sqlite") => Store::Sqlite,
        Some("mongodb") => Store::MongoDb,
        Some(other) => return Err(format!("CHAOS_STORE={other}: expected sqlite or mongodb")),
    };
    let seed = match given("CHAOS_SEED") {
        Some(text) => text
            .parse()
            .map_err(|_| format!("CHAOS_SEED={text}: expected a number such as 42"))?,
        // Short enough to be typed again.
        None => cloudai_clock::now().wall.0.unsigned_abs() / 1000 % 1_000_000,
    };
    Ok(Settings::new(store, span, seed))
}
