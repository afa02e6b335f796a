//! Registers at a master and sends it heartbeats; when it is lost, finds it again.

use std::{sync::Arc, time::Duration};

use cloudai_model::{Capacity, ClusterId};
use cloudai_proto::{HeartbeatReport, HeartbeatTaken, Held, Refused, Registered, WorkerHello};
use cloudai_telemetry::{Sampler, Space};
use cloudai_worker_core::Input;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tonic::{Code, Status};

use super::{
    MasterLink,
    connection::{Bearer, Client, Connected, call, connect},
};
use crate::{backoff, console, core_loop::CoreHandle, settings::Settings};

const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Between heartbeats, where the master doesn't say.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// One that isn't let in tries again at least this often, so that registering it lets it in soon.
const REFUSED_TRIES: u32 = 4;
/// Calls of masters that are not dealt with yet.
const CONTACTS: usize = 8;

/// What a worker with these settings says of itself, but for its data directory and this start.
pub(crate) fn hello(settings: &Settings, capacity: Capacity) -> WorkerHello {
    WorkerHello {
        worker: settings.id.clone(),
        shown_ip: settings.ip.clone(),
        capacity,
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        labels: settings.labels.clone(),
        grpc_port: Some(settings.listen.port()),
        home: None,
        incarnation: None,
    }
}

/// What the keeper works with.
pub(crate) struct KeeperParts {
    pub(crate) settings: Arc<Settings>,
    pub(crate) capacity: Capacity,
    pub(crate) bearer: Bearer,
    pub(crate) core: CoreHandle,
    /// Which start of the program this is.
    pub(crate) incarnation: String,
    /// What stands for the cluster of an old master, which doesn't name it.
    pub(crate) old_cluster: ClusterId,
    /// Which data directory it works from.
    pub(crate) home: String,
}

/// Keeps the way to the master.
pub(crate) struct Keeper {
    parts: KeeperParts,
    current: watch::Sender<Option<Connected>>,
    cluster: watch::Sender<Option<ClusterId>>,
    contacts: mpsc::Receiver<String>,
    farewells: mpsc::Receiver<oneshot::Sender<()>>,
    /// An address that a master called from, tried besides those of the settings.
    contact: Option<String>,
    sampler: Sampler,
    /// What was said last about a master that can't be had, so as not to say it again.
    shown: Option<String>,
    /// Told when the first try is over.
    first_try: Option<oneshot::Sender<()>>,
}

/// Why this worker is not registered, or not any more.
#[derive(Debug)]
enum Apart {
    /// It can't be reached or doesn't answer.
    Away(String),
    /// It says no.
    Refused(String),
}

impl Keeper {
    /// A keeper, the link that it keeps, and word of when its first try is over.
    pub(crate) fn new(parts: KeeperParts) -> (Self, MasterLink, oneshot::Receiver<()>) {
        let (current, current_watch) = watch::channel(None);
        let (cluster, cluster_watch) = watch::channel(None);
        let (contact, contacts) = mpsc::channel(CONTACTS);
        let (farewell, farewells) = mpsc::channel(1);
        let (first_try, first_tried) = oneshot::channel();
        let keeper = Self {
            sampler: Sampler::new(&parts.settings.data_dir),
            parts,
            current,
            cluster,
            contacts,
            farewells,
            contact: None,
            shown: None,
            first_try: Some(first_try),
        };
        let link = MasterLink {
            current: current_watch,
            cluster: cluster_watch,
            contacts: contact,
            farewells: farewell,
        };
        (keeper, link, first_tried)
    }

    /// Works until the program ends.
    pub(crate) async fn keep(mut self) {
        let mut tries = 0;
        loop {
            let mut apart = None;
            for address in self.addresses() {
                match self.register(&address).await {
                    Ok((master, interval)) => {
                        tries = 0;
                        apart = Some(self.stay(master, interval).await);
                        break;
                    }
                    Err(error) => apart = Some(error),
                }
            }
            self.first_tried();
            tries += 1;
            if let Some(apart) = apart {
                let refused = matches!(apart, Apart::Refused(_));
                self.show(apart);
                if refused {
                    tries = tries.min(REFUSED_TRIES);
                }
            }
            tokio::select! {
                () = backoff::wait(tries) => {}
                Some(address) = self.contacts.recv() => {
                    self.contact = Some(address);
                    tries = 0;
                }
            }
        }
    }

    /// Whoever called last goes first.
    fn addresses(&self) -> Vec<String> {
        let mut all: Vec<_> = self.contact.iter().cloned().collect();
        let others = self.parts.settings.masters.iter();
        all.extend(
            others
                .filter(|address| Some(*address) != self.contact.as_ref())
                .cloned(),
        );
        all
    }

    fn first_tried(&mut self) {
        if let Some(first_try) = self.first_try.take() {
            // Nobody waits for it any more if it took long.
            let _ = first_try.send(()).is_ok();
        }
    }

