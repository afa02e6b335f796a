//! `master-node`: the coordinator of a cluster.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    sync::Arc,
};

use cloudai_config::Surroundings;
use cloudai_console::Output;
use cloudai_master::{
    accounts::ToShow,
    diagnostics::Diagnostics,
    front_end::FrontEnd,
    operations::Master,
    settings::{Settings, SettingsError},
    startup::{self, Running},
    store_news,
    store_tools::{self, Tool},
};
use cloudai_operator::with_causes;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Threads that serve calls; the store has its own.
const THREADS: usize = 2;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let surroundings = Surroundings::of_this_process();
    if let Some(tool) = Tool::asked_for(&surroundings.args) {
        return store_tools::run(tool, &surroundings);
    }
    let settings = match Settings::load(&surroundings) {
        Ok(settings) => settings,
        Err(SettingsError::Load(error)) => return error.report(),
        Err(error) => return fail(&error.to_string(), 2),
    };
    let diagnostics = Diagnostics::default();
    if let Err(reason) = start_logging(&settings.log_level, &diagnostics) {
        return fail(&reason, 2);
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(THREADS).enable_all().build();
    let ended = match &runtime {
        Ok(runtime) => runtime.block_on(run(&settings, &diagnostics)),
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
async fn run(settings: &Settings, diagnostics: &Diagnostics) -> Result<ExitCode, String> {
    let mut signals = Signals::listen().map_err(|error| with_causes(&error))?;
    let store = tokio::select! {
        store = startup::open_store(settings) => store.map_err(|error| with_causes(&error))?,
        () = signals.asks_to_end(false) => return Ok(ExitCode::SUCCESS),
    };
    let mut front_end = FrontEnd::open(settings).map_err(|error| with_causes(&error))?;
    let output = front_end.output.clone();
    if front_end.owns_interrupts() && io::stderr().is_terminal() {
        // The same screen: they must not break the line being typed.
        diagnostics.go_to(Some(output.clone()));
    }
    if store.is_there() {
        output.news(format!("✓ Store ready: {}", store.store.describe()));
    }
    let mut running = startup::start(settings, store)
        .await
        .map_err(|error| with_causes(&error))?;
    for (service, address) in &running.master.services {
        output.news(format!("✓ {service} server listening on {address}"));
    }

    tokio::spawn(store_news::announce(running.master.clone(), output.clone()));
    tell_first_admin(&mut running, &output);
    let ended = match until_usable(&mut running, &mut signals, &output).await {
        Ok(true) => until_the_end(&mut running, &mut front_end, &mut signals).await,
        Ok(false) => Ok(ExitCode::SUCCESS),
        Err(reason) => Err(reason),
    };
    diagnostics.go_to(None);
    front_end.close().await;
    running.shut_down().await;
    ended
}

/// Waits until the store has been read, or is found to be out of reach; whether it came to that
/// before a signal asked for the end.
async fn until_usable(
    running: &mut Running,
    signals: &mut Signals,
    output: &Output,
) -> Result<bool, String> {
    let master = Arc::clone(&running.master);
    let mut is_read = running.is_read();
    tokio::select! {
        () = signals.asks_to_end(false) => return Ok(false),
        ready = running.ready() => {
            ready?;
            tell_what_was_loaded(&master, output);
        }
        () = store_news::out_of_reach(&master) => {
            let output = output.clone();
            tokio::spawn(async move {
                if is_read.wait_for(|it| *it).await.is_ok() {
                    tell_what_was_loaded(&master, &output);
                }
            });
        }
    }
    Ok(true)
}

/// Shows the password of the admin that a first start makes, and says when it is there to be read.
fn tell_first_admin(running: &mut Running, output: &Output) {
    let (_, nobody) = tokio::sync::mpsc::channel(1);
    let mut first = std::mem::replace(&mut running.admission.first_admin, nobody);
    let output = output.clone();
    tokio::spawn(async move {
        while let Some(ToShow { first, shown }) = first.recv().await {
            let (user, password) = (first.user, first.password.expose());
            output.news(format!(
                "✓ User {user} was made with the password {password} (shown this once)"
            ));
            output.flush().await;
            // Whoever waits for it goes when the master ends.
            let _ = shown.send(()).is_ok();
        }
    });
}

fn tell_what_was_loaded(master: &Master, output: &Output) {
    let loaded = master.snapshots.latest().workers.len();
    if loaded > 0 {
        output.news(format!("Loaded {loaded} workers from database"));
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
    let accounts = running.admission.accounts.clone();
    tokio::select! {
        ended = front_end.run(operator, accounts) => ended.map_err(|error| with_causes(&error))?,
        () = signals.asks_to_end(owns_interrupts) => {}
        reason = running.failed() => return Err(reason),
    }
    Ok(match front_end.owes_failure() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal is gone; `None` under `nohup`.
    hangup: Option<Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let hangup = match hangups_are_ignored() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
            hangup,
        })
    }

    async fn asks_to_end(&mut self, console_owns_interrupts: bool) {
        loop {
            let hangup = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = hangup => return,
                _ = self.interrupt.recv() => if !console_owns_interrupts { return },
            }
        }
    }
}

/// Whether whoever started this process wants it to outlive the terminal.
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Its lowest bit is signal 1, the hangup.
    mask.is_some_and(|mask| mask & 1 == 1)
}

fn start_logging(level: &str, diagnostics: &Diagnostics) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        format!(
            "-log-level {level:?} is not valid: {error}; expected error, warn, info, debug or trace"
        )
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(diagnostics.clone())
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
    Ok(())
}

/// One line on stderr, and the exit code.
fn fail(reason: &str, code: u8) -> ExitCode {
    // With stderr gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "error: {reason}");
    ExitCode::from(code)
}
