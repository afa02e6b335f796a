//! What is broken: a master, four workers on one engine, each in a network of its own, and a database.
//!
//! All between a worker and its master goes over relays that can be made slow, one for each way they
//! call each other; the relays stand on the master's side of the worker's cable. A worker reaches the
//! engine over a relay, too.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use cloudai_model::ClusterId;
use cloudai_proto::cluster::{Heartbeat, master_worker_client::MasterWorkerClient};
use cloudai_store::mongod::{ReplicaSet, Server};
use serde_json::Value;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep},
};
use tonic::Code;

use super::{
    Settings, Store,
    chronicle::Chronicle,
    leftovers::{DATABASES, NAMESPACES, RunFolder},
    machine::{Machine, Recipe},
    plan::WORKERS,
};
use crate::{
    cluster::free_port,
    namespace::Namespace,
    programs::programs,
    relay::{ENGINE, End, Relay},
    wait::{Deadline, PATIENCE},
};

/// So short that a run sees many workers inactive and lost, and so long that a busy machine sees few
/// for no reason.
const MASTER_FLAGS: &[&str] = &[
    "-heartbeat-interval=500ms",
    "-inactive-after=3s",
    "-lost-after=6s",
    // What is broken on purpose is no task's fault, however often.
    "-machine-failure-limit=1000",
    "-set-aside-for=2s",
    "-stop-grace=1s",
    "-min-free=8MB",
    "-journal-after=1s",
];
/// So many tasks, of half a core each, have room on a worker.
pub const PLACES: usize = 4;
const WORKER_CORES: &str = "2";
const WORKER_DISK_MB: u32 = 96;
/// The master keeps what all tasks left.
const MASTER_DISK_MB: u32 = 192;
const MASTER_DISK_MB_PER_MINUTE: u32 = 64;
/// How long an answer of the master's console is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A worker and all ways to and from it.
pub struct Worker {
    /// The program.
    pub machine: Machine,
    /// Its network.
    pub namespace: Namespace,
    /// Its way to the engine.
    pub engine: Relay,
    /// Its way to the master.
    pub to_master: Relay,
    /// The master's way to it.
    pub from_master: Relay,
}

/// The replica set, and who of it is away.
pub struct Database {
    /// Its members.
    pub set: Arc<ReplicaSet>,
    /// Members that were killed.
    pub killed: Vec<usize>,
    /// A member that stands still.
    pub stopped: Option<usize>,
}

/// See the module.
pub struct Site {
    /// Where all of it lies.
    pub folder: Arc<RunFolder>,
    /// The cluster's id, that containers are labelled with.
    pub cluster: ClusterId,
    /// Where the client reaches the master: over a line of its own.
    pub client: SocketAddr,
    /// Where the master serves gRPC.
    grpc: SocketAddr,
    client_line: Mutex<Relay>,
    /// What happens.
    pub chronicle: Chronicle,
    master: Mutex<Machine>,
    workers: Vec<Mutex<Worker>>,
    database: Option<Mutex<Database>>,
    /// One question at a time.
    asking: Mutex<()>,
    store_env: Option<String>,
}

impl Site {
    /// Sets all of it up in a folder, and waits until every worker is active.
    ///
    /// # Panics
    /// If that fails: needs root or sudo, an engine, and a mongod for that store.
    pub async fn new(settings: &Settings, run: &Arc<RunFolder>, chronicle: &Chronicle) -> Self {
        let folder = run.path();
        crate::engine::machines_engine().await;
        let database = match settings.store {
            Store::Sqlite => None,
            Store::MongoDb => {
                let starting = tokio::task::spawn_blocking(ReplicaSet::start);
                Some(Arc::new(starting.await.expect("the replica set starts")))
            }
        };
        let store_env = database.as_ref().and_then(|set| set.settings().uri);
        let grpc: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let minutes = u32::try_from(settings.span.as_secs() / 60).unwrap_or(u32::MAX);
        let disk_mb = MASTER_DISK_MB + MASTER_DISK_MB_PER_MINUTE.saturating_mul(minutes);
        let client: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let client_line = Relay::new(End::Tcp(client), End::Tcp(grpc)).await;
        for member in database.iter().flat_map(|set| &set.members) {
            super::leftovers::remember(folder, DATABASES, &member.folder().display().to_string());
        }
        let recipe = master_recipe(grpc, store_env.clone());
        let mut master = Machine::new("master", folder, disk_mb, recipe, chronicle);
        master.start();
        let mut site = Self {
            folder: run.clone(),
            cluster: "unknown".parse().expect("it is a word"),
            client,
            grpc,
            client_line: Mutex::new(client_line),
            chronicle: chronicle.clone(),
            master: Mutex::new(master),
            workers: Vec::new(),
            database: database.map(|set| {
                Mutex::new(Database {
                    set,
                    killed: Vec::new(),
                    stopped: None,
                })
            }),
            asking: Mutex::new(()),
            store_env,
        };
        let status = site.is_ready_within(PATIENCE).await;
        let status = status.expect("a new master is soon ready");
        let id = status["cluster_id"]
            .as_str()
            .expect("a ready master has one");
        fs::write(folder.join(super::leftovers::CLUSTER), id).expect("there is room");
        site.cluster = id.parse().expect("the master's id is one");
        for index in 0..WORKERS {
            let worker = site.new_worker(index).await;
            site.workers.push(Mutex::new(worker));
        }
        let deadline = Deadline::new(
            "every worker to be active; a firewall that drops what comes in from 198.18.0.0/15 \
             (ufw, firewalld) keeps them away",
        );
        while !site.all_active().await {
            deadline.again().await;
        }
        site.is_as_it_must_be().await;
        site
    }

