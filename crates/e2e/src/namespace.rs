//! Another machine: a network namespace that is joined to this one by a pair of virtual cables.

use std::{
    hash::{BuildHasher as _, RandomState},
    process::Stdio,
};

use crate::root::{as_root, prefix};

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
/// How many draws of an address may be those of others.
const DRAWS: usize = 100;

impl Namespace {
    /// Sets one up. Its name and its address are drawn, so that those of other processes, and what they
    /// have left, are others.
    ///
    /// # Panics
    /// If that fails: needs root or sudo, and iproute2.
    #[must_use]
    pub fn new() -> Self {
        // Ten figures: the name of an interface has 15 at most.
        let id = format!("{:010x}", random() >> 24);
        let mut this = Self {
            name: format!("cloudai-{id}"),
            cable: format!("ca{id}"),
            here: String::new(),
            there: String::new(),
        };
        let (name, cable, inner) = (&this.name, &this.cable, &this.inner());
        ip(&["netns", "add", name]);
        ip(&["link", "add", cable, "type", "veth", "peer", "name", inner]);
        ip(&["link", "set", inner, "netns", name]);
        (this.here, this.there) = this.take_addresses();
        let there = format!("{}/30", this.there);
        ip(&["link", "set", &this.cable, "up"]);
        let inside = ["-n", &this.name];
        ip(&[&inside[..], &["addr", "add", &there, "dev", inner]].concat());
        ip(&[&inside[..], &["link", "set", inner, "up"]].concat());
        ip(&[&inside[..], &["link", "set", "lo", "up"]].concat());
        this
    }

    /// Draws addresses until nobody else has them: this machine's and the other one's.
    fn take_addresses(&self) -> (String, String) {
        for _ in 0..DRAWS {
            let [here, there] = addresses(random());
            let given = format!("{here}/30");
            ip(&["addr", "add", &given, "dev", &self.cable]);
            // Looked at afterwards: of two that draw the same at one time, one sees the other at least.
            let all = as_root(&["ip", "-o", "-4", "addr", "show"]).output();
            let all = all.expect("ip has just been run").stdout;
            let all = String::from_utf8_lossy(&all);
            if all.split_whitespace().filter(|word| *word == given).count() == 1 {
                return (here, there);
            }
            ip(&["addr", "del", &given, "dev", &self.cable]);
        }
        panic!("{DRAWS} drawn addresses of 198.18.0.0/15 are all taken: see `ip -4 addr`");
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
        let inside = ["ip", "netns", "exec", &self.name];
        let words = prefix().iter().chain(&inside);
        words.map(ToString::to_string).collect()
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
            let mut command = as_root(&["ip"]);
            let _ = command.args(args).stderr(Stdio::null()).status();
        }
    }
}

/// Another number each time, in each process.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// The two addresses of a cable in the range for tests of networks (RFC 2544): one of its 32768 nets
/// of four.
fn addresses(number: u64) -> [String; 2] {
    let [.., high, middle, low] = number.to_be_bytes();
    let at = |last: u8| format!("198.{}.{middle}.{}", 18 + high % 2, (low & !3) + last);
    [at(1), at(2)]
}

fn ip(args: &[&str]) {
    let status = as_root(&["ip"]).args(args).status();
    let done = status.is_ok_and(|status| status.success());
    assert!(
        done,
        "ip {args:?} failed: needs root or sudo, and `apt-get install iproute2`"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_net_of_four_in_the_range_for_tests() {
        assert_eq!(addresses(0), ["198.18.0.1", "198.18.0.2"]);
        let last = ["198.19.255.253", "198.19.255.254"];
        assert_eq!(addresses(u64::MAX), last);
    }

    #[test]
    fn two_that_are_there_at_one_time_share_nothing() {
        let (one, other) = (Namespace::new(), Namespace::new());
        assert_ne!(one.name, other.name);
        assert_ne!(one.here, other.here);
        let listed = as_root(&["ip", "-o", "-4", "addr", "show"]).output();
        let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
        for address in [&one.here, &other.here] {
            let given = format!("{address}/30");
            let holders = listed.split_whitespace().filter(|word| **word == given);
            assert_eq!(holders.count(), 1, "{listed}");
        }
    }
}