    async fn register(&mut self, address: &str) -> Result<(Connected, Duration), Apart> {
        let bearer = self.parts.bearer.clone();
        let mut client = connect(address, bearer).await.map_err(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "no connection");
            Apart::Away(format!("no master answers at {address}"))
        })?;
        let registered = self.introduce(&mut client, address).await?;
        Ok(self.let_in(client, address, registered))
    }

    /// Takes in what a master said that lets this worker in.
    fn let_in(
        &mut self,
        client: Client,
        address: &str,
        registered: Registered,
    ) -> (Connected, Duration) {
        console::line(format_args!("✓ Worker registered: {}", registered.message));
        self.shown = None;
        let cluster = registered.cluster.as_ref();
        let cluster = cluster.unwrap_or(&self.parts.old_cluster).clone();
        self.parts.core.tell(Input::Registered {
            cluster: cluster.clone(),
        });
        self.cluster.send_replace(Some(cluster));
        let master = Connected {
            client,
            address: address.to_owned(),
            is_old: registered.cluster.is_none(),
            cluster: registered.cluster,
        };
        let interval = registered.heartbeat_interval.unwrap_or(HEARTBEAT_INTERVAL);
        (master, interval)
    }

    async fn introduce(&self, client: &mut Client, address: &str) -> Result<Registered, Apart> {
        let hello = WorkerHello {
            home: Some(self.parts.home.clone()),
            incarnation: Some(self.parts.incarnation.clone()),
            ..hello(&self.parts.settings, self.parts.capacity)
        };
        let answer = call(CALL_LIMIT, hello.into_wire(), |r| client.register_worker(r)).await;
        let answer = answer.map_err(|status| apart(address, &status))?;
        match Registered::from_wire(answer) {
            Ok(Ok(registered)) => Ok(registered),
            Ok(Err(Refused(message))) => Err(Apart::Refused(message)),
            Err(error) => Err(Apart::Away(format!("what answers at {address}: {error}"))),
        }
    }

    /// Sends heartbeats until the master is lost, and says why it is.
    async fn stay(&mut self, mut master: Connected, mut interval: Duration) -> Apart {
        self.current.send_replace(Some(master.clone()));
        self.first_tried();
        let mut due = Instant::now();
        let apart = loop {
            let mut farewell = None;
            tokio::select! {
                () = sleep_until(due) => {}
                Some(said) = self.farewells.recv() => farewell = Some(said),
                Some(address) = self.contacts.recv() => {
                    // It calls because it doesn't hear of this worker, or from a second address.
                    tracing::info!(%address, at = %master.address, "a master called");
                    self.contact = Some(address);
                }
            }
            due = Instant::now() + interval;
            let taken = self.heartbeat(&mut master).await;
            if let Some(said) = farewell {
                // Who waits for it may have given up.
                let _ = said.send(()).is_ok();
            }
            match taken {
                Ok(HeartbeatTaken {
                    register_again: false,
                }) => {}
                Ok(_) => match self.introduce(&mut master.client, &master.address).await {
                    Ok(registered) => {
                        let client = master.client.clone();
                        let address = master.address.clone();
                        (master, interval) = self.let_in(client, &address, registered);
                        self.current.send_replace(Some(master.clone()));
                        due = Instant::now();
                    }
                    Err(apart) => break apart,
                },
                Err(apart) => break apart,
            }
        };
        self.current.send_replace(None);
        apart
    }

    async fn heartbeat(&mut self, master: &mut Connected) -> Result<HeartbeatTaken, Apart> {
        let usage = self.sampler.sample(cloudai_clock::now());
        let usage = usage.inspect_err(|error| tracing::debug!(%error, "no figures"));
        let view = self.parts.core.look().await;
        let view = view.map_err(|ended| Apart::Away(ended.to_string()))?;
        let granted: Vec<_> = view.held.iter().map(|held| held.grant.clone()).collect();
        let held = view.held.into_iter().map(|held| Held {
            attempt: held.attempt,
            phase: held.phase,
        });
        let report = HeartbeatReport {
            worker: self.parts.settings.id.clone(),
            incarnation: Some(self.parts.incarnation.clone()),
            usage: usage.unwrap_or_default(),
            storage_free_bytes: Space::of(&self.parts.settings.data_dir)
                .ok()
                .map(|space| space.available_bytes),
            held: held.collect(),
            holds_complete: true,
            last_sequence: Some(view.last_sequence),
            unwell: view.unwell,
            home: Some(self.parts.home.clone()),
        };
        let wire = if master.is_old {
            report.into_old_wire(&granted)
        } else {
            report.into_wire()
        };
        let client = &mut master.client;
        let answer = call(CALL_LIMIT, wire, |r| client.send_heartbeat(r)).await;
        let answer = answer.map_err(|status| apart(&master.address, &status))?;
        HeartbeatTaken::from_wire(answer).map_err(|Refused(message)| {
            // An old master says no more than no.
            Apart::Refused(if message.is_empty() {
                format!("the master at {} knows this worker no more", master.address)
            } else {
                message
            })
        })
    }

    /// Says it once, not at every try.
    fn show(&mut self, apart: Apart) {
        let text = match apart {
            Apart::Away(reason) => format!("⚠ {reason}; trying again until it does"),
            Apart::Refused(reason) => format!("❌ Registration refused: {reason}"),
        };
        if self.shown.as_deref() != Some(&text) {
            console::line(&text);
            self.shown = Some(text);
        }
    }
}

fn apart(address: &str, status: &Status) -> Apart {
    let message = status.message();
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => Apart::Refused(message.to_owned()),
        _ => {
            tracing::debug!(%address, %status, "the master can't be had");
            Apart::Away(format!(
                "the master at {address} does not answer: {message}"
            ))
        }
    }
}
