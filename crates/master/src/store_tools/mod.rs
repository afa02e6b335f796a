//! The subcommands of `master-node` that look after a store: they take the settings of a master, do
//! one thing and end. No master is started.

mod asked;
mod progress;
mod words;

use std::{
    future::Future,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use cloudai_archive::{BackupRequest, RestoreRequest, StorePlace, backup, check, copy, restore};
use cloudai_config::Surroundings;
use cloudai_operator::with_causes;
use cloudai_store::JournaledStore;
use tokio::signal::unix::{SignalKind, signal};

pub use self::asked::{OVERVIEW, Tool};
use self::{
    asked::{AskError, Asked, Kind},
    progress::on_stderr,
};
use crate::settings::{Settings, SettingsError, StoreKind};

/// The settings that each of them shows in its help.
const SHOWN: &[&str] = &["data-dir", "store"];

/// Ends as a shell says that Ctrl-C ended it.
const INTERRUPTED: u8 = 130;

/// Why it did not come to its end.
#[derive(Debug)]
enum Failed {
    /// In one line.
    Because(String),
    /// By a signal; what is left, and how to go on.
    Interrupted(&'static str),
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Because(with_causes(&error))
    }
}

/// Runs one of them to its end: its exit code.
#[must_use]
pub fn run(tool: Tool, surroundings: &Surroundings) -> ExitCode {
    let asked = match Asked::read(tool, surroundings) {
        Ok(asked) => asked,
        Err(AskError::Settings(SettingsError::Load(error))) => return error.report(),
        Err(error) => return fail(&error.to_string(), 2),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no threads can be started: {error}"), 1),
    };
    let ended = runtime.block_on(carry_out(asked));
    // What an interrupted one is at is in nobody's way.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code,
        Err(Failed::Because(reason)) => fail(&reason, 1),
        Err(Failed::Interrupted(left)) => fail(&format!("interrupted: {left}"), INTERRUPTED),
    }
}

async fn carry_out(asked: Asked) -> Result<ExitCode, Failed> {
    match asked {
        Asked::Overview => {
            say(OVERVIEW);
            Ok(ExitCode::SUCCESS)
        }
        Asked::Check { settings } => check_store(&settings).await,
        Asked::Copy {
            settings,
            from,
            to,
            to_data_dir,
        } => {
            let to_data_dir = to_data_dir.unwrap_or_else(|| settings.data_dir.clone());
            let from = place_of(&settings, from, &settings.data_dir);
            let to = place_of(&settings, to, &to_data_dir);
            refuse_journal(&settings, &from)?;
            copy_store(from, to).await
        }
        Asked::Backup {
            settings,
            to,
            logs_and_files,
        } => {
            let place = meant(&settings)?;
            refuse_journal(&settings, &place)?;
            let request = BackupRequest {
                place,
                data_dir: settings.data_dir.clone(),
                to,
                logs_and_files,
                program: crate::VERSION.to_owned(),
                at: cloudai_clock::now().wall,
            };
            back_up(request).await
        }
        Asked::Restore { settings, from } => {
            let request = RestoreRequest {
                from,
                place: meant(&settings)?,
                data_dir: settings.data_dir.clone(),
                at: cloudai_clock::now().wall,
            };
            restore_all(request).await
        }
    }
}

/// The store that the settings mean.
fn meant(settings: &Settings) -> Result<StorePlace, Failed> {
    let kind = match settings.store {
        StoreKind::Sqlite => Kind::Sqlite,
        StoreKind::MongoDb { .. } => Kind::Mongodb,
        StoreKind::Memory => {
            let reason = "-store memory keeps nothing: expected -store sqlite or mongodb";
            return Err(Failed::Because(reason.to_owned()));
        }
    };
    Ok(place_of(settings, kind, &settings.data_dir))
}

fn place_of(settings: &Settings, kind: Kind, data_dir: &Path) -> StorePlace {
    match kind {
        Kind::Sqlite => StorePlace::Sqlite(data_dir.to_owned()),
        Kind::Mongodb => StorePlace::Mongo(Box::new(settings.mongodb.clone())),
    }
}

/// What a master that is cut off from its MongoDB owes it, if it owes it something: then the database
/// alone is not all that was answered.
fn journal(settings: &Settings, place: &StorePlace) -> Option<PathBuf> {
    match place {
        StorePlace::Mongo(_) => JournaledStore::left_in(&settings.data_dir),
        StorePlace::Sqlite(_) => None,
    }
}

fn refuse_journal(settings: &Settings, place: &StorePlace) -> Result<(), Failed> {
    match journal(settings, place) {
        None => Ok(()),
        Some(journal) => Err(Failed::Because(format!(
            "the journal {journal:?} holds changes that were answered and that the MongoDB lacks: \
             expected a master that is not degraded, or was not when it ended; `status` shows it"
        ))),
    }
}

async fn check_store(settings: &Settings) -> Result<ExitCode, Failed> {
    let place = meant(settings)?;
    let checking = check(&place, &settings.data_dir, on_stderr());
    let checked = until_interrupted(checking, "nothing was changed").await??;
    say(&words::checked(&checked));
    if let Some(journal) = journal(settings, &place) {
        say(&format!(
            "⚠ Not all that was answered is there: the journal {journal:?} holds what the master owes it"
        ));
    }
    Ok(match checked.findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn copy_store(from: StorePlace, to: StorePlace) -> Result<ExitCode, Failed> {
    let copying = copy(&from, &to, on_stderr());
    let left = "the new store is half filled, and no master takes it; the same command begins anew";
    let copied = until_interrupted(copying, left).await??;
    say(&words::copied(&copied));
    Ok(ExitCode::SUCCESS)
}

async fn back_up(request: BackupRequest) -> Result<ExitCode, Failed> {
    let to = request.to.clone();
    let backing_up = backup(request, on_stderr());
    let left = "there is no backup";
    let made = until_interrupted(backing_up, left).await;
    if made.is_err() {
        cloudai_archive::remove_unfinished(&to);
    }
    say(&words::backed_up(&made??, &to));
    Ok(ExitCode::SUCCESS)
}

async fn restore_all(request: RestoreRequest) -> Result<ExitCode, Failed> {
    let data_dir = request.data_dir.clone();
    let restoring = restore(request, on_stderr());
    let left = "what is half restored is refused by every master; the same command begins anew";
    let restored = until_interrupted(restoring, left).await??;
    say(&words::restored(&restored, &data_dir));
    Ok(ExitCode::SUCCESS)
}

/// Waits for the work, or for a signal that asks for the end.
async fn until_interrupted<T>(
    work: impl Future<Output = T>,
    left: &'static str,
) -> Result<T, Failed> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = work => Ok(done),
        _ = terminate.recv() => Err(Failed::Interrupted(left)),
        _ = interrupt.recv() => Err(Failed::Interrupted(left)),
    }
}

/// To the operator.
fn say(text: &str) {
    // With stdout gone there is nobody to tell.
    let _ = writeln!(io::stdout(), "{text}");
}

fn fail(reason: &str, code: u8) -> ExitCode {
    // With stderr gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "error: {reason}");
    ExitCode::from(code)
}
