//! How the test task ends, or doesn't: crashes, sleeps and signals.
//!
//! As the first process of a container it gets no signal that it has no handler for, so most have one here.

use std::io::Write as _;
use std::process::{self, ExitCode};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::Outcome;

/// Dies of a signal. The kernel spares a container's first process SIGABRT, and libc then runs an illegal
/// instruction, which it doesn't: exit code 139 there, 134 elsewhere.
pub(crate) fn crash() -> ! {
    announce("crashing");
    process::abort();
}

/// Sleeps, and ends promptly at a signal as a well-behaved program does.
pub(crate) fn sleep(seconds: f64) -> Outcome {
    let signals = arriving_signals()?;
    announce(&format!("sleeping {seconds} s"));
    match signals.recv_timeout(duration(seconds)?) {
        Ok(signal) => {
            announce(&format!("got signal {signal}, ending"));
            Ok(ended_by(signal))
        }
        Err(_) => {
            announce("slept well");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Sleeps as a program does that never thought of signals: as a container's first process SIGTERM passes it by.
pub(crate) fn nap(seconds: f64) -> Outcome {
    thread::sleep(duration(seconds)?);
    Ok(ExitCode::SUCCESS)
}

/// Sleeps, prints each signal and goes on.
pub(crate) fn ignore_sigterm(seconds: f64) -> Outcome {
    let signals = arriving_signals()?;
    let ends = Instant::now() + duration(seconds)?;
    announce(&format!("sleeping {seconds} s, whatever comes"));
    while let Ok(signal) = signals.recv_timeout(ends.saturating_duration_since(Instant::now())) {
        announce(&format!("got signal {signal}, going on"));
    }
    announce("slept in spite of all");
    Ok(ExitCode::SUCCESS)
}

/// The convention of shells: 128 and the signal's number.
pub(crate) fn ended_by(signal: i32) -> ExitCode {
    ExitCode::from(128 + u8::try_from(signal).unwrap_or(0))
}

/// SIGTERM and SIGINT from now on, as they come.
pub(crate) fn arriving_signals() -> std::io::Result<mpsc::Receiver<i32>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

/// Seconds given as an argument, which may be negative or not a number.
pub(crate) fn duration(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| format!("expected seconds such as 1.5, got {seconds}"))
}

/// A line on stdout, out at once: a test waits for it.
pub(crate) fn announce(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // Whoever read this may be gone, which is no reason to end differently from what was told.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
