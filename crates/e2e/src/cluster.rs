//! A master and its workers, driven as an operator drives them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use cloudai_engine::Engine;
use cloudai_model::{AttemptId, ClusterId, TaskDraft, TaskId};
pub use cloudai_store::mongod::free_port;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use crate::{
    client::Client,
    engine::{containers, engine},
    process::Process,
    programs::programs,
    wait::{PATIENCE, until, until_within},
};

/// See the module. Whatever containers a test leaves are removed with it.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    /// Where gRPC is served, `127.0.0.1:port`.
    pub grpc: String,
    /// Where HTTP is served.
    pub http: String,
    /// Addresses that gRPC is bound to.
    grpc_bind: String,
    extra: Vec<String>,
    /// Environment of the master.
    env: Vec<(String, String)>,
    /// The master.
    pub master: Process,
    /// The workers by id.
    pub workers: BTreeMap<String, Process>,
    ports: BTreeMap<String, u16>,
    /// The engine.
    pub engine: Engine,
    /// The cluster's id, as containers are labelled with.
    id: ClusterId,
}

impl Cluster {
    /// A master on this machine alone.
    pub async fn start() -> Self {
        Self::start_with("127.0.0.1", &[]).await
    }

    /// A master that serves gRPC on this host's address, with these flags more.
    ///
    /// # Panics
    /// If it doesn't start.
    pub async fn start_with(host: &str, extra: &[&str]) -> Self {
        Self::start_in(host, extra, &[]).await
    }

    /// The same, with this environment besides.
    ///
    /// # Panics
    /// If it doesn't start.
    pub async fn start_in(host: &str, extra: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_prepared(host, extra, env, |_| ()).await.0
    }

    /// The same, in surroundings that `prepare` makes: it is given the folder that will hold the
    /// master's data directory, `master`.
    ///
    /// # Panics
    /// If it doesn't start.
    pub async fn start_prepared<T>(
        host: &str,
        extra: &[&str],
        env: &[(&str, &str)],
        prepare: impl FnOnce(&Path) -> T,
    ) -> (Self, T) {
        let engine = engine().await;
        let folder = tempfile::tempdir().unwrap();
        let prepared = prepare(folder.path());
        let (grpc_port, http_port) = (free_port(), free_port());
        let grpc_bind = format!("{host}:{grpc_port}");
        let http = format!("127.0.0.1:{http_port}");
        let extra: Vec<_> = extra.iter().map(ToString::to_string).collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let env: Vec<_> = env.iter().map(owned).collect();
        let master = start_master(&folder, &grpc_bind, &http, &extra, &env);
        let mut cluster = Self {
            grpc: format!("127.0.0.1:{grpc_port}"),
            folder,
            http,
            grpc_bind,
            extra,
            env,
            master,
            workers: BTreeMap::new(),
            ports: BTreeMap::new(),
            engine,
            // Until the master says which.
            id: "unknown".parse().expect("it is a word"),
        };
        cluster.is_serving().await;
        cluster.id = until("the master to know its cluster", async || {
            let health = cluster.get("/health").await;
            health["cluster"].as_str()?.parse().ok()
        })
        .await;
        (cluster, prepared)
    }

    /// Waits until the master serves.
    pub async fn is_serving(&mut self) {
        self.master.says("gRPC server listening on").await;
    }

    /// The master's port for gRPC.
    #[must_use]
    pub fn grpc_port(&self) -> &str {
        self.grpc.rsplit(':').next().unwrap_or_default()
    }

    /// Starts the master again on what it left.
    pub async fn restart_master(&mut self) {
        self.start_master_again();
        self.is_serving().await;
        until("the master to have read its store", async || {
            (self.get("/ready").await["ready"] == true).then_some(())
        })
        .await;
    }

    /// The same, without waiting until it serves.
    pub fn start_master_again(&mut self) {
        let (grpc, http) = (&self.grpc_bind, &self.http);
        self.master = start_master(&self.folder, grpc, http, &self.extra, &self.env);
    }

    /// Kills the master without a warning, and waits until it is gone.
    pub async fn kill_master(&mut self) {
        self.master.signal("KILL").await;
        self.master.ends().await;
    }

    /// Kills a worker without a warning, and waits until it is gone.
    ///
    /// # Panics
    /// If it doesn't run.
    pub async fn kill_worker(&mut self, id: &str) {
        let worker = self.workers.remove(id).expect("it runs");
        worker.kill().await;
    }

