//! How far it is, on stderr: a line now and then.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloudai_archive::Progress;
use cloudai_model::Mono;

/// On a terminal the line changes in its place; elsewhere lines add up.
const PAUSE_ON_A_TERMINAL: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_secs(5);

/// Says so, but not too often: nothing of what is done at once.
pub(super) fn on_stderr() -> Progress {
    let terminal = io::stderr().is_terminal();
    let pause = if terminal { PAUSE_ON_A_TERMINAL } else { PAUSE };
    let last = Mutex::new(cloudai_clock::now().mono);
    Arc::new(move |what, count| {
        let now: Mono = cloudai_clock::now().mono;
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(*last) < pause {
            return;
        }
        *last = now;
        let mut stderr = io::stderr();
        // With stderr gone there is nobody to tell.
        let _ = match terminal {
            true => write!(stderr, "\r\x1b[K{count} {what}\r"),
            false => writeln!(stderr, "{count} {what}"),
        };
    })
}
