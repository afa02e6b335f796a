//! Puts the parts of a worker together, and takes them apart when it is told to end.

use std::{sync::Arc, time::Duration};

use cloudai_config::ListenAddr;
use cloudai_engine::CredentialStore;
use cloudai_model::{Capacity, ClusterId, IdError, Phase, resources::CapacityError};
use cloudai_telemetry::DetectError;
use cloudai_worker_core::{Input, Settings as CoreSettings, WorkerCore};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    time::{Instant, timeout},
};

use crate::{
    auth::Gate,
    console,
    context::Context,
    core_loop::{self, CoreHandle},
    data_dir::{DataDir, DataDirError},
    disk,
    engine_link::{self, EngineLink},
    images::{self, Images},
    listen,
    listen::ListenError,
    logs::Logs,
    master_link::{Bearer, Keeper, KeeperParts, MasterLink, TokenError},
    runner::Runner,
    server::WorkerService,
    settings::Settings,
    spool::{Spool, SpoolError},
    sweep,
};

/// How long the first try to register may hold up the lines that follow it.
const FIRST_TRY: Duration = Duration::from_secs(2);
/// How long calls under way get when the worker ends.
const CALLS_GRACE: Duration = Duration::from_secs(2);
/// How long the master gets to hear that this worker ends.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// How long stopped tasks get beyond their grace to be reported.
const REPORTS_GRACE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_secs(1);

