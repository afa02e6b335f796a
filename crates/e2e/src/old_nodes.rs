//! The earlier Go nodes, played by the Python programs in `tests/old_nodes`, here or on another
//! machine.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

use crate::{cluster::free_port, namespace::Namespace, process::Process, wait::until};

/// Where one of two nodes runs; the other is always here.
#[derive(Debug, Default)]
pub struct Place(Option<Namespace>);

impl Place {
    /// This machine: the nodes talk over plain loopback.
    #[must_use]
    pub fn here() -> Self {
        Self(None)
    }

    /// Another machine: whoever is called from there was started with `-insecure`.
    #[must_use]
    pub fn elsewhere() -> Self {
        Self(Some(Namespace::new()))
    }

    /// Its address, as seen from here.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.as_ref().map_or("127.0.0.1", |other| &other.there)
    }

    /// This machine's address, as seen from there.
    #[must_use]
    pub fn towards_here(&self) -> &str {
        self.0.as_ref().map_or("127.0.0.1", |other| &other.here)
    }

    /// What a node here is bound to, so that it is reached from there.
    #[must_use]
    pub fn bind_here(&self) -> &str {
        if self.0.is_some() {
            "0.0.0.0"
        } else {
            "127.0.0.1"
        }
    }

    /// The flags that this place asks of our nodes.
    #[must_use]
    pub fn flags(&self) -> &'static [&'static str] {
        if self.0.is_some() {
            &["-insecure"]
        } else {
            &[]
        }
    }

    /// A command that runs there.
    #[must_use]
    pub fn command(&self, program: &Path) -> tokio::process::Command {
        match &self.0 {
            Some(other) => other.command(program),
            None => tokio::process::Command::new(program),
        }
    }
}

/// A peer's program, and what it has seen.
#[derive(Debug)]
pub struct Peer {
    /// The program.
    pub process: Process,
    /// Where it serves, as seen from here.
    pub address: String,
}

impl Peer {
    /// An old worker at this place.
    pub async fn worker(place: &Place, id: &str, flags: &[&str]) -> Self {
        let address = format!("{}:{}", place.host(), free_port());
        Self::worker_at(place, id, &address, flags).await
    }

    /// An old worker that serves at this address.
    pub async fn worker_at(place: &Place, id: &str, address: &str, flags: &[&str]) -> Self {
        let mut command = python(place, "old_worker.py");
        command.args(["--id", id, "--listen", address]).args(flags);
        Self::start(id, command, address).await
    }

    /// An old master, here, reached from this place at this port.
    pub async fn master_at(place: &Place, port: u16, flags: &[&str]) -> Self {
        let mut command = python(&Place::here(), "old_master.py");
        let listen = format!("{}:{port}", place.bind_here());
        command.args(["--listen", &listen]).args(flags);
        let address = format!("{}:{port}", place.towards_here());
        Self::start("old-master", command, &address).await
    }

    async fn start(name: &str, command: tokio::process::Command, address: &str) -> Self {
        let mut peer = Self {
            process: Process::spawn(name, command, Path::new(env!("CARGO_MANIFEST_DIR"))),
            address: address.to_owned(),
        };
        peer.process.says(r#""event": "serving""#).await;
        peer
    }

    /// Everything of this kind that it has seen.
    #[must_use]
    pub fn all(&self, event: &str) -> Vec<Value> {
        let lines = self.process.lines().into_iter();
        lines
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .filter(|seen| seen["event"] == event)
            .collect()
    }

    /// Waits until it has seen something of this kind that passes.
    pub async fn sees(&self, event: &str, passes: impl Fn(&Value) -> bool) -> Value {
        until(&format!("the old node to see {event}"), async || {
            self.all(event).into_iter().find(&passes)
        })
        .await
    }

    /// Tells an old master what to do.
    pub async fn wish(&mut self, wish: &Value) {
        self.process.type_line(&wish.to_string()).await;
    }

    /// Checks that it was sent no field that it doesn't know. What calls a worker before it has
    /// registered can't know how old it is.
    ///
    /// # Panics
    /// If it was.
    pub fn was_spoken_to_in_old_words(&self) {
        let lines = self.process.lines();
        let seen: Vec<Value> = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let is_call = |seen: &&Value| seen["event"] == "MasterRegister";
        let known_from = seen.iter().position(|seen| seen["event"] == "registered");
        let unknown: Vec<_> = seen
            .iter()
            .enumerate()
            .filter(|(at, seen)| !is_call(seen) || known_from.is_some_and(|from| *at > from))
            .map(|(_, seen)| seen)
            .filter(|seen| {
                seen["unknown"]
                    .as_array()
                    .is_some_and(|new| !new.is_empty())
            })
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

fn python(place: &Place, program: &str) -> tokio::process::Command {
    let home = set_up();
    let mut command = place.command(&home.join("venv/bin/python"));
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_nodes");
    command
        .arg("-B")
        .arg(sources.join(program))
        .env("PYTHONPATH", home.join("generated"));
    command
}

/// Makes sure once that the peers can run; says what is missing if they can't.
fn set_up() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let script = root.join("scripts/old-nodes-up");
        let output = Command::new(script).arg("--without-root").output();
        let output = output.expect("bash runs scripts/old-nodes-up");
        assert!(
            output.status.success(),
            "{}: run scripts/old-nodes-up",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        root.canonicalize()
            .expect("the repository is there")
            .join("target/old-nodes")
    })
}
