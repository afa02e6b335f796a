//! Another machine: a network namespace that is joined to this one by a pair of virtual cables.

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
};

/// A network namespace with an address of its own. Taken down when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    cable: String,
    /// This machine's address towards it.
    pub here: String,
    /// Its address.
    pub there: String,
}

/// An address that no card has: a local one (its second bit) that nobody was given.
const NOBODY: &str = "02:00:00:00:00:01";

static COUNT: AtomicU8 = AtomicU8::new(0);

impl Namespace {
    /// Sets one up.
    ///
    /// # Panics
    /// If that fails: needs root or sudo, and iproute2.
    #[must_use]
    pub fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{count}", std::process::id());
        // An address range for tests of networks (RFC 2544), told apart by process and count.
        let (third, fourth) = (std::process::id() % 250, u32::from(count % 60) * 4);
        let this = Self {
            name: format!("cloudai-{id}"),
            cable: format!("ca{id}"),
            here: format!("198.18.{third}.{}", fourth + 1),
            there: format!("198.18.{third}.{}", fourth + 2),
        };
        let inner = this.inner();
        ip(&["netns", "add", &this.name]);
        ip(&[
            "link",
            "add",
            &this.cable,
            "type",
            "veth",
            "peer",
            "name",
            &inner,
        ]);
        ip(&["link", "set", &inner, "netns", &this.name]);
        ip(&[
            "addr",
            "add",
            &format!("{}/30", this.here),
            "dev",
            &this.cable,
        ]);
        ip(&["link", "set", &this.cable, "up"]);
        ip(&[
            "-n",
            &this.name,
            "addr",
            "add",
            &format!("{}/30", this.there),
            "dev",
            &inner,
        ]);
        ip(&["-n", &this.name, "link", "set", &inner, "up"]);
        ip(&["-n", &this.name, "link", "set", "lo", "up"]);
        this
    }

    /// What a command begins with that runs inside and sees everything else as from here.
    pub(crate) fn entered(&self) -> [String; 2] {
        let network = format!("--net=/run/netns/{}", self.name);
        ["nsenter".to_owned(), network]
    }

    /// Its name, as `ip netns` has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Pulls the cable out, at its end.
    pub fn unplug(&self) {
        ip(&["-n", &self.name, "link", "set", &self.inner(), "down"]);
    }

    /// And in again.
    pub fn plug(&self) {
        ip(&["-n", &self.name, "link", "set", &self.inner(), "up"]);
    }

    /// Has what is sent to it vanish on the way; what it sends arrives. The kernel addresses frames
    /// to a machine that there is not.
    pub fn lose_towards(&self) {
        let neighbour = ["neigh", "replace", &self.there, "lladdr", NOBODY];
        ip(&[&neighbour[..], &["nud", "permanent", "dev", &self.cable]].concat());
    }

    /// The other way round.
    pub fn lose_from(&self) {
        let neighbour = ["-n", &self.name, "neigh", "replace", &self.here];
        let nobody = ["lladdr", NOBODY, "nud", "permanent", "dev"];
        ip(&[&neighbour[..], &nobody, &[&self.inner()]].concat());
    }

    /// Ends [`Self::lose_towards`].
    pub fn find_towards(&self) {
        ip(&["neigh", "del", &self.there, "dev", &self.cable]);
    }

    /// Ends [`Self::lose_from`].
    pub fn find_from(&self) {
        let inner = self.inner();
        ip(&["-n", &self.name, "neigh", "del", &self.here, "dev", &inner]);
    }

    fn inner(&self) -> String {
        format!("{}i", self.cable)
    }

    /// A command that runs inside.
    #[must_use]
    pub fn command(&self, program: &std::path::Path) -> tokio::process::Command {
        let words = self.words();
        let mut command = tokio::process::Command::new(&words[0]);
        command.args(&words[1..]).arg(program);
        command
    }

    /// The words before a command that has it run inside.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = as_root();
        words.extend(["ip", "netns", "exec", &self.name].map(str::to_owned));
        words
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cable goes with the namespace that holds its other end.
        for args in [["netns", "del", &self.name], ["link", "del", &self.cable]] {
            let mut words = as_root();
            words.push("ip".to_owned());
            let mut command = Command::new(&words[0]);
            let _ = command
                .args(&words[1..])
                .args(args)
                .stderr(Stdio::null())
                .status();
        }
    }
}

pub(crate) fn as_root() -> Vec<String> {
    let me = Command::new("id")
        .arg("-u")
        .output()
        .expect("id is everywhere");
    if me.stdout.starts_with(b"0\n") {
        Vec::new()
    } else {
        vec!["sudo".into(), "-n".into()]
    }
}

fn ip(args: &[&str]) {
    let mut words = as_root();
    words.push("ip".to_owned());
    let status = Command::new(&words[0])
        .args(&words[1..])
        .args(args)
        .status();
    let done = status.is_ok_and(|status| status.success());
    assert!(
        done,
        "ip {args:?} failed: needs root or sudo, and `apt-get install iproute2`"
    );
}
