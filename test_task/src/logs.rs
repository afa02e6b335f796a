//! What the test task prints: arguments and environment, slow lines, floods.

use std::env;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use cloudai_test_task::Flood;

use crate::{Outcome, number};

/// Arguments and environment as they arrived, byte for byte, so that a test sees what quoting did to them.
pub(crate) fn echo() -> Outcome {
    let mut out = io::stdout().lock();
    for (at, arg) in env::args_os().skip(2).enumerate() {
        write!(out, "arg {at}: ")?;
        out.write_all(arg.as_bytes())?;
        out.write_all(b"\n")?;
    }
    let mut variables: Vec<_> = env::vars_os().collect();
    variables.sort();
    for (name, value) in variables {
        out.write_all(b"env ")?;
        out.write_all(name.as_bytes())?;
        out.write_all(b"=")?;
        out.write_all(value.as_bytes())?;
        out.write_all(b"\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `line I of N`, a pause after each; every fifth goes to stderr.
pub(crate) fn lines(count: u64, pause_ms: u64) -> Outcome {
    for line in 1..=count {
        let text = format!("line {line} of {count}\n");
        if line % 5 == 0 {
            io::stderr().write_all(text.as_bytes())?;
        } else {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        thread::sleep(Duration::from_millis(pause_ms));
    }
    Ok(ExitCode::SUCCESS)
}

/// As many bytes as told, as fast as they are read.
pub(crate) fn flood(args: &[String]) -> Outcome {
    let mut flood = Flood::text(number(args, 0, "bytes")?);
    let mut to_stderr = false;
    let mut at = 1;
    while let Some(option) = args.get(at) {
        match option.as_str() {
            "--line" => {
                at += 1;
                flood.line_bytes = number(args, at, "bytes of a line")?;
            }
            "--binary" => flood.binary = true,
            "--no-newline" => flood.no_newline = true,
            "--stderr" => to_stderr = true,
            _ => {
                let expected = "--line N, --binary, --no-newline or --stderr";
                return Err(format!("expected {expected}, got `{option}`").into());
            }
        }
        at += 1;
    }
    if to_stderr {
        write_all(flood, io::stderr().lock())
    } else {
        write_all(flood, io::stdout().lock())
    }
}

fn write_all(flood: Flood, sink: impl Write) -> Outcome {
    let mut sink = BufWriter::with_capacity(1 << 16, sink);
    let mut piece = Vec::with_capacity(1 << 16);
    let mut content = flood.content();
    loop {
        piece.clear();
        piece.extend(content.by_ref().take(1 << 16));
        if piece.is_empty() {
            break;
        }
        sink.write_all(&piece)?;
    }
    sink.flush()?;
    Ok(ExitCode::SUCCESS)
}