    /// A folder of the test's own.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Registers a worker and starts it, with this many cores; waits until it is active.
    pub async fn add_worker(&mut self, id: &str, cores: f64) {
        let port = self.register(id).await;
        self.start_worker(id, port, cores);
        self.worker_is_active(id).await;
    }

    /// Registers a worker on this machine; the port that it shall serve on.
    pub async fn register(&mut self, id: &str) -> u16 {
        let port = free_port();
        self.register_at(id, port).await;
        port
    }

    /// Registers a worker that the master reaches at this port of this machine.
    pub async fn register_at(&mut self, id: &str, port: u16) {
        self.master
            .type_line(&format!("register {id} 127.0.0.1:{port}"))
            .await;
        self.master
            .says(&format!("Worker {id} registered with address"))
            .await;
    }

    /// Starts a worker's program.
    pub fn start_worker(&mut self, id: &str, port: u16, cores: f64) {
        self.start_worker_with(id, port, cores, |_| {});
    }

    /// Registers a worker and starts it with flags, environment or a user of its own, which
    /// `adjust` sets; waits until it is active.
    pub async fn add_worker_with(
        &mut self,
        id: &str,
        cores: f64,
        adjust: impl FnOnce(&mut Command),
    ) {
        let port = self.register(id).await;
        self.start_worker_with(id, port, cores, adjust);
        self.worker_is_active(id).await;
    }

    /// Starts a worker's program; `adjust` may add to its command.
    pub fn start_worker_with(
        &mut self,
        id: &str,
        port: u16,
        cores: f64,
        adjust: impl FnOnce(&mut Command),
    ) {
        self.ports.insert(id.to_owned(), port);
        let data = self.path(id).display().to_string();
        let args = [
            ("-id", id.to_owned()),
            ("-master", self.grpc.clone()),
            ("-port", format!("127.0.0.1:{port}")),
            ("-data-dir", data),
            ("-cpu", cores.to_string()),
            ("-mem", "8".to_owned()),
            ("-storage", "20".to_owned()),
        ];
        let mut command = Command::new(&programs().worker);
        for (flag, value) in args {
            command.args([flag, &value]);
        }
        adjust(&mut command);
        let worker = Process::spawn(id, command, self.folder.path());
        self.workers.insert(id.to_owned(), worker);
    }

    /// Starts a worker's program again, as it was.
    ///
    /// # Panics
    /// If it never was started.
    pub fn restart_worker(&mut self, id: &str, cores: f64) {
        let port = self.ports[id];
        self.start_worker(id, port, cores);
    }

    /// The same, with flags, environment or a user of its own, which `adjust` sets.
    ///
    /// # Panics
    /// If it never was started.
    pub fn restart_worker_with(&mut self, id: &str, cores: f64, adjust: impl FnOnce(&mut Command)) {
        let port = self.ports[id];
        self.start_worker_with(id, port, cores, adjust);
    }

    /// The port that a worker was started on.
    ///
    /// # Panics
    /// If it never was.
    #[must_use]
    pub fn worker_port(&self, id: &str) -> u16 {
        self.ports[id]
    }

    /// Waits until the master counts a worker as active.
    pub async fn worker_is_active(&mut self, id: &str) {
        until(&format!("{id} to be active"), async || {
            let workers = self.json("workers").await;
            let mut entries = workers.as_array()?.iter();
            entries
                .any(|worker| worker["worker_id"] == id && worker["status"] == "active")
                .then_some(())
        })
        .await;
    }

    /// A client of this master.
    pub async fn client(&self) -> Client {
        Client::connect(&self.grpc).await
    }

    /// Submits a task that runs `test_task` with these words.
    ///
    /// # Panics
    /// If the master refuses it.
    pub async fn submit(&mut self, words: &[&str]) -> TaskId {
        self.submit_draft(test_task(words)).await
    }

    /// Submits a task.
    ///
    /// # Panics
    /// If the master refuses it.
    pub async fn submit_draft(&mut self, draft: TaskDraft) -> TaskId {
        self.client()
            .await
            .submit(draft)
            .await
            .expect("the task is right")
            .task
    }

