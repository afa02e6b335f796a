//! What the tests with a real engine share: an image, a place to run containers that is cleared
//! away whatever happens, and a way to the engine that can be cut.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic
)]

pub mod bytes;
pub mod proxy;
pub mod registry;

use std::{collections::BTreeMap, path::Path, sync::atomic::AtomicU32, time::Duration};

use bollard::{Docker, body_full, query_parameters::CreateImageOptionsBuilder};
use cloudai_engine::{
    ContainerId, ContainerPlan, ContainerSettings, Engine, ImageId, LogPiece, LogPosition,
    LogStream, RawEnd,
};
use cloudai_model::{
    AttemptId, ClusterId, Command, ContainerSpec, ImageRef, TaskId, container::network::Network,
};
use futures_util::StreamExt as _;
use tokio::sync::OnceCell;

/// No step of a test takes longer than this unless something hangs.
pub const LIMIT: Duration = Duration::from_secs(60);
pub const MIB: u64 = 1 << 20;

const IMAGE: &str = "cloudai-engine-test/busybox:1";
const BUSYBOX: &str = "/bin/busybox";
const APPLETS: &[&str] = &[
    "cat", "dd", "echo", "env", "false", "grep", "head", "kill", "ls", "mkdir", "printf", "sed",
    "seq", "sh", "sleep", "tail", "touch", "tr", "true", "usleep", "wc", "yes",
];

/// The engine that `DOCKER_HOST` names, or the usual one.
pub async fn engine() -> Engine {
    let host = std::env::var("DOCKER_HOST").ok();
    Engine::connect(host.as_deref())
        .await
        .unwrap_or_else(|error| panic!("these tests need a Docker Engine: {error}"))
}

/// A client past our own, to look from outside.
pub fn docker() -> Docker {
    Docker::connect_with_defaults().unwrap()
}

/// An image with a shell and little else, imported on first use.
pub async fn busybox_image() -> ImageId {
    static IMPORTED: OnceCell<ImageId> = OnceCell::const_new();
    let made = IMPORTED.get_or_init(|| async { import(IMAGE, &[]).await });
    made.await.clone()
}

/// The image by this name, made of busybox with these Dockerfile instructions if it isn't there.
pub async fn import(name: &str, changes: &[&str]) -> ImageId {
    let name: ImageRef = name.parse().unwrap();
    let engine = engine().await;
    if let Some(found) = engine.image(&name).await.unwrap() {
        return found.id;
    }
    let (repo, tag) = name.as_str().rsplit_once(':').unwrap();
    let mut options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(repo)
        .tag(tag);
    if !changes.is_empty() {
        options = options.changes(changes.iter().map(|c| (*c).to_owned()).collect());
    }
    let docker = docker();
    let mut answers = docker.create_image(
        Some(options.build()),
        Some(body_full(root_file_system(name.as_str()).into())),
        None,
    );
    while let Some(answer) = answers.next().await {
        answer.unwrap();
    }
    engine.image(&name).await.unwrap().unwrap().id
}

