//! What an operator sees: one line for each thing that happened, on stdout. Nothing else prints.

use std::{fmt::Display, io::Write as _};

/// Shows a line. Nobody to show it to is no reason to stop.
pub(crate) fn line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("stdout is closed");
    }
}

/// Shows a line about a task.
pub(crate) fn task(task: impl Display, text: impl Display) {
    line(format_args!("[Task {task}] {text}"));
}

/// Says on stderr why the program ends.
pub(crate) fn fatal(text: impl Display) {
    let mut out = std::io::stderr().lock();
    // There is nobody left to tell if this fails.
    let _ = writeln!(out, "❌ {text}").is_ok();
}
