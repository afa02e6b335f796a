//! The way to the Docker Engine, kept for as long as the worker runs: an engine that is away is
//! looked for until it is back, and the core is told each time that changes.

use std::{future::Future, time::Duration};

use cloudai_engine::{ConnectError, Engine, EngineError, EngineInfo};
use cloudai_model::{AttemptId, ClusterId, WorkerId};
use cloudai_worker_core::{Blame, Failure, HostRun, Input};
use tokio::{sync::watch, time::timeout};

use crate::{backoff, console, core_loop::CoreHandle};

/// How often a working engine is asked whether it still works.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// How long a start waits for the engine before it goes on without it for now.
const FIRST_LIMIT: Duration = Duration::from_secs(3);
/// How long it may take to say so.
const PING_LIMIT: Duration = Duration::from_secs(20);
/// How long something that needs the engine waits for it before it counts as a try in vain.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// The engine, when it is there. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EngineLink {
    current: watch::Receiver<Option<Engine>>,
    host: Option<String>,
}

/// The engine has been away for too long.
#[derive(Debug, thiserror::Error)]
#[error("the Docker Engine of this worker doesn't answer")]
pub(crate) struct EngineAway;

impl From<EngineAway> for Failure {
    fn from(error: EngineAway) -> Self {
        Self {
            reason: error.to_string(),
            blame: Blame::Machine,
        }
    }
}

/// Whose doing an error of the engine is. It answers 5xx to what the machine can't do just now and
/// to much that a task asks for in vain: nobody can tell, and it is tried again for a while.
pub(crate) fn blame(error: &EngineError) -> Blame {
    match error {
        EngineError::Unavailable(_) => Blame::Machine,
        error if error.is_transient() => Blame::Passing,
        _ => Blame::Task,
    }
}

impl EngineLink {
    /// The engine, as soon as it is there.
    pub(crate) async fn ready(&self) -> Engine {
        let mut engine = self.current.clone();
        loop {
            if let Some(engine) = engine.borrow_and_update().clone() {
                return engine;
            }
            if engine.changed().await.is_err() {
                // The keeper ends with the program only.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The engine, if it is there.
    pub(crate) fn now(&self) -> Option<Engine> {
        self.current.borrow().clone()
    }

    /// Which run of machine and engine it is, asked of an engine that is there to stay, however long
    /// that takes. One that is going down answers on the connections that it has, until its last
    /// container has ended, but takes no new ones.
    pub(crate) async fn host_run(&self) -> HostRun {
        let mut tries = 0;
        loop {
            let connected = timeout(PING_LIMIT, Engine::connect(self.host.as_deref())).await;
            if let Ok(Ok(engine)) = connected
                && let Ok(run) = host_run(&engine).await
            {
                return run;
            }
            tries += 1;
            backoff::wait(tries).await;
        }
    }

    /// The engine, if it is there before long.
    pub(crate) async fn ready_soon(&self) -> Result<Engine, EngineAway> {
        timeout(READY_LIMIT, self.ready())
            .await
            .map_err(|_| EngineAway)
    }
}

/// Connects, if the engine answers soon, and returns the future that keeps the connection.
pub(crate) async fn open(
    host: Option<String>,
    core: CoreHandle,
) -> (EngineLink, impl Future<Output = ()> + Send) {
    let (sender, receiver) = watch::channel(None);
    let mut keeper = Keeper {
        host: host.clone(),
        core,
        current: sender,
        run: HostRun::default(),
        shown: None,
        described: None,
    };
    if timeout(FIRST_LIMIT, keeper.connect()).await.is_err() {
        keeper.lost("the Docker Engine has not answered yet");
    }
    let link = EngineLink {
        current: receiver,
        host,
    };
    (link, keeper.keep())
}

struct Keeper {
    host: Option<String>,
    core: CoreHandle,
    current: watch::Sender<Option<Engine>>,
    /// What the core was told last.
    run: HostRun,
    /// What was said last about an engine that is away, so as not to say it again.
    shown: Option<String>,
    /// What was shown last of an engine that is there.
    described: Option<EngineInfo>,
}

impl Keeper {
    async fn keep(mut self) {
        let mut tries = 0;
        loop {
            let engine = self.current.borrow().clone();
            let Some(engine) = engine else {
                tries += 1;
                backoff::wait(tries).await;
                self.connect().await;
                continue;
            };
            tries = 0;
            tokio::time::sleep(PING_INTERVAL).await;
            match timeout(PING_LIMIT, host_run(&engine)).await {
                Ok(Ok(run)) => self.runs(run),
                Ok(Err(error)) => self.lost(&error.to_string()),
                Err(_) => self.lost(&format!(
                    "the Docker Engine didn't answer within {} s",
                    PING_LIMIT.as_secs()
                )),
            }
        }
    }

    async fn connect(&mut self) {
        let connected = timeout(PING_LIMIT, Engine::connect(self.host.as_deref())).await;
        match connected {
            Ok(Ok(engine)) => {
                if self.shown.take().is_some() {
                    console::line("✓ Docker Engine is back");
                }
                self.describe(engine.info());
                match timeout(PING_LIMIT, host_run(&engine)).await {
                    Ok(Ok(run)) => self.runs(run),
                    // What is started before the next ping has a run that isn't known.
                    Ok(Err(_)) | Err(_) => self.runs(HostRun::default()),
                }
                self.current.send_replace(Some(engine));
                self.core.tell(Input::EngineWell);
            }
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no engine");
                self.lost(&error.to_string());
            }
            Err(_) => {
                let host = self.host.as_deref().unwrap_or(cloudai_engine::DEFAULT_HOST);
                let late = ConnectError::NotDocker {
                    host: host.to_owned(),
                    problem: format!("no answer within {} s", PING_LIMIT.as_secs()),
                };
                self.lost(&late.to_string());
            }
        }
    }

    fn runs(&mut self, run: HostRun) {
        if self.run != run {
            self.run = run.clone();
            self.core.tell(Input::HostRun(run));
        }
    }

    /// Shows what containers go without, once for each engine.
    fn describe(&mut self, info: &EngineInfo) {
        if self.described.as_ref() == Some(info) {
            return;
        }
        for lack in &info.lacks {
            console::line(format_args!("⚠ The Docker Engine {lack}"));
        }
        tracing::info!(
            version = info.version,
            driver = info.storage_driver,
            cgroup = info.cgroup_version,
            "Docker Engine"
        );
        self.described = Some(info.clone());
    }

    fn lost(&mut self, reason: &str) {
        self.current.send_replace(None);
        self.core.tell(Input::EngineUnwell(reason.to_owned()));
        if self.shown.as_deref() != Some(reason) {
            console::line(format_args!(
                "⚠ {reason}; this worker takes no tasks until it answers"
            ));
            self.shown = Some(reason.to_owned());
        }
    }
}

/// Which run of the machine and the engine it is.
async fn host_run(engine: &Engine) -> Result<HostRun, EngineError> {
    let is_local = engine.is_local();
    Ok(HostRun {
        boot: is_local.then(cloudai_telemetry::boot_id).flatten(),
        engine: engine.run_id().await?,
    })
}

/// The container of an attempt, by its labels.
pub(crate) async fn find(
    engine: &Engine,
    cluster: &ClusterId,
    worker: &WorkerId,
    attempt: &AttemptId,
) -> Result<Option<cloudai_engine::HeldContainer>, EngineError> {
    let found = engine.list(cluster, worker).await?;
    Ok(found.into_iter().find(|held| held.attempt == *attempt))
}
