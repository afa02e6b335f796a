//! The short run, on stable: every target over its corpus, over what once failed, and over a fixed
//! number of mutations of both. The same inputs each time, on every machine.

use std::{
    collections::VecDeque,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use cloudai_fuzzing::{
    TARGETS, Target, corpus,
    mutate::{Random, mutated},
};
use rustix::time::{ClockId, clock_gettime};

/// CPU time that one input may take, in a debug build: a hundred times what the slowest takes.
const MOST_SECONDS: i64 = 5;

/// What all checks together may have in memory at once, in kB.
const MOST_MEMORY_KB: u64 = 1 << 20;

#[test]
fn every_target_holds_over_what_is_kept_and_over_mutations_of_it() {
    let left: Mutex<VecDeque<&Target>> = Mutex::new(TARGETS.iter().collect());
    let failures = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(target) = lock(&left).pop_front() {
                    if let Err(failure) = run(target) {
                        lock(&failures).push(failure);
                    }
                }
            });
        }
    });
    let failures = lock(&failures);
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
    let peak = peak_memory_kb();
    assert!(
        peak < MOST_MEMORY_KB,
        "the checks held {peak} kB, {MOST_MEMORY_KB} are the most"
    );
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stops at the first input that fails.
fn run(target: &Target) -> Result<(), String> {
    let mut inputs = Vec::new();
    for folder in [corpus::seeds(target.name), corpus::regressions(target.name)] {
        inputs.extend(corpus::files(&folder).expect("the corpus can be read"));
    }
    for (_, input) in &inputs {
        holds(target, input)?;
    }
    let inputs: Vec<Vec<u8>> = inputs.into_iter().map(|(_, bytes)| bytes).collect();
    // Each target has numbers of its own, so that one more target changes no other's inputs.
    let mut random = Random::new(hash(target.name.as_bytes()));
    for _ in 0..target.mutations {
        let input = &inputs[random.below(inputs.len())];
        holds(target, &mutated(input, &inputs, &mut random))?;
    }
    Ok(())
}

fn holds(target: &Target, input: &[u8]) -> Result<(), String> {
    let began = cpu_seconds();
    let checked = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    let took = cpu_seconds() - began;
    let problem = match checked {
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
            words.unwrap_or("it panicked").chars().take(600).collect()
        }
        Ok(_) if took > MOST_SECONDS => format!("it took {took} s, {MOST_SECONDS} are the most"),
        Ok(_) => return Ok(()),
    };
    let kept = kept(target, input);
    Err(format!(
        "{}: {problem}\n  the input is in {}; docs/fuzzing.md tells how to go on with it",
        target.name,
        kept.display()
    ))
}

/// FNV-1a: a name for bytes.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Keeps an input that failed, under a name that the same input has again.
fn kept(target: &Target, input: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "{}-{:016x}",
        target.name,
        hash(input)
    ));
    fs::write(&path, input).expect("the folder of builds can be written");
    path
}

/// Of this thread: what others do on the machine doesn't count.
fn cpu_seconds() -> i64 {
    clock_gettime(ClockId::ThreadCPUTime).tv_sec
}

/// The most that this process ever had in memory.
fn peak_memory_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let digits = line.and_then(|line| line.trim().strip_suffix(" kB"));
    digits
        .and_then(|digits| digits.trim().parse().ok())
        .expect("it is a number of kB")
}

#[test]
fn a_target_that_fails_is_named_with_its_input() {
    let target = Target {
        name: "no_target",
        check: |bytes| {
            assert!(bytes.len() < 3, "three bytes are too many");
            cloudai_fuzzing::Verdict::Accepted
        },
        seeds: Vec::new,
        mutations: 0,
    };

    let failure = holds(&target, b"abc").unwrap_err();

    assert!(
        failure.contains("no_target: three bytes are too many"),
        "{failure}"
    );
    let path = kept(&target, b"abc");
    assert!(failure.contains(&*path.to_string_lossy()), "{failure}");
    assert_eq!(fs::read(path).unwrap(), b"abc");
}
