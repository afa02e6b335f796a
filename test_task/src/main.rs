//! The task that misbehaves as told: its exit code, its signals, its appetite, its logs, its files.
//!
//! One static program for end-to-end tests. It knows nothing of CloudAI. What it prints and writes can be computed
//! anew with the library beside it, so that a test compares bytes and not impressions.

#![allow(
    clippy::disallowed_methods,
    reason = "to waste time, as told, is what it is for"
)]

mod appetite;
mod ending;
mod files;
mod logs;

use std::env;
use std::error::Error;
use std::process::ExitCode;

const HELP: &str = "\
test-task: misbehaves as told

ends
  exit N                     ends with exit code N
  crash                      aborts (139 as a container's first process, else SIGABRT)
  sleep S                    sleeps S seconds; SIGTERM or SIGINT ends it at once with 128 + signal
  nap S                      sleeps S seconds, with no handlers and no second thread
  ignore-sigterm S           sleeps S seconds whatever SIGTERM says, and prints each
appetite
  memory-hog MB [S]          touches MB MiB, says so, holds them S seconds (0)
  cpu-burn S [THREADS]       keeps THREADS (1) cores busy for S seconds
  children N S               starts N processes that nap S seconds, says how many it got
logs
  echo ARGS...               prints each argument as `arg I: ...`, each variable as `env K=V`
  lines N MS                 `line I of N` to stdout, every fifth to stderr, MS apart
  times N MS                 the time in Unix milliseconds, N lines, MS apart
  log-flood BYTES [--line N] [--binary] [--no-newline] [--stderr]
  spew BYTES LINE            the same line of LINE bytes, as fast as it is read
files, below /output or OUTPUT_DIR
  output NAME BYTES SEED     writes deterministic bytes
  files many N               N small files, a hundred in a folder
  files odd                  odd names and kinds, see files.rs
  touch-and-wait FILE        makes FILE, then waits for FILE.go (or SIGTERM)
";

/// What a subcommand ends with.
type Outcome = Result<ExitCode, Box<dyn Error>>;

#[expect(clippy::print_stderr, reason = "printing is this program's purpose")]
fn main() -> ExitCode {
    let args: Vec<String> = env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    run(&args).unwrap_or_else(|error| {
        eprintln!("test-task: {error}");
        ExitCode::from(2)
    })
}

#[expect(clippy::print_stdout, reason = "printing is this program's purpose")]
fn run(args: &[String]) -> Outcome {
    let Some((command, rest)) = args.split_first() else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    match command.as_str() {
        "exit" => Ok(ExitCode::from(number::<u8>(
            rest,
            0,
            "an exit code 0..255",
        )?)),
        "crash" => ending::crash(),
        "sleep" => ending::sleep(number(rest, 0, "seconds")?),
        "nap" => ending::nap(number(rest, 0, "seconds")?),
        "ignore-sigterm" => ending::ignore_sigterm(number(rest, 0, "seconds")?),
        "memory-hog" => {
            let hold_s = if rest.len() > 1 {
                number(rest, 1, "seconds")?
            } else {
                0.0
            };
            appetite::hog_memory(number(rest, 0, "MiB")?, hold_s)
        }
        "cpu-burn" => {
            let threads = if rest.len() > 1 {
                number(rest, 1, "threads")?
            } else {
                1
            };
            appetite::burn_cpu(number(rest, 0, "seconds")?, threads)
        }
        "children" => {
            appetite::start_children(number(rest, 0, "processes")?, number(rest, 1, "seconds")?)
        }
        "echo" => logs::echo(),
        "lines" => logs::lines(number(rest, 0, "lines")?, number(rest, 1, "milliseconds")?),
        "times" => logs::times(number(rest, 0, "lines")?, number(rest, 1, "milliseconds")?),
        "log-flood" => logs::flood(rest),
        "spew" => logs::spew(
            number(rest, 0, "bytes")?,
            number(rest, 1, "bytes of a line")?,
        ),
        "output" => files::output(
            word(rest, 0, "a file name")?,
            number(rest, 1, "bytes")?,
            number(rest, 2, "a seed")?,
        ),
        "files" if rest.first().is_some_and(|kind| kind == "many") => {
            files::many(number(rest, 1, "a number of files")?)
        }
        "files" if rest.first().is_some_and(|kind| kind == "odd") => files::odd(),
        "touch-and-wait" => files::touch_and_wait(word(rest, 0, "a file name")?),
        "help" | "--help" => run(&[]),
        _ => Err(format!(
            "expected one of the commands of `test-task help`, got `{}`",
            args.join(" ")
        )
        .into()),
    }
}

/// The argument at a place, as a word.
fn word<'a>(args: &'a [String], at: usize, what: &str) -> Result<&'a str, String> {
    args.get(at)
        .map(String::as_str)
        .ok_or_else(|| format!("expected {what} as argument {}", at + 1))
}

/// The argument at a place, as a number.
fn number<N: std::str::FromStr>(args: &[String], at: usize, what: &str) -> Result<N, String> {
    let text = word(args, at, what)?;
    text.parse()
        .map_err(|_| format!("expected {what}, got `{text}`"))
}