    /// Waits until the master has read its store and lacks nothing; its status, if that is in time.
    pub async fn is_ready_within(&self, patience: Duration) -> Option<Value> {
        let ready = async {
            loop {
                if let Some(status) = self.ask("status").await
                    && is_well(&status)
                {
                    return status;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(patience, ready).await.ok()
    }

    /// Whether what the faults and the judgement build on is there.
    ///
    /// # Panics
    /// If a clock can't be stepped, or a worker needs no token.
    async fn is_as_it_must_be(&self) {
        let told = self.master.lock().await.has_own_clock();
        told.unwrap_or_else(|why| panic!("{why}"));
        for worker in &self.workers {
            let worker = worker.lock().await;
            let told = worker.machine.has_own_clock();
            told.unwrap_or_else(|why| panic!("{why}"));
            let master = format!("http://{}", worker.to_master.address());
            let mut stranger = MasterWorkerClient::connect(master)
                .await
                .expect("the way to the master is open");
            let heartbeat = Heartbeat {
                worker_id: "worker-1".to_owned(),
                ..Heartbeat::default()
            };
            let answer = stranger.send_heartbeat(heartbeat).await;
            let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
            assert_eq!(code, Code::Unauthenticated, "a heartbeat without a token");
        }
    }

    async fn new_worker(&self, index: usize) -> Worker {
        let name = format!("worker-{}", index + 1);
        let namespace = Namespace::new();
        super::leftovers::remember(self.folder.path(), NAMESPACES, namespace.name());
        let at = |host: &str, port: u16| -> SocketAddr {
            let host = host.parse().expect("a namespace has addresses");
            SocketAddr::new(host, port)
        };
        let listens = at(&namespace.there, free_port());
        let from_master = End::Tcp(at(&namespace.here, free_port()));
        let from_master = Relay::new(from_master, End::Tcp(listens)).await;
        // As the master tells it workers that it calls: its own port at the address it calls from.
        let to_master = End::Tcp(at(&namespace.here, self.grpc.port()));
        // From an address that is not loopback: whoever calls from there needs a token.
        let here = namespace.here.parse().expect("a namespace has addresses");
        let to_master = Relay::calling_from(Some(here), to_master, End::Tcp(self.grpc)).await;
        let socket = self.folder.path().join(format!("{name}.sock"));
        let engine = Relay::new(End::Unix(socket), End::Unix(ENGINE.into())).await;

        let token = self.register(&name, from_master.address()).await;
        let words = [
            ("-id", name.clone()),
            ("-master", to_master.address().to_string()),
            ("-port", listens.to_string()),
            ("-cpu", WORKER_CORES.to_owned()),
            ("-mem", "8".to_owned()),
            ("-storage", "20".to_owned()),
            ("-token", token),
            ("-orphan-grace", "5s".to_owned()),
            // Half of them as workers that aren't on the engine's machine.
            ("-output", ["folder", "volume"][index % 2].to_owned()),
        ];
        let recipe = worker_recipe(&namespace, engine.host(), &words);
        let mut machine = Machine::new(
            &name,
            self.folder.path(),
            WORKER_DISK_MB,
            recipe,
            &self.chronicle,
        );
        machine.start();
        Worker {
            machine,
            namespace,
            engine,
            to_master,
            from_master,
        }
    }

    /// Registers a worker; its token.
    async fn register(&self, name: &str, address: SocketAddr) -> String {
        let mut master = self.master.lock().await;
        let typed = master
            .type_line(&format!("register {name} {address}"))
            .await;
        typed.expect("the master reads commands");
        drop(master);
        let deadline = Deadline::new("the worker's token to be told");
        loop {
            let told = self.chronicle.timeline(name);
            let token = told.iter().find_map(|line| line.split_once("-token "));
            if let Some((_, token)) = token {
                return token.trim().to_owned();
            }
            deadline.again().await;
        }
    }

    /// The master.
    pub async fn master(&self) -> MutexGuard<'_, Machine> {
        self.master.lock().await
    }

    /// A worker, from 0.
    pub async fn worker(&self, index: usize) -> MutexGuard<'_, Worker> {
        self.workers[index].lock().await
    }

    /// The client's way to the master.
    pub async fn client_line(&self) -> MutexGuard<'_, Relay> {
        self.client_line.lock().await
    }

