//! What a run makes on this machine, how it is found, and how it is removed: also what a run that was
//! killed has left. Everything is known by the run's own folder, or by the cluster's id that lies in it.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use super::machine::{processes, signal_all};
use crate::{namespace::as_root, wait::Deadline};

/// The file with the cluster's id.
pub const CLUSTER: &str = "cluster";
/// The file with the names of network namespaces, a line each.
const NAMESPACES: &str = "namespaces";
/// Locked as long as the run lives.
const LOCK: &str = "lock";
/// How folders of runs begin.
const PREFIX: &str = "cloudai-chaos-";

/// The folder of a run, which is marked as alive for as long as this exists.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// One of this process's own.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir();
        let path = folder.expect("there is room for a folder").keep();
        let lock = File::create(path.join(LOCK)).expect("there is room for a file");
        lock.lock().expect("nobody else knows of it yet");
        Self { path, _lock: lock }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for RunFolder {
    fn default() -> Self {
        Self::new()
    }
}

/// Notes a network namespace, so that it is found again.
///
/// # Panics
/// If there is no room for it.
pub fn remember(folder: &Path, namespace: &str) {
    let file = File::options()
        .append(true)
        .create(true)
        .open(folder.join(NAMESPACES));
    let mut file = file.expect("the run's folder is there");
    writeln!(file, "{namespace}").expect("there is room");
}

/// Removes what runs that were killed have left; their folders.
pub async fn clean_dead() -> Vec<PathBuf> {
    let mut cleaned = Vec::new();
    let temporary = fs::read_dir(std::env::temp_dir());
    for entry in temporary.into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        // One without its lock yet has just begun.
        let Ok(lock) = File::open(path.join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            clean_path(&path).await;
            cleaned.push(path);
        }
    }
    cleaned
}

/// Waits until nobody else works in the folder, and removes it with whatever of the run is left.
pub async fn clean(folder: &Arc<RunFolder>) {
    let deadline = Deadline::new("everything of the run to have ended");
    while Arc::strong_count(folder) > 1 {
        deadline.again().await;
    }
    clean_path(&folder.path).await;
}

async fn clean_path(folder: &Path) {
    let cluster = cluster_of(folder);
    let mut seen = run_processes(folder);
    if !cluster.is_empty() {
        seen.extend(watchers(&cluster));
    }
    signal_all("KILL", &seen);
    let deadline = Deadline::new("the programs to be gone");
    while !run_processes(folder).is_empty() {
        deadline.again().await;
    }
    for name in namespaces(folder) {
        root(&["ip", "netns", "del", &name]);
    }
    for mount in mounts(folder) {
        root(&["umount", "--lazy", &mount]);
    }
    for id in containers(&cluster) {
        docker(&["rm", "--force", "--volumes", &id]);
    }
    for name in volumes(&cluster) {
        docker(&["volume", "rm", "--force", &name]);
    }
    root(&["rm", "-rf", &folder.display().to_string()]);
}

/// What there still is of a run, in words.
#[must_use]
pub fn find(folder: &Path) -> Vec<String> {
    let cluster = cluster_of(folder);
    let all = [
        (
            "process",
            run_processes(folder)
                .iter()
                .map(ToString::to_string)
                .collect(),
        ),
        ("network namespace", namespaces(folder)),
        ("mount", mounts(folder)),
        ("container", containers(&cluster)),
        ("volume", volumes(&cluster)),
    ];
    let named = |(kind, found): (&str, Vec<String>)| {
        let kind = kind.to_owned();
        found.into_iter().map(move |one| format!("{kind} {one}"))
    };
    all.into_iter().flat_map(named).collect()
}

fn cluster_of(folder: &Path) -> String {
    fs::read_to_string(folder.join(CLUSTER)).unwrap_or_default()
}

/// The programs that work on a data directory in the folder.
fn run_processes(folder: &Path) -> Vec<u32> {
    processes(|args| {
        let mut pairs = args.windows(2);
        pairs.any(|pair| pair[0] == "-data-dir" && Path::new(&pair[1]).starts_with(folder))
    })
}

/// Who watches the engine's events for this cluster.
fn watchers(cluster: &str) -> Vec<u32> {
    let label = format!("label=cloudai.cluster={cluster}");
    processes(|args| args.contains(&label))
}

/// Those of the run that are there.
fn namespaces(folder: &Path) -> Vec<String> {
    let mine = fs::read_to_string(folder.join(NAMESPACES)).unwrap_or_default();
    let there = output(Command::new("ip").args(["netns", "list"]));
    let there: Vec<&str> = there
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    mine.lines()
        .filter(|name| there.contains(name))
        .map(str::to_owned)
        .collect()
}

fn mounts(folder: &Path) -> Vec<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = all.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| Path::new(point).starts_with(folder))
        .map(str::to_owned)
        .collect()
}

/// The containers of a cluster, running or not.
#[must_use]
pub fn containers(cluster: &str) -> Vec<String> {
    of_cluster(cluster, &["ps", "--all", "--quiet"])
}

/// The volumes of a cluster.
#[must_use]
pub fn volumes(cluster: &str) -> Vec<String> {
    of_cluster(cluster, &["volume", "ls", "--quiet"])
}

fn of_cluster(cluster: &str, listing: &[&str]) -> Vec<String> {
    // A run that ended before it had a cluster has nothing there.
    if cluster.is_empty() {
        return Vec::new();
    }
    let filter = format!("label=cloudai.cluster={cluster}");
    let found = output(
        Command::new("docker")
            .args(listing)
            .args(["--filter", &filter]),
    );
    found.split_whitespace().map(str::to_owned).collect()
}

fn output(command: &mut Command) -> String {
    let output = command.output();
    output.map_or_else(
        |_| String::new(),
        |it| String::from_utf8_lossy(&it.stdout).into_owned(),
    )
}

/// Whether it could be done is seen by what is left.
fn docker(args: &[&str]) {
    output(Command::new("docker").args(args));
}

/// What lies in a folder that only root may look into; nothing, if it is not there.
#[must_use]
pub fn names_in(folder: &Path) -> Vec<String> {
    let listed = root(&["ls", "-A", &folder.display().to_string()]);
    listed.lines().map(str::to_owned).collect()
}

fn root(words: &[&str]) -> String {
    let mut all = as_root();
    all.extend(words.iter().map(ToString::to_string));
    output(Command::new(&all[0]).args(&all[1..]))
}
