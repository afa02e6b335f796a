//! What the test task takes: memory, CPU time, processes.

use std::env;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Instant;

use crate::Outcome;
use crate::ending::{announce, arriving_signals, duration};

const MIB: usize = 1 << 20;

/// Takes memory a MiB at a time and writes to each page of it, since the kernel counts only what was touched.
pub(crate) fn hog_memory(mib: usize, hold_s: f64) -> Outcome {
    let signals = arriving_signals()?;
    let mut held = Vec::new();
    for taken in 1..=mib {
        held.push(black_box(vec![1u8; MIB]));
        if taken % 64 == 0 {
            announce(&format!("{taken} MiB"));
        }
    }
    announce(&format!("holding {mib} MiB"));
    let _ = signals.recv_timeout(duration(hold_s)?);
    black_box(&held);
    Ok(ExitCode::SUCCESS)
}

/// Keeps threads busy.
pub(crate) fn burn_cpu(seconds: f64, threads: usize) -> Outcome {
    let ends = Instant::now() + duration(seconds)?;
    let burn = move || {
        let mut turns = 0u64;
        while Instant::now() < ends {
            for _ in 0..10_000 {
                turns = black_box(turns.wrapping_add(1));
            }
        }
    };
    let burning: Vec<_> = (0..threads).map(|_| thread::spawn(burn)).collect();
    for thread in burning {
        thread.join().map_err(|_| "a burning thread panicked")?;
    }
    announce(&format!("burnt {threads} x {seconds} s"));
    Ok(ExitCode::SUCCESS)
}

/// Starts as many processes as it is let, says how many, and waits for them.
pub(crate) fn start_children(wanted: usize, seconds: f64) -> Outcome {
    let program = env::current_exe()?;
    let mut children = Vec::new();
    let mut refusal = None;
    for _ in 0..wanted {
        match Command::new(&program)
            .args(["nap", &seconds.to_string()])
            .spawn()
        {
            Ok(child) => children.push(child),
            Err(error) => {
                refusal = Some(error);
                break;
            }
        }
    }
    announce(&format!("started {} of {wanted} children", children.len()));
    for child in &mut children {
        child.wait()?;
    }
    match refusal {
        None => Ok(ExitCode::SUCCESS),
        Some(error) => Err(format!("no more children: {error}").into()),
    }
}
