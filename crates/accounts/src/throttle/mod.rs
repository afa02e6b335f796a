//! How often somebody may try a password. Pure: time is an argument, and nothing is kept on disk.
//!
//! Guessing is slowed down by what is guessed and by where it comes from, and never so that a stranger
//! shuts the others out:
//!
//! - A *pair* is one user tried from one network. Its pauses grow to a quarter of an hour: whoever
//!   mistypes waits for their own mistakes, and nobody else does.
//! - A *network* is an IPv4 address or an IPv6 /64, which is what one customer has. Trying many users
//!   from one is slowed down, to two minutes at most.
//! - A *user* tried from many networks is slowed down, to a minute at most: that is what a botnet gets.
//!
//! A pair from which the user has logged in before is *known*, and waits for itself alone. So a user who
//! is being guessed at, or shares an address with somebody who guesses, goes on logging in from where
//! they always do. Only from a new place they wait, a minute or two at most. Tokens and keys are not
//! throttled at all, so who is in stays in, and the master's console needs no password.
//!
//! Every try is counted as a mistake when it begins and taken back if it was none: a thousand at once
//! are a thousand. Mistakes are forgiven one by one with time. Tables have a bound each; what goes first
//! is what would be forgotten first. A restart forgets everything.

mod counters;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use cloudai_model::{Mono, UserName};

pub use counters::Pauses;
use counters::{Charge, Counters};

/// Where a try came from: what one customer of a provider has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// One IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        // An IPv4 address is the same one whatever socket it came to.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// How long the pauses are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// Of one user from one network.
    pub pair: Pauses,
    /// Of logins of one user from one network, with the right password.
    pub logins: Pauses,
    /// Of one network.
    pub network: Pauses,
    /// Of one user.
    pub user: Pauses,
    /// Of registrations from one network.
    pub registration: Pauses,
    /// Of refusals from one network that go into the audit.
    pub noted: Pauses,
    /// The most entries of each table.
    pub most_entries: usize,
    /// The most networks from which one user is known.
    pub most_known: usize,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        let pauses = |free, most_s, forgiven_s| Pauses {
            free,
            first: Duration::from_secs(1),
            most: Duration::from_secs(most_s),
            forgiven_after: Duration::from_secs(forgiven_s),
        };
        Self {
            pair: pauses(5, 15 * 60, 10 * 60),
            logins: pauses(300, 10, 2),
            network: pauses(20, 2 * 60, 60),
            user: pauses(20, 60, 60),
            registration: pauses(20, 10 * 60, 2 * 60),
            noted: pauses(100, 10, 10),
            most_entries: 65_536,
            most_known: 16,
        }
    }
}

/// A try that was let through. Give it back with [`Throttle::succeeded`] or [`Throttle::not_made`]; one
/// that isn't given back was a mistake.
#[derive(Debug)]
#[must_use = "what isn't given back counts as a mistake"]
pub struct Try {
    user: Option<UserName>,
    network: Network,
    pair: Option<Charge>,
    /// Not charged where the pair is known.
    at_network: Option<Charge>,
    at_user: Option<Charge>,
}

impl Try {
    /// Whether the user has logged in before from there.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.at_network.is_none()
    }
}

/// Counts mistakes, and says who has to wait.
#[derive(Debug)]
pub struct Throttle {
    pairs: Counters<(UserName, Network)>,
    /// No mistakes: whoever logs in without end takes the hashing from all others, and fills the audit.
    logins: Counters<(UserName, Network)>,
    networks: Counters<Network>,
    users: Counters<UserName>,
    registrations: Counters<Network>,
    noted: Counters<Network>,
    /// Networks from which each user has logged in, with when last.
    known: BTreeMap<UserName, BTreeMap<Network, Mono>>,
    most_known: usize,
}

impl Throttle {
    /// With no mistakes yet.
    #[must_use]
    pub fn new(settings: &ThrottleSettings) -> Self {
        let most = settings.most_entries;
        Self {
            pairs: Counters::new(settings.pair, most),
            logins: Counters::new(settings.logins, most),
            networks: Counters::new(settings.network, most),
            users: Counters::new(settings.user, most),
            registrations: Counters::new(settings.registration, most),
            noted: Counters::new(settings.noted, most),
            known: BTreeMap::new(),
            most_known: settings.most_known,
        }
    }

