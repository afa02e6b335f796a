//! From settings to a serving master, and back: each thing is opened in turn, and what fails is
//! told in one line.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cloudai_config::ListenAddr;
use cloudai_core::{Core, policy};
use cloudai_files::{
    log::LogStore,
    output::{OutputStore, StoreError},
};
use cloudai_http::TlsError;
use cloudai_metrics::{Metrics, Tally, history::History};
use cloudai_model::ClusterId;
use cloudai_operator::with_causes;
use cloudai_store::{
    JournalSettings, JournaledOpenError, JournaledStore, MemoryStore, OpenError, SqliteStore,
    Store, Unfinished,
};
use tokio::{
    net::TcpListener,
    sync::{broadcast, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::warn;

use crate::{
    coming_in::{Admission, admit, serve_http},
    core_loop::{self, LoopError},
    effects::{EVENT_BACKLOG, EffectRunner},
    grpc::{self, AgentService, ClusterService, Gate, ServeError},
    intake::Intake,
    live::LiveTasks,
    logs::{LogFollowers, LogFollowersSetup},
    operations::{Journaled, Master, SubmitKeys},
    retention::{Kept, Retention, RetentionSetup},
    room::Room,
    settings::{Settings, StoreKind},
    snapshot::Snapshots,
    specs::Specs,
    token::{SecretError, Tokens},
    workers::{Workers, WorkersSetup},
};

/// How long calls under way have to end when the master shuts down.
const CALLS_END_WITHIN: Duration = Duration::from_secs(3);
/// So long the end waits for a store that takes no records of the audit.
const AUDITED_WITHIN: Duration = Duration::from_secs(3);

/// Why the master did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory can't be used.
    #[error(
        "the data directory {path} can't be used: {source}; expected one that can be written, see -data-dir"
    )]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store in MongoDB can't be opened.
    #[error(transparent)]
    Journaled(#[from] JournaledOpenError),
    /// Another kind of store was used with this data directory, and nobody said that it shall not
    /// be any more.
    #[error(
        "{variable} is set, but the data directory {path:?} holds a SQLite store with tasks: \
         expected -store mongodb or -store sqlite, to say which is meant"
    )]
    TwoStores {
        /// The variable that points to a MongoDB.
        variable: &'static str,
        /// The data directory.
        path: PathBuf,
    },
    /// What was answered lies in a journal for a MongoDB.
    #[error(
        "the journal {0:?} holds changes that were answered and that only MongoDB can take: \
         expected -store mongodb until it is gone, or the journal moved away to go on without them"
    )]
    JournalLeft(PathBuf),
    /// The secret can't be read or made.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Output files can't be kept.
    #[error("the files directory can't be used")]
    Files(#[from] StoreError),
    /// A port is taken, or not ours to take.
    #[error("{service} can't be served on {address}: {source}; choose another with {flag}")]
    Listen {
        /// gRPC or HTTP.
        service: &'static str,
        /// Where.
        address: ListenAddr,
        /// Its flag.
        flag: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// HTTP can't be served over TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No random number is to be had for the cluster's id.
    #[error("this machine gives no random numbers: {0}")]
    Random(std::io::Error),
}

/// A serving master.
pub struct Running {
    /// What its front ends see.
    pub master: Arc<Master>,
    /// Whether the store has been read.
    is_read: watch::Receiver<bool>,
    core_loop: JoinHandle<Result<(), LoopError>>,
    grpc_server: JoinHandle<Result<(), ServeError>>,
    http_server: JoinHandle<()>,
    /// Who may come in, once that is known.
    pub admission: Admission,
    shutdown: watch::Sender<bool>,
}

/// A store that is open.
pub struct OpenStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The same, if its database may be out of reach.
    pub journaled: Option<Arc<JournaledStore>>,
}

impl OpenStore {
    /// Whether it can be read and written.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let away = self.journaled.as_ref().and_then(|store| store.degraded());
        away.is_none()
    }

    fn new(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            journaled: None,
        }
    }
}

