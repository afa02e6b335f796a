//! What a run makes on this machine, how it is found, and how it is removed: also what a run that was
//! killed has left. Everything is known by the run's own folder, or by the cluster's id that lies in it.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use super::machine::{processes, signal_all};
use crate::{
    engine::docker,
    root::{as_root, own_user},
    wait::Deadline,
};

/// The file with the cluster's id.
pub const CLUSTER: &str = "cluster";
/// The file with the names of network namespaces, a line each.
pub const NAMESPACES: &str = "namespaces";
/// The file with the folders of database servers, a line each.
pub const DATABASES: &str = "databases";
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
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir();
        let path = folder.expect("there is room for a folder").keep();
        // By another name until it is locked: whoever finds it unlocked takes the run for dead.
        let begun = path.join("locking");
        let lock = File::create(&begun).expect("there is room for a file");
        lock.lock().expect("nobody else knows of it yet");
        fs::rename(begun, path.join(LOCK)).expect("the folder is this process's own");
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

/// Notes something in one of the run's files, so that it is found again.
///
/// # Panics
/// If there is no room for it.
pub fn remember(folder: &Path, file: &str, what: &str) {
    let file = File::options()
        .append(true)
        .create(true)
        .open(folder.join(file));
    let mut file = file.expect("the run's folder is there");
    writeln!(file, "{what}").expect("there is room");
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
        if !is_own(&path) {
            continue;
        }
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

/// Whether nobody else can have written what lies there: it names what is removed, by root.
fn is_own(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|it| {
        it.is_dir() && it.uid() == own_user() && it.permissions().mode() & 0o022 == 0
    })
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
    // Whatever can't be listed or removed here is found by the next run.
    for name in namespaces(folder).unwrap_or_default() {
        let _ = said(&mut as_root(&["ip", "netns", "del", &name]));
    }
    for mount in mounts(folder).unwrap_or_default() {
        let _ = said(&mut as_root(&["umount", "--lazy", &mount]));
    }
    for id in containers(&cluster).unwrap_or_default() {
        let _ = said(docker().args(["rm", "--force", "--volumes", &id]));
    }
    for name in volumes(&cluster).unwrap_or_default() {
        let _ = said(docker().args(["volume", "rm", "--force", &name]));
    }
    let _ = said(&mut as_root(&["rm", "-rf", &folder.display().to_string()]));
}

/// What there still is of a run, in words. What can't be looked for may be there.
#[must_use]
pub fn find(folder: &Path) -> Vec<String> {
    let cluster = cluster_of(folder);
    let processes = run_processes(folder);
    let all = [
        (
            "process",
            Ok(processes.iter().map(ToString::to_string).collect()),
        ),
        ("database", Ok(databases(folder))),
        ("network namespace", namespaces(folder)),
        ("mount", mounts(folder)),
        ("container", containers(&cluster)),
        ("volume", volumes(&cluster)),
    ];
    all.into_iter()
        .flat_map(|(kind, found)| named(kind, found))
        .collect()
}