    /// What there is of the run's own, in the words of [`leftovers::find`](super::leftovers::find).
    pub async fn own(&self) -> Vec<String> {
        let disk = |machine: &Machine| format!("mount {}", machine.data_dir().display());
        let mut own = vec![disk(&*self.master.lock().await)];
        for worker in &self.workers {
            let worker = worker.lock().await;
            own.push(disk(&worker.machine));
            own.push(format!("network namespace {}", worker.namespace.name()));
        }
        if let Some(database) = &self.database {
            let members = &database.lock().await.set.members;
            let folder = |it: &Server| format!("database {}", it.folder().display());
            own.extend(members.iter().map(folder));
        }
        own
    }

    /// The database.
    ///
    /// # Panics
    /// If the store is another one.
    pub async fn database(&self) -> MutexGuard<'_, Database> {
        let database = self.database.as_ref().expect("its faults are of its plan");
        database.lock().await
    }

    /// The answer to a command, if the master gives one in time.
    pub async fn ask(&self, command: &str) -> Option<Value> {
        let _one_at_a_time = self.asking.lock().await;
        let line = format!("{command} --json");
        let starts = {
            let mut master = self.master.lock().await;
            // What came too late for whoever asked before.
            while master.answer().is_some() {}
            let typing = master.type_line(&line);
            tokio::time::timeout(ANSWER_WITHIN, typing)
                .await
                .ok()?
                .ok()?;
            master.starts()
        };
        let deadline = Instant::now() + ANSWER_WITHIN;
        while Instant::now() < deadline {
            let mut master = self.master.lock().await;
            if master.starts() != starts {
                return None;
            }
            if let Some(answer) = master.answer() {
                return serde_json::from_str(&answer).ok();
            }
            drop(master);
            sleep(Duration::from_millis(30)).await;
        }
        None
    }

    /// Whether the master counts every worker as active, and is short of nothing itself.
    pub async fn all_active(&self) -> bool {
        let Some(workers) = self.ask("workers").await else {
            return false;
        };
        let workers = workers.as_array().map_or(&[][..], Vec::as_slice);
        let active = |worker: &Value| worker["status"] == "active" && worker["reason"] == "";
        workers.len() == self.workers.len() && workers.iter().all(active)
    }

    /// Starts again, for ever, what should run and doesn't.
    pub async fn look_after(&self) {
        loop {
            self.look_after_once().await;
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Starts again what should run and doesn't.
    pub async fn look_after_once(&self) {
        self.master.lock().await.look_after().await;
        for worker in &self.workers {
            worker.lock().await.machine.look_after().await;
        }
    }

    /// The master as a tool on its own store, with these words.
    pub async fn store_tool(&self, words: &[&str]) -> std::process::Output {
        let mut command = tokio::process::Command::new(&programs().master);
        command.args(words).arg("-data-dir");
        command.arg(self.master.lock().await.data_dir());
        if let Some(uri) = &self.store_env {
            command.env("MONGODB_URI", uri);
        }
        command.output().await.expect("the program is there")
    }
}

/// Whether a master's status says that it has read its store and lacks nothing.
#[must_use]
pub fn is_well(status: &Value) -> bool {
    status["ready"] == true && status.get("degraded").is_some_and(Value::is_null)
}

fn master_recipe(grpc: SocketAddr, store_env: Option<String>) -> Recipe {
    let http = format!("127.0.0.1:{}", free_port());
    Box::new(move |env| {
        let mut command = tokio::process::Command::new(&programs().master);
        command.args(["-grpc", &grpc.to_string(), "-http", &http]);
        command.args(MASTER_FLAGS);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        if let Some(uri) = &store_env {
            command.env("MONGODB_URI", uri);
        }
        command
    })
}

fn worker_recipe(namespace: &Namespace, engine: String, words: &[(&str, String)]) -> Recipe {
    // sudo keeps no variables; `env` brings them in.
    let inside = namespace.words();
    let args: Vec<String> = words
        .iter()
        .flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()])
        .collect();
    Box::new(move |env| {
        let mut command = tokio::process::Command::new(&inside[0]);
        command.args(&inside[1..]).arg("env");
        command.arg(format!("DOCKER_HOST={engine}"));
        for (name, value) in env {
            command.arg(format!("{name}={value}"));
        }
        command
            .arg("NO_COLOR=1")
            .arg(&programs().worker)
            .args(&args);
        command
    })
}