/// Opens the store named in the settings. A MongoDB that is out of reach is tried for a while, and
/// then gone on without, unless it is required.
///
/// # Errors
/// See [`StartError`].
pub async fn open_store(settings: &Settings) -> Result<OpenStore, StartError> {
    let path = settings.data_dir.clone();
    // Logs, files and the secret are nobody else's on this machine.
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path);
    made.map_err(|source| StartError::DataDir { path, source })?;
    // SQLite's own opening would say so, too, but not the others'.
    refuse_unfinished(&settings.data_dir)?;
    if !matches!(settings.store, StoreKind::MongoDb { .. })
        && let Some(journal) = JournaledStore::left_in(&settings.data_dir)
    {
        return Err(StartError::JournalLeft(journal));
    }
    Ok(match settings.store {
        StoreKind::Sqlite => OpenStore::new(SqliteStore::open(&settings.data_dir)?),
        StoreKind::Memory => OpenStore::new(MemoryStore::new()),
        StoreKind::MongoDb { because } => {
            if let Some(variable) = because
                && SqliteStore::holds_tasks(&settings.data_dir)
            {
                let path = settings.data_dir.clone();
                return Err(StartError::TwoStores { variable, path });
            }
            let journal = JournalSettings {
                data_dir: settings.data_dir.clone(),
                required: settings.store_required,
                journal_after: settings.journal_after,
            };
            let store = Arc::new(JournaledStore::open(journal, settings.mongodb.clone()).await?);
            OpenStore {
                store: store.clone(),
                journaled: Some(store),
            }
        }
    })
}

/// A data directory that is being filled is none yet, whatever the store is.
fn refuse_unfinished(data_dir: &Path) -> Result<(), OpenError> {
    match Unfinished::find(data_dir)? {
        None => Ok(()),
        Some(what) => Err(OpenError::Unfinished {
            path: data_dir.to_owned(),
            what,
        }),
    }
}