    /// Whether a password may be tried now. `user` is `None` where the name can't be a user's.
    ///
    /// # Errors
    /// How long to wait.
    pub fn begin(
        &mut self,
        user: Option<&UserName>,
        network: Network,
        now: Mono,
    ) -> Result<Try, Duration> {
        let pair = user.map(|user| (user.clone(), network));
        let is_known = user.is_some_and(|user| self.is_known(user, network));
        let mut wait = Duration::ZERO;
        if let Some(pair) = &pair {
            wait = wait.max(self.logins.wait(pair, now));
            wait = wait.max(self.pairs.wait(pair, now));
        }
        if !is_known {
            wait = wait.max(self.networks.wait(&network, now));
            if let Some(user) = user {
                wait = wait.max(self.users.wait(user, now));
            }
        }
        // What is sent away tried nothing, and makes nobody's pause longer.
        if !wait.is_zero() {
            return Err(wait);
        }
        let strange = user.filter(|_| !is_known);
        Ok(Try {
            user: user.cloned(),
            network,
            pair: pair.map(|pair| self.pairs.charge(pair, now)),
            at_network: (!is_known).then(|| self.networks.charge(network, now)),
            at_user: strange.map(|user| self.users.charge(user.clone(), now)),
        })
    }

    /// The password was right. The pair's mistakes are forgotten and it is known from now on; those of
    /// the network and of the user stay: whoever guesses may have an account of their own.
    pub fn succeeded(&mut self, tried: Try, now: Mono) {
        if let Some(user) = tried.user.clone() {
            self.pairs.forget(&(user.clone(), tried.network));
            self.know(&user, tried.network, now);
            let _ = self.logins.charge((user, tried.network), now);
        }
        // The pair has nothing left to give back.
        self.give_back(&tried);
    }

    /// No password was tried after all, such as where too many were being hashed.
    pub fn not_made(&mut self, tried: Try) {
        self.give_back(&tried);
    }

    /// Whether somebody may register from this network now; if so it counts.
    ///
    /// # Errors
    /// How long to wait.
    pub fn register(&mut self, network: Network, now: Mono) -> Result<(), Duration> {
        let wait = self.registrations.wait(&network, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        // A registration is never taken back: each costs a hash, and most of them a user.
        let _ = self.registrations.charge(network, now);
        Ok(())
    }

    /// Whether one more refusal from this network is worth a line of the audit: nobody may fill a disk
    /// by being refused.
    pub fn is_noted(&mut self, network: Network, now: Mono) -> bool {
        let noted = self.noted.wait(&network, now).is_zero();
        if noted {
            let _ = self.noted.charge(network, now);
        }
        noted
    }

    /// A user has shown there that they know their password.
    pub fn know(&mut self, user: &UserName, network: Network, now: Mono) {
        let networks = self.known.entry(user.clone()).or_default();
        networks.insert(network, now);
        if networks.len() > self.most_known {
            let oldest = networks.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(network, _)| *network) {
                networks.remove(&oldest);
            }
        }
    }

    /// Forgets from where a user is known, who is there no more or whose password is another.
    pub fn forget_user(&mut self, user: &UserName) {
        self.known.remove(user);
    }

    /// The entries of the largest table.
    #[cfg(test)]
    fn entries(&self) -> usize {
        let sizes = [
            self.pairs.len(),
            self.logins.len(),
            self.networks.len(),
            self.users.len(),
            self.registrations.len(),
            self.noted.len(),
        ];
        sizes.into_iter().max().unwrap_or(0)
    }

    fn is_known(&self, user: &UserName, network: Network) -> bool {
        let networks = self.known.get(user);
        networks.is_some_and(|networks| networks.contains_key(&network))
    }

    fn give_back(&mut self, tried: &Try) {
        if let (Some(user), Some(charge)) = (&tried.user, &tried.pair) {
            self.pairs.give_back(&(user.clone(), tried.network), charge);
        }
        if let Some(charge) = &tried.at_network {
            self.networks.give_back(&tried.network, charge);
        }
        if let (Some(user), Some(charge)) = (&tried.user, &tried.at_user) {
            self.users.give_back(user, charge);
        }
    }
}

#[cfg(test)]
mod tests;
