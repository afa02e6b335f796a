//! `cloudai-sim`: runs seeds, replays one with its log, cuts one down to what it needs to fail.

#![allow(
    clippy::disallowed_methods,
    reason = "the program reads and writes files; the library does not"
)]

mod arguments;
mod many;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use cloudai_sim::{
    audit::Kind,
    bugs::Bug,
    plan::{self, FaultKind, FileError, Plan},
    run::run,
    shrink::shrink,
};

use crate::arguments::{Command, Subject};

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{path} can't be read or written")]
    File {
        path: String,
        #[source]
        cause: io::Error,
    },
    #[error("{path} is no plan")]
    Plan {
        path: String,
        #[source]
        cause: FileError,
    },
    #[error("the plan has no form as text")]
    Text(#[from] serde_json::Error),
    #[error("the output can't be written")]
    Output(#[from] io::Error),
}

fn main() -> ExitCode {
    // A core that gives up is a finding, and is shown as one.
    std::panic::set_hook(Box::new(|_| {}));
    match carry_out(arguments::read()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            let mut words = failure.to_string();
            let mut cause = std::error::Error::source(&failure);
            while let Some(error) = cause {
                words += &format!(": {error}");
                cause = error.source();
            }
            // Nothing can be done about an error output that is gone.
            let _ = writeln!(io::stderr(), "cloudai-sim: {words}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing was found amiss.
fn carry_out(command: Command) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match command {
        Command::Run(options) => Ok(many::run(&options, &mut out)?),
        Command::Replay(subject) => {
            let outcome = run(&plan_of(&subject)?, subject.options.bug, true);
            for line in &outcome.log {
                writeln!(out, "{line}")?;
            }
            match &outcome.finding {
                Some(finding) => writeln!(out, "{finding}")?,
                None => writeln!(out, "nothing amiss after {} steps", outcome.steps)?,
            }
            Ok(outcome.finding.is_none())
        }
        Command::Shrink { subject, write } => {
            let whole = plan_of(&subject)?;
            let mut last = whole.items.len();
            let mut tell = |smaller: &Plan, runs: u64| {
                if smaller.items.len() < last {
                    last = smaller.items.len();
                    // Only to show that something happens.
                    let _ = writeln!(io::stderr(), "{last} items left after {runs} runs");
                }
            };
            let Some(shrunk) = shrink(&whole, subject.options.bug, &mut tell) else {
                writeln!(out, "nothing amiss, so nothing to cut down")?;
                return Ok(true);
            };
            for line in &shrunk.outcome.log {
                writeln!(out, "{line}")?;
            }
            let text = plan::write(&shrunk.plan)?;
            write!(out, "{text}")?;
            if let Some(finding) = &shrunk.outcome.finding {
                let (left, whole) = (shrunk.plan.items.len(), whole.items.len());
                writeln!(out, "{left} of {whole} items are left: {finding}")?;
            }
            if let Some(path) = write {
                std::fs::write(&path, text).map_err(|cause| Failure::File { path, cause })?;
            }
            Ok(false)
        }
        Command::Plan(subject) => {
            write!(out, "{}", plan::write(&plan_of(&subject)?)?)?;
            Ok(true)
        }
        Command::List => {
            list(&mut out)?;
            Ok(true)
        }
    }
}

fn plan_of(subject: &Subject) -> Result<Plan, Failure> {
    match &subject.file {
        Some(path) => {
            let path = path.clone();
            let text = std::fs::read_to_string(&path).map_err(|cause| Failure::File {
                path: path.clone(),
                cause,
            })?;
            plan::read(&text).map_err(|cause| Failure::Plan { path, cause })
        }
        None => Ok(plan::generate(
            subject.seed.unwrap_or_default(),
            &subject.options.generator,
        )),
    }
}

fn list(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Faults (--faults, --no-faults):")?;
    for kind in FaultKind::ALL {
        writeln!(out, "  {kind:<18} {}", kind.description())?;
    }
    writeln!(out, "\nBugs that can be put in (--bug):")?;
    for bug in Bug::ALL {
        writeln!(out, "  {bug:<21} {}", bug.description())?;
    }
    writeln!(out, "\nWhat is found amiss, and which promise that breaks:")?;
    for kind in Kind::ALL {
        let name = format!("{kind:?}");
        let (what, promise) = (kind.description(), kind.promise());
        writeln!(out, "  {name:<21} {what} ({promise})")?;
    }
    Ok(())
}