/// Why a worker can't work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("the spool can't be used: {0}")]
    Spool(#[from] SpoolError),
    #[error("{0}")]
    Detect(#[from] DetectError),
    #[error("what this worker offers is not valid: {0}")]
    Offer(#[from] CapacityError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
    #[error("signals can't be taken: {0}")]
    Signal(std::io::Error),
    #[error("the gRPC server failed: {0}")]
    Server(#[from] tonic::transport::Error),
    /// The data directory's identity is not as this program writes it.
    #[error("the file identity in the data directory is not valid: {0}")]
    Identity(#[from] IdError),
    /// A part that must not end has ended.
    #[error("{0} has failed: {1}; running containers go on and are taken up at the next start")]
    Failed(&'static str, tokio::task::JoinError),
}

/// Runs a worker until it is told to end.
pub(crate) async fn run(mut settings: Settings) -> Result<(), WorkerError> {
    let data_dir = DataDir::hold(&settings.data_dir)?;
    let (listener, address) = listen::bind(&settings.listen).await?;
    if settings.listen.port() == 0 {
        settings.listen = ListenAddr::Address(address);
    }
    let spool = Spool::open(&data_dir.spool())?;
    let bearer = Bearer::new(settings.token.as_deref())?;
    let incarnation = getrandom::u64().map_err(WorkerError::Random)?;
    let home = data_dir.identity(&format!("{incarnation:016x}"))?;
    // Old masters don't name their cluster. What this labels is known by the spool in the same
    // folder; a master's address may change.
    let old_cluster: ClusterId = format!("old-{home}").parse()?;
    let mut signals = Signals::listen()?;
    let gate = Gate::new(settings.token.as_deref(), settings.insecure);
    let settings = Arc::new(settings);

    let (core, inbox) = core_loop::channel();
    let (engine, engine_kept) = engine_link::open(settings.docker_host.clone(), core.clone()).await;
    let detected = cloudai_telemetry::detect(&settings.data_dir)?;
    let capacity = settings.offer.complete(&offerable(detected, &engine))?;
    let (keeper, master, first_tried) = Keeper::new(KeeperParts {
        settings: settings.clone(),
        capacity,
        bearer,
        core: core.clone(),
        incarnation: format!("{incarnation:016x}"),
        old_cluster: old_cluster.clone(),
        home,
    });
    let context = Context {
        settings: settings.clone(),
        core: core.clone(),
        logs: Logs::new(spool.clone(), engine.clone()),
        spool,
        engine: engine.clone(),
        master: master.clone(),
        old_cluster,
        credentials: Arc::new(credentials()),
        unshared_files: Arc::default(),
        uploads: Arc::new(tokio::sync::Semaphore::new(crate::upload::AT_A_TIME)),
        fetches: Arc::new(tokio::sync::Semaphore::new(crate::fetch::AT_A_TIME)),
        images: Images::open(&settings.data_dir),
        made: Arc::default(),
    };
    adopt(&context)?;
    let mut core_loop = tokio::spawn(core_loop::run(
        WorkerCore::new(CoreSettings {
            orphan_grace: settings.orphan_grace,
            ..CoreSettings::new(capacity)
        }),
        inbox,
        Runner::new(context.clone()),
    ));
    tokio::spawn(tick(core.clone()));
    tokio::spawn(engine_kept);
    tokio::spawn(sweep::keep(context.clone()));
    tokio::spawn(images::keep(context.clone()));
    tokio::spawn(disk::watch(context.clone()));
    tokio::spawn(keeper.keep());

    let (stop, stopped) = watch::channel(false);
    let serving = listen::serve(
        listener,
        WorkerService::new(context.clone()),
        gate,
        until(stopped),
    );
    let mut serving = tokio::spawn(serving);
    tokio::spawn(greet(
        first_tried,
        settings.clone(),
        master.clone(),
        engine.clone(),
    ));

    tokio::select! {
        served = &mut serving => return match served {
            Ok(served) => Ok(served?),
            Err(panic) => Err(WorkerError::Failed("the gRPC server", panic)),
        },
        Err(panic) = &mut core_loop => return Err(WorkerError::Failed("the core", panic)),
        () = signals.next() => {}
    }
    console::line(if context.settings.stop_tasks {
        "Shutting down; running containers are stopped"
    } else {
        "Shutting down; running containers go on and are taken up again at the next start"
    });
    tokio::select! {
        () = end(&context) => {}
        // Who asks twice doesn't want to wait.
        () = signals.next() => {}
    }
    // The server ends by itself when all its calls have.
    let _ = stop.send(true).is_ok();
    let _ = timeout(CALLS_GRACE, serving).await.is_ok();
    drop(data_dir);
    Ok(())
}

/// What can be offered of what this machine has: of an engine elsewhere, its own cores and memory.
fn offerable(detected: Capacity, engine: &EngineLink) -> Capacity {
    let Some(elsewhere) = engine.now().filter(|engine| !engine.is_local()) else {
        return detected;
    };
    let info = elsewhere.info();
    Capacity {
        cpu_milli: u64::from(info.cpus) * 1000,
        memory_bytes: info.memory_bytes,
        ..detected
    }
}

/// Tells the core what an earlier process left in the spool, before anything else.
fn adopt(context: &Context) -> Result<(), SpoolError> {
    let found = context.spool.read()?;
    for note in &found.notes {
        console::line(format_args!("⚠ {note}"));
    }
    let count = found.records.len() + found.stateless.len();
    if count > 0 {
        console::line(format_args!("Taking up {count} task(s) of an earlier run"));
    }
    for record in found.records {
        context.logs.adopt(record.attempt(), record.end.is_some());
        context.core.tell(Input::Adopt(Box::new(record)));
    }
    for (order, problem) in found.stateless {
        context.logs.adopt(&order.attempt, false);
        let order = Box::new(order);
        context.core.tell(Input::AdoptDamaged { order, problem });
    }
    for attempt in found.lost {
        context.core.tell(Input::AdoptLost(attempt));
    }
    context.core.tell(Input::AdoptTombstones(found.tombstones));
    context.core.tell(Input::AdoptionDone);
    Ok(())
}

/// Shows that the worker is up, after the outcome of its first try to register; and that it is
/// ready, once it is registered and has an engine.
async fn greet(
    first_tried: oneshot::Receiver<()>,
    settings: Arc<Settings>,
    master: MasterLink,
    engine: EngineLink,
) {
    let _ = timeout(FIRST_TRY, first_tried).await.is_ok();
    console::line(format_args!(
        "✓ gRPC server listening on {}",
        settings.listen
    ));
    master.ready().await;
    engine.ready().await;
    console::line("✓ Ready to receive tasks...");
}

async fn tick(core: CoreHandle) {
    loop {
        tokio::time::sleep(TICK).await;
        core.tell(Input::Tick);
    }
}

/// The signals that tell the worker to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, WorkerError> {
        let listen = |kind| signal(kind).map_err(WorkerError::Signal);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone stops it, too.
    let _ = stopped.wait_for(|stopped| *stopped).await.is_ok();
}

/// Takes nothing new; with `-stop-tasks` stops what runs and waits until that is reported.
async fn end(context: &Context) {
    let stop_tasks = context.settings.stop_tasks;
    context.core.tell(Input::Shutdown { stop_tasks });
    let _ = timeout(FAREWELL_LIMIT, context.master.say_farewell())
        .await
        .is_ok();
    if !stop_tasks {
        return;
    }
    let Ok(view) = context.core.look().await else {
        return;
    };
    let grace = view.held.iter().map(|held| held.stop_grace).max();
    let deadline = Instant::now() + grace.unwrap_or_default() + REPORTS_GRACE;
    while Instant::now() < deadline {
        let Ok(view) = context.core.look().await else {
            return;
        };
        let owed = view.held.iter().any(|held| held.phase != Phase::Done);
        if !owed {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    console::line("⚠ not every stopped task could be reported; the next start goes on with it");
}

fn credentials() -> CredentialStore {
    let folder = |name| std::env::var_os(name).map(std::path::PathBuf::from);
    CredentialStore::from_settings(
        folder("DOCKER_CONFIG").as_deref(),
        folder("HOME").as_deref(),
    )
}
