//! `make bench`, the HTTP server: a figure for each way to load it, and what others who ask for little
//! notice of it meanwhile.
//!
//! Ratios are what counts; the absolute figures are for orientation and nothing tests them. Arguments
//! name the figures that are wanted; none means all of them.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark"
)]

mod followers;
mod lists;
mod logins;
mod probe;
mod site;
mod submits;
mod watchers;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const HELP: &str = "\
cloudai-bench-http [FIGURE]... [-tasks N]
  submits     tasks submitted over REST, one by one and in batches
  lists       a list of 100 among many tasks
  watchers    1,000 WebSockets that watch 100 workers
  followers   200 who follow one log
  logins      logins
  -tasks N    how many tasks there are for `lists` (1000000)";

/// Descriptors that all ends of a thousand WebSockets take on this side, and others.
const DESCRIPTORS: u64 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    Submits,
    Lists,
    Watchers,
    Followers,
    Logins,
}

impl Figure {
    const ALL: [(&'static str, Self); 5] = [
        ("submits", Self::Submits),
        ("lists", Self::Lists),
        ("watchers", Self::Watchers),
        ("followers", Self::Followers),
        ("logins", Self::Logins),
    ];
}

/// What is to be measured.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    figures: Vec<Figure>,
    tasks: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(Some(wanted)) => wanted,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("{wrong}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    if let Err(wrong) = raise_descriptors() {
        eprintln!("{wrong}");
        return ExitCode::from(2);
    }
    for figure in wanted.figures {
        match figure {
            Figure::Submits => submits::run().await,
            Figure::Lists => lists::run(wanted.tasks).await,
            Figure::Watchers => watchers::run().await,
            Figure::Followers => followers::run().await,
            Figure::Logins => logins::run().await,
        }
    }
    ExitCode::SUCCESS
}

/// What the arguments ask for; `None`: for help.
fn wanted(mut args: impl Iterator<Item = String>) -> Result<Option<Wanted>, String> {
    let mut wanted = Wanted {
        figures: Vec::new(),
        tasks: 1_000_000,
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "help" | "-help" | "--help" | "-h" => return Ok(None),
            "-tasks" | "--tasks" => {
                let value = args.next().unwrap_or_default();
                let number = value.parse().ok().filter(|number| *number >= 1000);
                wanted.tasks = number.ok_or_else(|| {
                    format!("-tasks {value}: expected a number of 1000 or more, such as 1000000")
                })?;
            }
            name => {
                let known = Figure::ALL.iter().find(|(known, _)| *known == name);
                let (_, figure) = known.ok_or_else(|| {
                    let names = Figure::ALL.map(|(name, _)| name).join(", ");
                    format!("{name}: expected one of {names}, or -tasks N")
                })?;
                wanted.figures.push(*figure);
            }
        }
    }
    if wanted.figures.is_empty() {
        wanted.figures = Figure::ALL.map(|(_, figure)| figure).into();
    }
    Ok(Some(wanted))
}

fn raise_descriptors() -> Result<(), String> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if maximum.is_some_and(|maximum| maximum < DESCRIPTORS) {
        return Err(format!(
            "expected a hard limit of {DESCRIPTORS} open files or more: raise it (ulimit -Hn)"
        ));
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| format!("the limit of open files: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Option<Wanted>, String> {
        wanted(args.iter().map(ToString::to_string))
    }

    #[test]
    fn what_is_named_is_wanted_and_all_if_nothing_is() {
        let all = read(&[]).unwrap().unwrap();
        assert_eq!((all.figures.len(), all.tasks), (5, 1_000_000));
        let two = read(&["logins", "-tasks", "5000", "lists"]).unwrap();
        let figures = vec![Figure::Logins, Figure::Lists];
        assert_eq!(
            two,
            Some(Wanted {
                figures,
                tasks: 5000
            })
        );
        assert_eq!(read(&["logins", "-help"]).unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_expected() {
        for args in [&["login"][..], &["-tasks"], &["-tasks", "7"], &["-n", "7"]] {
            let wrong = read(args).unwrap_err();
            assert!(
                wrong.contains(args[0]) && wrong.contains("expected"),
                "{wrong}"
            );
        }
    }
}
