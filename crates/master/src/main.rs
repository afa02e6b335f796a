//! `master-node`: the coordinator of a cluster.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    sync::Arc,
};

use cloudai_config::Surroundings;
use cloudai_master::{
    front_end::FrontEnd,
    settings::{Settings, SettingsError},
    startup::{self, Running},
};
use cloudai_operator::with_causes;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Threads that serve calls; the store has its own.
const THREADS: usize = 2;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let settings = match Settings::load(&Surroundings::of_this_process()) {
        Ok(settings) => settings,
        Err(SettingsError::Load(error)) => return error.report(),
        Err(error) => return fail(&error.to_string(), 2),
    };
    if let Err(reason) = start_logging(&settings.log_level) {
        return fail(&reason, 2);
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(THREADS).enable_all().build();
    let ended = match &runtime {
        Ok(runtime) => runtime.block_on(run(&settings)),
        Err(error) => Err(format!("no threads can be started: {error}")),
    };
    if let Ok(runtime) = runtime {
        // Reading stdin can't be called off; nobody waits for it.
        runtime.shutdown_background();
    }
    match ended {
        Ok(code) => code,
        Err(reason) => fail(&reason, 1),
    }
}

/// Runs the master to its end: its exit code, or why it failed in one line. What the operator
/// reads goes to stdout, diagnostics go to stderr.
async fn run(settings: &Settings) -> Result<ExitCode, String> {
    let mut signals = Signals::listen().map_err(|error| with_causes(&error))?;
    let store = startup::open_store(settings).map_err(|error| with_causes(&error))?;
    let mut front_end = FrontEnd::open(settings).map_err(|error| with_causes(&error))?;
    let output = front_end.output.clone();
    output.news(format!("✓ Store ready: {}", store.describe()));
    let mut running = startup::start(settings, store)
        .await
        .map_err(|error| with_causes(&error))?;
    for (service, address) in &running.master.services {
        output.news(format!("✓ {service} server listening on {address}"));
    }

    let ended = match until_ready(&mut running, &mut signals).await {
        Ok(true) => {
            let loaded = running.master.snapshots.latest().workers.len();
            if loaded > 0 {
                output.news(format!("Loaded {loaded} workers from database"));
            }
            until_the_end(&mut running, &mut front_end, &mut signals).await
        }
        Ok(false) => Ok(ExitCode::SUCCESS),
        Err(reason) => Err(reason),
    };
    front_end.close().await;
    running.shut_down().await;
    ended
}

/// Waits until the store has been read; whether it was, before a signal asked for the end.
async fn until_ready(running: &mut Running, signals: &mut Signals) -> Result<bool, String> {
    tokio::select! {
        () = signals.asks_to_end(false) => Ok(false),
        ready = running.ready() => ready.map(|()| true),
    }
}

/// Waits for a command, a signal or a failure that ends the master.
async fn until_the_end(
    running: &mut Running,
    front_end: &mut FrontEnd,
    signals: &mut Signals,
) -> Result<ExitCode, String> {
    let owns_interrupts = front_end.owns_interrupts();
    let operator = Arc::clone(&running.master);
    tokio::select! {
        exit = front_end.run(operator) => match exit {
            // On a terminal the operator has seen what failed.
            Ok(exit) if exit.failures == 0 || owns_interrupts => Ok(ExitCode::SUCCESS),
            Ok(_) => Ok(ExitCode::FAILURE),
            Err(error) => Err(with_causes(&error)),
        },
        () = signals.asks_to_end(owns_interrupts) => Ok(ExitCode::SUCCESS),
        reason = running.failed() => Err(reason),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn asks_to_end(&mut self, console_owns_interrupts: bool) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => if !console_owns_interrupts { return },
            }
        }
    }
}

fn start_logging(level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        format!(
            "-log-level {level:?} is not valid: {error}; expected error, warn, info, debug or trace"
        )
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
    Ok(())
}

/// One line on stderr, and the exit code.
fn fail(reason: &str, code: u8) -> ExitCode {
    // With stderr gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {reason}");
    ExitCode::from(code)
}
