//! A Docker Engine of a test's own, which it may stop, kill and start as it likes. It shares nothing
//! with the machine's: folders, socket and containers are its own, and so is the network that they are on.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use cloudai_engine::Engine;

use crate::{
    engine::{TEST_SHELL, TEST_TASK},
    namespace::Namespace,
    root::as_root,
    small_disk::SmallDisk,
    wait::until,
};

/// See the module. Stopped, with all that it had, when dropped.
#[derive(Debug)]
pub struct OwnEngine {
    folder: tempfile::TempDir,
    /// Where it reaches this machine over the network, if it shall.
    network: Option<Namespace>,
}

impl OwnEngine {
    /// One that runs and has the test images.
    ///
    /// # Panics
    /// If it doesn't start: needs root or sudo, and `dockerd`.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        Self::started(folder, None).await
    }

    /// The same with so many MB for all that it has, and with a way to this machine: it may pull from
    /// registries at [`here`](Self::here).
    ///
    /// # Panics
    /// If it doesn't start.
    pub async fn on_small_disk(megabytes: u32) -> (Self, SmallDisk) {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let disk = SmallDisk::at(&folder.path().join("data"), megabytes);
        let this = Self::started(folder, Some(Namespace::new())).await;
        (this, disk)
    }

    async fn started(folder: tempfile::TempDir, network: Option<Namespace>) -> Self {
        let this = Self { folder, network };
        this.start().await;
        let line = format!(
            "docker save {TEST_TASK} {TEST_SHELL} | docker -H {} load",
            this.host()
        );
        let loaded = Command::new("sh")
            .args(["-c", &line])
            .env_remove("DOCKER_HOST")
            .stdout(Stdio::null())
            .status();
        let loaded = loaded.is_ok_and(|status| status.success());
        assert!(
            loaded,
            "the test images can't be loaded: run scripts/build-images"
        );
        this
    }

    /// As `DOCKER_HOST` takes it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    /// This machine's address, as it is reached from an engine with a way to it.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn here(&self) -> &str {
        let network = self.network.as_ref().expect("it was made with one");
        &network.here
    }

    /// A client of it.
    ///
    /// # Panics
    /// If it doesn't answer.
    pub async fn client(&self) -> Engine {
        let host = self.host();
        until("the test's own engine to answer", async || {
            Engine::connect(Some(&host)).await.ok()
        })
        .await
    }

    /// Starts it on what it left.
    ///
    /// # Panics
    /// If it can't be started.
    pub async fn start(&self) {
        let log = fs::File::create(self.path("log")).expect("the folder is there");
        // In a network namespace of its own: it makes a bridge there, and leaves the machine's alone. (One with
        // `--bridge=none` in the machine's namespace deletes the bridge of the machine's own engine.)
        let mut command = match &self.network {
            None => as_root(&["unshare", "--net", "dockerd"]),
            Some(network) => {
                let [enter, where_to] = network.entered();
                let mut command = as_root(&[&enter, &where_to, "dockerd"]);
                command.arg(format!("--insecure-registry={}/32", network.here));
                command
            }
        };
        let path = |name| self.path(name).display().to_string();
        let spawned = command
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--host", &self.host(), "--pidfile", &path("pid")])
            // Where a containerd of the machine's own runs, it is that one: by another name its are its own.
            .args(["--containerd-namespace", &self.name()])
            .args([
                "--containerd-plugins-namespace",
                &format!("{}-plugins", self.name()),
            ])
            .args(["--iptables=false", "--ip-masq=false", "--ip-forward=false"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let mut spawned =
            spawned.unwrap_or_else(|error| panic!("dockerd: {error}; run scripts/engine-up"));
        until("the test's own engine to start", async || {
            if let Ok(Some(status)) = spawned.try_wait() {
                let log = fs::read_to_string(self.path("log")).unwrap_or_default();
                panic!("dockerd ended with {status}: {log}");
            }
            Engine::connect(Some(&self.host())).await.ok()
        })
        .await;
        // Its end is seen by its pid file and its process.
        std::thread::spawn(move || spawned.wait());
    }

    /// Ends it in order: it stops its containers.
    pub async fn stop(&self) {
        self.end("TERM").await;
    }

    /// Ends it without a warning, and the containerd that it started, which would end a little later.
    pub async fn kill(&self) {
        let containerd = self.running("exec/containerd/containerd.pid", "containerd");
        self.end("KILL").await;
        if let Some(pid) = containerd {
            send("KILL", &pid);
            has_ended(&pid).await;
        }
    }

    async fn end(&self, signal: &str) {
        let Some(pid) = self.pid() else { return };
        send(signal, &pid);
        has_ended(&pid).await;
    }

    fn pid(&self) -> Option<String> {
        self.running("pid", "dockerd")
    }

    /// The process that a file names, if it runs.
    fn running(&self, pid_file: &str, program: &str) -> Option<String> {
        let pid = fs::read_to_string(self.path(pid_file)).ok()?;
        let pid = pid.trim().to_owned();
        // A number that another process has by now is not to be killed.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() == program).then_some(pid)
    }

    /// That of its folder, which no other has.
    fn name(&self) -> String {
        let name = self.folder.path().file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        format!("cloudai-{}", name.trim_start_matches(['.', '_']))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn has_ended(pid: &str) {
    until("the test's own engine to end", async || {
        (!PathBuf::from(format!("/proc/{pid}")).exists()).then_some(())
    })
    .await;
}

fn send(signal: &str, pid: &str) {
    let signal = format!("-{signal}");
    // One that has ended meanwhile is as well.
    let _ = as_root(&["kill", &signal, pid]).status().is_ok();
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        let docker = |words: &[&str]| {
            let mut command = Command::new("docker");
            command.args(["-H", &self.host()]).args(words);
            command.stderr(Stdio::null()).output()
        };
        if let Ok(listed) = docker(&["ps", "--all", "--quiet"]) {
            for container in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
                let _ = docker(&["rm", "--force", container]).is_ok();
            }
        }
        if let Some(pid) = self.pid() {
            send("TERM", &pid);
            for _ in 0..100 {
                if self.pid().is_none() {
                    break;
                }
                let _ = Command::new("sleep").arg("0.1").status().is_ok();
            }
        }
        // What it mounted within its folder would keep that from being removed.
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let folder = self.folder.path().display().to_string();
        let within = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for mount in within.filter(|mount| mount.starts_with(&folder)) {
            let _ = as_root(&["umount", "--lazy", mount]).status().is_ok();
        }
        // It is root's, so that whoever runs the test may not.
        let _ = as_root(&["rm", "-rf", &folder]).status().is_ok();
    }
}