/// Starts a master on this store.
///
/// # Errors
/// See [`StartError`].
pub async fn start(settings: &Settings, opened: OpenStore) -> Result<Running, StartError> {
    let OpenStore { store, journaled } = opened;
    let journaled = journaled.map(|store| Journaled {
        intake: Arc::new(Intake::new(store.clone(), settings.core.queue_limit)),
        store,
    });
    // Ports before anything is read or sent: a second master on this machine ends here.
    let grpc_listener = listen(&settings.grpc, "gRPC", "-grpc").await?;
    let http_listener = listen(&settings.http, "HTTP", "-http").await?;
    let grpc = grpc_listener
        .local_addr()
        .map_err(|source| StartError::Listen {
            service: "gRPC",
            address: settings.grpc.clone(),
            flag: "-grpc",
            source,
        })?;
    let http = http_listener
        .local_addr()
        .map_err(|source| StartError::Listen {
            service: "HTTP",
            address: settings.http.clone(),
            flag: "-http",
            source,
        })?;

    let cluster = fresh_cluster()?;
    let snapshots = Snapshots::unready(cluster.clone());
    let tokens = Tokens::open(&settings.data_dir)?;
    let specs = Specs::new(store.clone());
    let live = LiveTasks::default();
    let files = Arc::new(OutputStore::open(settings.data_dir.join("files"))?);
    let logs = Arc::new(LogStore::new(settings.data_dir.join("logs")));
    let workers = Arc::new(Workers::new(WorkersSetup {
        specs: specs.clone(),
        snapshots: snapshots.clone(),
        tokens: tokens.clone(),
        advertise: settings.advertise.clone(),
        grpc_port: grpc.port(),
        stop_grace: settings.stop_grace,
    }));
    let store_is_here = !store.disk_files().is_empty();
    let room = Room::of(&settings.data_dir, store_is_here, settings.disks.min_free);
    let (metrics, history) = (Metrics::default(), Arc::new(History::default()));
    let followers = LogFollowers::new(LogFollowersSetup {
        store: logs.clone(),
        specs: specs.clone(),
        workers: workers.clone(),
        room: room.clone(),
        metrics: metrics.clone(),
    });
    let (events, _) = broadcast::channel(EVENT_BACKLOG);

    let policy = policy::by_name(&settings.scheduler).unwrap_or_else(|_| {
        // The settings take known names only.
        Box::new(policy::RoundRobin)
    });
    let tally = Tally::new(metrics.clone(), history.clone(), policy.name());
    let core = Core::new(settings.core.clone(), policy, cluster);
    let effects = EffectRunner {
        workers: workers.clone(),
        logs: followers.clone(),
        live: live.clone(),
        specs: specs.clone(),
        events: events.clone(),
        tally,
        metrics: metrics.clone(),
    };
    let started = core_loop::start(
        core,
        store.clone(),
        effects,
        snapshots.clone(),
        room.clone(),
    );
    workers.connect(started.core.clone());
    tokio::spawn(room.clone().watch(started.core.clone()));
    let kept = Kept::new(settings.disks.keep_bytes);
    let retention = Retention::new(
        settings.disks,
        RetentionSetup {
            core: started.core.clone(),
            store: store.clone(),
            snapshots: snapshots.clone(),
            logs: logs.clone(),
            files: files.clone(),
            kept: kept.clone(),
        },
    );
    tokio::spawn(retention.run());

    let master = Arc::new(Master {
        core: started.core,
        store,
        journaled,
        live,
        snapshots: snapshots.clone(),
        logs,
        files,
        workers,
        tokens: tokens.clone(),
        allowed: settings.allowed.clone(),
        room,
        kept,
        metrics,
        history,
        events,
        submit_keys: SubmitKeys::default(),
        services: vec![
            (
                "HTTP".to_owned(),
                settings.http.bound(http.port()).to_string(),
            ),
            (
                "gRPC".to_owned(),
                settings.grpc.bound(grpc.port()).to_string(),
            ),
        ],
    });
    let is_read = once_read(master.clone(), started.ready);
    let admission = admit(master.clone(), settings, is_read.clone());
    let gate = Gate::new(
        snapshots,
        tokens,
        admission.accounts.clone(),
        settings.insecure,
    );
    let cluster = Arc::new(ClusterService::new(master.clone(), gate.clone(), followers));
    let agent = AgentService::new(master.clone(), gate.clone());
    let (shutdown, _) = watch::channel(false);
    let grpc_server = tokio::spawn(grpc::serve(
        grpc_listener,
        gate,
        cluster,
        agent,
        asked(shutdown.subscribe()),
    ));
    let http_server = serve_http(
        http_listener,
        master.clone(),
        admission.accounts.clone(),
        settings,
        shutdown.subscribe(),
    )?;
    Ok(Running {
        is_read,
        admission,
        master,
        core_loop: started.ended,
        grpc_server,
        http_server,
        shutdown,
    })
}

/// Says that the store has been read when it has been, and hands over what was accepted before.
fn once_read(master: Arc<Master>, ready: oneshot::Receiver<()>) -> watch::Receiver<bool> {
    let (told, is_read) = watch::channel(false);
    tokio::spawn(async move {
        if ready.await.is_err() {
            return;
        }
        told.send_replace(true);
        let Some(journaled) = &master.journaled else {
            return;
        };
        journaled.intake.hand_over(&master.core).await;
        journaled.intake.close().await;
        // Whoever found the store unread a moment ago.
        journaled.intake.hand_over(&master.core).await;
    });
    is_read
}

/// Resolves when the database can't be used for good; never without one.
async fn broken(journaled: Option<&Journaled>) -> String {
    match journaled {
        Some(journaled) => journaled.store.broken().await,
        None => std::future::pending().await,
    }
}

