//! What the test task prints: arguments and environment, slow lines, floods.

use std::env;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloudai_test_task::{Flood, FloodBlocks};

use crate::{Outcome, number};

/// Bytes that are written at once.
const BLOCK: usize = 1 << 16;

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

fn write_all(flood: Flood, mut sink: impl Write) -> Outcome {
    let mut blocks = FloodBlocks::new(flood);
    loop {
        let block = blocks.next_block(BLOCK);
        if block.is_empty() {
            break;
        }
        sink.write_all(&block)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// As many bytes as told, at no cost worth measuring: the same line of `x` again and again.
pub(crate) fn spew(bytes: usize, line_bytes: usize) -> Outcome {
    let line_bytes = line_bytes.max(1);
    let mut line = vec![b'x'; line_bytes];
    line[line_bytes - 1] = b'\n';
    let block = line.repeat((BLOCK / line_bytes).max(1));
    let mut out = io::stdout().lock();
    let mut left = bytes;
    while left > 0 {
        let part = left.min(block.len());
        out.write_all(&block[..part])?;
        left -= part;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The time in Unix milliseconds, a line each, a pause after each: how old a line is when it is
/// read is then known.
pub(crate) fn times(count: u64, pause_ms: u64) -> Outcome {
    for _ in 0..count {
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let mut out = io::stdout().lock();
        writeln!(out, "{}", since.as_millis())?;
        out.flush()?;
        drop(out);
        thread::sleep(Duration::from_millis(pause_ms));
    }
    Ok(ExitCode::SUCCESS)
}