/// The mark makes the layer another for each name, so that none is there before it is pulled.
fn root_file_system(mark: &str) -> Vec<u8> {
    let busybox = std::fs::read(BUSYBOX)
        .unwrap_or_else(|error| panic!("{BUSYBOX}: {error}; apt-get install busybox-static"));
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    for folder in ["bin/", "tmp/", "output/"] {
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o1777);
        header.set_size(0);
        tar.append_data(&mut header, folder, &[][..]).unwrap();
    }
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o755);
    header.set_size(busybox.len() as u64);
    tar.append_data(&mut header, "bin/busybox", &busybox[..])
        .unwrap();
    header.set_size(mark.len() as u64);
    tar.append_data(&mut header, "mark", mark.as_bytes())
        .unwrap();
    for applet in APPLETS {
        let mut link = tar::Header::new_ustar();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_mode(0o777);
        link.set_size(0);
        tar.append_link(&mut link, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    tar.into_inner().unwrap()
}

/// A cluster of its own for one test. Whatever containers it has on the engine when it is dropped
/// are removed, also after a panic.
pub struct Place {
    pub engine: Engine,
    pub cluster: ClusterId,
    folder: tempfile::TempDir,
    tasks: AtomicU32,
}

impl Place {
    pub async fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("cloudai-engine-test-")
            .tempdir()
            .unwrap();
        let unique = folder.path().file_name().unwrap().to_str().unwrap();
        let unique = unique.rsplit('-').next().unwrap();
        Self {
            engine: engine().await,
            cluster: format!("t-{unique}").parse().unwrap(),
            folder,
            tasks: AtomicU32::new(0),
        }
    }

    /// The host's side of a task's `/output`.
    pub fn output(&self, task: &TaskId) -> std::path::PathBuf {
        self.folder.path().join(task.to_string())
    }

    /// A plan for a new task that runs this command with modest limits, and no network because
    /// that is quicker.
    pub async fn plan(&self, command: Command) -> ContainerPlan {
        let number = self
            .tasks
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let task = TaskId::numbered(u64::from(number));
        std::fs::create_dir(self.output(&task)).unwrap();
        ContainerPlan {
            cluster: self.cluster.clone(),
            worker: "worker-1".parse().unwrap(),
            output_dir: self.output(&task),
            attempt: AttemptId::new(task, 1),
            image: busybox_image().await,
            command,
            env: BTreeMap::new(),
            cpu_milli: 1000,
            memory_bytes: 64 * MIB,
            gpu_devices: Vec::new(),
            settings: ContainerSettings {
                asked: ContainerSpec {
                    network: Network::None,
                    ..ContainerSpec::default()
                },
                ..ContainerSettings::default()
            },
        }
    }

    pub async fn shell(&self, line: &str) -> ContainerPlan {
        self.plan(Command::Shell(line.to_owned())).await
    }

    /// Creates and starts the container of a plan.
    pub async fn start(&self, plan: &ContainerPlan) -> ContainerId {
        let created = self.engine.create(plan).await.unwrap();
        assert!(!created.existed);
        self.engine.start(&created.id).await.unwrap();
        created.id
    }

    /// Runs a line to its end.
    pub async fn run(&self, line: &str) -> RawEnd {
        let id = self.start(&self.shell(line).await).await;
        within(self.engine.wait(&id)).await.unwrap()
    }

    /// Runs a plan to its end and gives what it wrote.
    pub async fn run_with_log(&self, plan: &ContainerPlan) -> (RawEnd, Written) {
        let id = self.start(plan).await;
        let written = within(read_log(&self.engine, &id, LogPosition::START)).await;
        (within(self.engine.wait(&id)).await.unwrap(), written)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let cluster = self.cluster.clone();
        // A runtime can't be entered from within another; a thread can have its own.
        let cleared = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let engine = engine().await;
                let worker = "worker-1".parse().unwrap();
                for held in engine.list(&cluster, &worker).await.unwrap() {
                    engine.remove(&held.id).await.unwrap();
                }
            });
        });
        let cleared = cleared.join();
        assert!(
            cleared.is_ok() || std::thread::panicking(),
            "containers were left"
        );
    }
}

/// What a command wrote.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Written {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Written {
    pub fn push(&mut self, piece: &LogPiece) {
        let into = match piece.stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        into.extend_from_slice(&piece.data);
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Reads a log to its end.
pub async fn read_log(engine: &Engine, id: &ContainerId, from: LogPosition) -> Written {
    let mut written = Written::default();
    let mut pieces = engine.logs(id, from);
    while let Some(piece) = pieces.next().await {
        written.push(&piece.unwrap());
    }
    written
}

/// Ends a test that hangs.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("not done within {LIMIT:?}"))
}

/// Waits until a file appears, as the sign of a container that it has come so far.
pub async fn appears(path: &Path) {
    within(async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