impl Running {
    /// Waits until the store has been read. Until then every call is answered with "try again in a
    /// moment".
    ///
    /// # Errors
    /// If something that must not end has ended: what it was, and why.
    pub async fn ready(&mut self) -> Result<(), String> {
        if self.is_read.wait_for(|it| *it).await.is_ok() {
            return Ok(());
        }
        Err(self.failed().await)
    }

    /// Whether the store has been read; closed if it never will be.
    #[must_use]
    pub fn is_read(&self) -> watch::Receiver<bool> {
        self.is_read.clone()
    }

    /// Waits until something that must not end has ended: what it was, and why.
    pub async fn failed(&mut self) -> String {
        tokio::select! {
            ended = &mut self.core_loop => match ended {
                Ok(Ok(())) => "the core has stopped".to_owned(),
                Ok(Err(error)) => with_causes(&error),
                Err(panic) => format!("the core has failed: {panic}"),
            },
            ended = &mut self.grpc_server => match ended {
                Ok(Ok(())) => "the gRPC server has stopped".to_owned(),
                Ok(Err(error)) => with_causes(&error),
                Err(panic) => format!("the gRPC server has failed: {panic}"),
            },
            ended = &mut self.http_server => match ended {
                Ok(()) => "the HTTP server has stopped".to_owned(),
                Err(panic) => format!("the HTTP server has failed: {panic}"),
            },
            ended = &mut self.admission.tending => match ended {
                Ok(error) => with_causes(&error),
                Err(panic) => format!("accounts have failed: {panic}"),
            },
            reason = broken(self.master.journaled.as_ref()) => reason,
        }
    }

    /// Ends it in order: no new calls, then everything flushed, then the store closed. Containers
    /// go on.
    pub async fn shut_down(mut self) {
        self.shutdown.send_replace(true);
        // One that has ended was waited for already, and can't be again.
        let grpc = self.grpc_server.is_finished()
            || timeout(CALLS_END_WITHIN, &mut self.grpc_server)
                .await
                .is_ok();
        let http = self.http_server.is_finished()
            || timeout(CALLS_END_WITHIN, &mut self.http_server)
                .await
                .is_ok();
        if !(grpc && http) {
            warn!("calls under way were cut off");
        }
        self.grpc_server.abort();
        self.http_server.abort();
        self.admission.tending.abort();
        let accounts = self.admission.accounts.borrow().clone();
        if let Some(accounts) = accounts
            && !matches!(timeout(AUDITED_WITHIN, accounts.close()).await, Ok(Ok(())))
        {
            warn!("records of the audit may be lost: the store takes none of those that wait");
        }
        self.master.core.stop().await;
        if !self.core_loop.is_finished()
            && let Ok(Err(error)) = self.core_loop.await
        {
            warn!(
                error = &error as &dyn std::error::Error,
                "the last batch was not written"
            );
        }
        if let Err(error) = self.master.store.close().await {
            warn!(
                error = &error as &dyn std::error::Error,
                "the store was not closed cleanly"
            );
        }
    }
}

async fn asked(mut shutdown: watch::Receiver<bool>) {
    // An error means that the sender is gone, and the master with it.
    let _ = shutdown.wait_for(|asked| *asked).await;
}

async fn listen(
    address: &ListenAddr,
    service: &'static str,
    flag: &'static str,
) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Listen {
        service,
        address: address.clone(),
        flag,
        source,
    };
    let mut failure = std::io::Error::other("the name has no address");
    for candidate in address.candidates().map_err(failed)? {
        match TcpListener::bind(candidate).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                return Err(failed(error));
            }
            Err(error) => failure = error,
        }
    }
    Err(failed(failure))
}

fn fresh_cluster() -> Result<ClusterId, StartError> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes)
        .map_err(|error| StartError::Random(std::io::Error::other(error.to_string())))?;
    Ok(format!("c-{}", hex::encode(bytes))
        .parse()
        .expect("hex digits make an id"))
}