    /// A listing of the console as JSON.
    ///
    /// # Panics
    /// If what it says is not JSON.
    pub async fn json(&mut self, command: &str) -> Value {
        let seen = self.master.lines().len();
        self.master.type_line(&format!("{command} --json")).await;
        let line = until(&format!("the answer to {command}"), async || {
            let lines = self.master.lines();
            lines
                .into_iter()
                .skip(seen)
                .find(|line| line.starts_with(['[', '{']))
        })
        .await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// A task as the console lists it.
    pub async fn task(&mut self, task: &TaskId) -> Value {
        let id = task.to_string();
        until(&format!("{id} to be listed"), async || {
            let tasks = self.json("list-tasks").await;
            tasks
                .as_array()?
                .iter()
                .find(|entry| entry["task_id"] == id.as_str())
                .cloned()
        })
        .await
    }

    /// Waits until a task has this status.
    ///
    /// # Panics
    /// If it ends with another.
    pub async fn has_status(&mut self, task: &TaskId, status: &str) -> Value {
        self.has_status_within(PATIENCE, task, status).await
    }

    /// The same, for what takes its time by design.
    ///
    /// # Panics
    /// If it ends with another.
    pub async fn has_status_within(
        &mut self,
        patience: Duration,
        task: &TaskId,
        status: &str,
    ) -> Value {
        until_within(patience, &format!("{task} to be {status}"), async || {
            let entry = self.task(task).await;
            let now = entry["status"].as_str().unwrap_or_default().to_owned();
            let ended = ["completed", "failed", "cancelled"].contains(&now.as_str());
            assert!(
                now == status || !ended,
                "{task} is {now}, not {status}: {entry}"
            );
            (now == status).then_some(entry)
        })
        .await
    }

    /// The body that the master's HTTP server answers with.
    ///
    /// # Panics
    /// If it doesn't answer.
    pub async fn get(&self, path: &str) -> Value {
        let mut stream = tokio::net::TcpStream::connect(&self.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// The cluster's id.
    #[must_use]
    pub fn id(&self) -> ClusterId {
        self.id.clone()
    }

    /// How many containers of this cluster a worker has.
    pub async fn container_count(&self, worker: &str) -> usize {
        containers(&self.engine, &self.id, worker).await.len()
    }

    /// Cancels what still runs, checks that no container is left on a worker that is there, and ends
    /// everything in order.
    ///
    /// # Panics
    /// If a container is left, or the master does not end well.
    pub async fn end(mut self) {
        let mut client = self.client().await;
        for task in self
            .json("list-tasks")
            .await
            .as_array()
            .into_iter()
            .flatten()
        {
            let is_live = |status| ["queued", "pending", "running"].contains(&status);
            if task["status"].as_str().is_some_and(is_live) {
                let id = task["task_id"].as_str().unwrap_or_default();
                client
                    .cancel(&id.parse().expect("a listed id is one"))
                    .await;
            }
        }
        let names: Vec<_> = self.workers.keys().cloned().collect();
        for name in names {
            until(&format!("no container to be left on {name}"), async || {
                (self.container_count(&name).await == 0).then_some(())
            })
            .await;
        }
        self.master.type_line("exit").await;
        self.master.ends().await;
        self.workers.clear();
    }
}

impl Drop for Cluster {
    /// What is left of a test that failed, or that has taken its workers away.
    fn drop(&mut self) {
        let label = format!("label=cloudai.cluster={}", self.id);
        let docker = |args: &[&str]| std::process::Command::new("docker").args(args).output();
        let Ok(listed) = docker(&["ps", "--all", "--quiet", "--filter", &label]) else {
            return;
        };
        for container in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            // Gone by itself is as well.
            let _ = docker(&["rm", "--force", "--volumes", container]).is_ok();
        }
    }
}

/// A task that runs `test_task` with these words, small enough for many at once.
#[must_use]
pub fn test_task(words: &[&str]) -> TaskDraft {
    let mut command = vec!["/test-task".to_owned()];
    command.extend(words.iter().map(ToString::to_string));
    TaskDraft {
        docker_image: crate::engine::TEST_TASK.to_owned(),
        command: cloudai_model::Command::Exec(command),
        cpu_cores: Some(0.5),
        memory_gb: Some(0.125),
        storage_gb: Some(0.5),
        ..TaskDraft::default()
    }
}

/// The first attempt of a task.
#[must_use]
pub fn first(task: &TaskId) -> AttemptId {
    AttemptId::new(task.clone(), 1)
}

fn start_master(
    folder: &TempDir,
    grpc: &str,
    http: &str,
    extra: &[String],
    env: &[(String, String)],
) -> Process {
    let data = folder.path().join("master").display().to_string();
    let mut args: Vec<String> = ["-grpc", grpc, "-http", http, "-data-dir", &data]
        .map(str::to_owned)
        .into();
    args.extend_from_slice(extra);
    let mut command = Command::new(&programs().master);
    command.args(&args).envs(env.iter().cloned());
    Process::spawn("master", command, folder.path())
}
