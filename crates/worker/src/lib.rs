//! `worker-node`: runs tasks as containers on one machine.
//!
//! The core (`cloudai-worker-core`) decides; this program wraps the Docker Engine, the disk and
//! the wire around it. `worker.rs` puts the parts together. It is a library for the fuzzing of its
//! readers alone; nothing is built upon it.

mod auth;
mod backoff;
mod console;
mod container;
mod context;
mod core_loop;
mod data_dir;
mod disk;
mod engine_link;
mod fetch;
#[doc(hidden)]
pub mod fuzzing;
mod images;
mod listen;
mod logs;
mod master_link;
mod report;
mod runner;
mod server;
mod settings;
mod spool;
mod storage;
mod sweep;
mod upload;
mod worker;

use std::process::ExitCode;

use cloudai_config::Surroundings;
use tracing_subscriber::EnvFilter;

use crate::settings::Settings;

/// Two threads serve a worker well and keep it small.
const THREADS: usize = 2;
/// Threads for what blocks: flushes, folders, files. They end when they are idle.
const BLOCKING_THREADS: usize = 64;

/// The program: from the settings of this process to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let settings = match Settings::load(&Surroundings::of_this_process()) {
        Ok(settings) => settings,
        Err(error) => return error.report(),
    };
    if let Err(problem) = begin_logging(&settings.log_level) {
        console::fatal(problem);
        return ExitCode::from(2);
    }
    end_at_any_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build();
    let ran = match runtime {
        Ok(runtime) => {
            let ran = runtime.block_on(worker::run(settings));
            // What still runs is safe in the spool, and goes on with the next start.
            runtime.shutdown_background();
            ran.map_err(|error| error.to_string())
        }
        Err(error) => Err(format!("no threads: {error}")),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::fatal(error);
            ExitCode::FAILURE
        }
    }
}

/// A part that panics would leave its attempt hanging. All of it is safe in the spool: the next start
/// takes it up.
fn end_at_any_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        console::fatal("a part of the worker failed; running containers go on: start it again");
        std::process::exit(101);
    }));
}

fn log_filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(level).map_err(|error| {
        format!("log level {level:?} is not valid: {error}; expected error, warn, info or debug")
    })
}

fn begin_logging(level: &str) -> Result<(), String> {
    tracing_subscriber::fmt()
        .with_env_filter(log_filter(level)?)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}
