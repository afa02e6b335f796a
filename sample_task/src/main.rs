//! The sample task: estimates pi in steps, says how far it is, and leaves its result in `/output/result.json`.
//!
//! It shows all that a task needs to be: a program that prints, writes to `/output` and ends with exit code 0.
//! It knows nothing of CloudAI and has no dependencies.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// Points thrown at the unit square in each step.
const POINTS_PER_STEP: u64 = 2_000_000;

/// What the environment may change.
struct Settings {
    /// `STEPS`: how many steps to run.
    steps: u64,
    /// `STEP_MS`: the least time that a step takes, in milliseconds, so that there is something to watch.
    step_ms: u64,
    /// `SEED`: the same seed gives the same result.
    seed: u64,
    /// `OUTPUT_DIR`: where the result goes; another folder than `/output` is for trying it outside a container.
    output_dir: PathBuf,
}

impl Settings {
    fn from_env() -> Result<Self, String> {
        Ok(Self {
            steps: whole_number("STEPS", 5)?.max(1),
            step_ms: whole_number("STEP_MS", 400)?,
            seed: whole_number("SEED", 42)?,
            output_dir: env::var_os("OUTPUT_DIR").map_or_else(|| "/output".into(), PathBuf::from),
        })
    }
}

fn whole_number(name: &str, default: u64) -> Result<u64, String> {
    match env::var(name) {
        Err(_) => Ok(default),
        Ok(text) => text.parse().map_err(|_| {
            format!("{name}: expected a whole number such as {default}, got `{text}`")
        }),
    }
}

/// George Marsaglia's xorshift64* (with Vigna's multiplier): a few shifts are random enough to throw points.
struct Xorshift(u64);

impl Xorshift {
    fn new(seed: u64) -> Self {
        // The state may not be zero; an odd multiplier keeps different seeds apart.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Evenly spread over 0 to 1, 1 excluded.
    fn next_unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

/// How many of `points` random points of the unit square lie within the quarter circle.
fn points_inside(random: &mut Xorshift, points: u64) -> u64 {
    (0..points)
        .filter(|_| {
            let (x, y) = (random.next_unit(), random.next_unit());
            x * x + y * y < 1.0
        })
        .count() as u64
}

fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    println!(
        "sample-task {} on {}",
        env!("CARGO_PKG_VERSION"),
        host.trim()
    );
    println!(
        "Estimating pi: {} steps of {POINTS_PER_STEP} points, seed {}",
        settings.steps, settings.seed
    );
    eprintln!("(this line goes to stderr, the others to stdout)");

    let started = Instant::now();
    let mut random = Xorshift::new(settings.seed);
    let (mut inside, mut points) = (0, 0);
    let mut estimate = 0.0;
    for step in 1..=settings.steps {
        let step_started = Instant::now();
        inside += points_inside(&mut random, POINTS_PER_STEP);
        points += POINTS_PER_STEP;
        estimate = 4.0 * inside as f64 / points as f64;
        thread::sleep(
            Duration::from_millis(settings.step_ms).saturating_sub(step_started.elapsed()),
        );
        println!(
            "[{step}/{}] {:3}%  pi is about {estimate:.6}",
            settings.steps,
            100 * step / settings.steps
        );
    }

    let result = format!(
        "{{\n  \"program\": \"sample-task\",\n  \"steps\": {},\n  \"points\": {points},\n  \"seed\": {},\n  \
         \"pi_estimate\": {estimate:.9},\n  \"error\": {:.9},\n  \"elapsed_ms\": {}\n}}\n",
        settings.steps,
        settings.seed,
        (estimate - std::f64::consts::PI).abs(),
        started.elapsed().as_millis(),
    );
    fs::create_dir_all(&settings.output_dir)?;
    let path = settings.output_dir.join("result.json");
    fs::write(&path, result)
        .map_err(|error| format!("could not write {}: {error}", path.display()))?;
    println!("Result written to {}", path.display());
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sample-task: {error}");
            ExitCode::FAILURE
        }
    }
}