/// Each of these in words, or that they can't be listed.
#[must_use]
pub fn named(kind: &str, found: Result<Vec<String>, String>) -> Vec<String> {
    match found {
        Ok(found) => found.iter().map(|one| format!("{kind} {one}")).collect(),
        Err(why) => vec![format!("a {kind}, for all that is known: {why}")],
    }
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

/// The database servers that run yet, or have not removed what they had; whoever keeps one ends it with
/// the run, however that ends.
fn databases(folder: &Path) -> Vec<String> {
    let mine = fs::read_to_string(folder.join(DATABASES)).unwrap_or_default();
    let is_there = |data: &&str| {
        let is_of_it = |args: &[String]| args.iter().any(|arg| arg == data);
        Path::new(data).exists() || !processes(is_of_it).is_empty()
    };
    mine.lines().filter(is_there).map(str::to_owned).collect()
}

/// Who watches the engine's events for this cluster.
fn watchers(cluster: &str) -> Vec<u32> {
    let label = format!("label=cloudai.cluster={cluster}");
    processes(|args| args.contains(&label))
}

/// Those of the run that are there.
fn namespaces(folder: &Path) -> Result<Vec<String>, String> {
    // A run that ended before it had any has no such file.
    let mine = fs::read_to_string(folder.join(NAMESPACES)).unwrap_or_default();
    let there = said(Command::new("ip").args(["netns", "list"]))?;
    let there: Vec<&str> = there
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mine = mine.lines().filter(|name| there.contains(name));
    Ok(mine.map(str::to_owned).collect())
}

fn mounts(folder: &Path) -> Result<Vec<String>, String> {
    let all = fs::read_to_string("/proc/self/mountinfo");
    let all = all.map_err(|error| format!("/proc/self/mountinfo: {error}"))?;
    let points = all.lines().filter_map(|line| line.split(' ').nth(4));
    let mine = points.filter(|point| Path::new(point).starts_with(folder));
    Ok(mine.map(str::to_owned).collect())
}

/// The containers of a cluster, running or not.
///
/// # Errors
/// Why the engine doesn't list them.
pub fn containers(cluster: &str) -> Result<Vec<String>, String> {
    of_cluster(cluster, &["ps", "--all", "--quiet"])
}

/// The volumes of a cluster.
///
/// # Errors
/// Why the engine doesn't list them.
pub fn volumes(cluster: &str) -> Result<Vec<String>, String> {
    of_cluster(cluster, &["volume", "ls", "--quiet"])
}

fn of_cluster(cluster: &str, listing: &[&str]) -> Result<Vec<String>, String> {
    // A run that ended before it had a cluster has nothing there.
    if cluster.is_empty() {
        return Ok(Vec::new());
    }
    let filter = format!("label=cloudai.cluster={cluster}");
    let found = said(docker().args(listing).args(["--filter", &filter]))?;
    Ok(found.split_whitespace().map(str::to_owned).collect())
}

/// What lies in a folder that only root may look into; nothing, if it is not there.
///
/// # Errors
/// Why it can't be looked into.
pub fn names_in(folder: &Path) -> Result<Vec<String>, String> {
    let list = r#"[ ! -e "$1" ] || exec ls -A "$1""#;
    let listed = said(&mut as_root(&[
        "sh",
        "-c",
        list,
        "sh",
        &folder.display().to_string(),
    ]))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// What a command says that succeeds.
fn said(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let failed = |why: String| format!("{shown}: {why}");
    let output = command.output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("{}, {}", output.status, why.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_listed_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(names_in(folder.path()), Ok(vec!["file".to_owned()]));
        assert_eq!(names_in(&folder.path().join("absent")), Ok(Vec::new()));
        let failed = said(&mut as_root(&["ls", "/absent"])).map(|it| vec![it]);
        let found = named("container", failed);
        assert!(
            found.len() == 1 && found[0].contains("/absent"),
            "{found:?}"
        );
        let none = said(&mut Command::new("no-such-program")).map(|it| vec![it]);
        assert_eq!(named("volume", none).len(), 1);
    }

    #[test]
    fn only_a_folder_that_nobody_else_can_write_to_is_ones_own() {
        let folder = RunFolder::new();
        assert!(is_own(folder.path()));
        let link = tempfile::tempdir().unwrap().keep().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(!is_own(&link), "a link may lead anywhere");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(!is_own(folder.path()), "its group may write to it");
        for made in [folder.path(), link.parent().unwrap()] {
            fs::remove_dir_all(made).unwrap();
        }
        assert!(!is_own(Path::new("/proc/1/root")));
    }

    #[test]
    fn a_new_folder_is_locked_as_soon_as_it_has_a_lock() {
        let folder = RunFolder::new();
        let lock = File::open(folder.path().join(LOCK)).unwrap();
        assert!(lock.try_lock().is_err());
        fs::remove_dir_all(folder.path()).unwrap();
    }
}
