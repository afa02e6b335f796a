//! Hashing beside the async threads, a few passwords at a time and a bounded number waiting.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cloudai_model::UserName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    cost::PasswordCost,
    hash::{self, HashError, Stored},
};
use crate::{
    identity::{CallContext, Peer},
    secret::Secret,
    throttle::Network,
};

/// How much hashing there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashingLimits {
    /// Passwords that are hashed at the same time, each on a thread and with the memory of its cost.
    pub at_a_time: usize,
    /// Passwords that wait for that.
    pub waiting: usize,
}

impl Default for HashingLimits {
    /// Two at a time leave a core to the others on four, and cost 38 MiB.
    fn default() -> Self {
        Self {
            at_a_time: 2,
            waiting: 64,
        }
    }
}

/// So many passwords wait already that one more would only wait too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many logins at a time: expected another try in a second or so")]
pub struct Busy;

/// For whom a password is hashed. Nobody has all places: one network has a quarter of them, and so has a
/// user who comes from where they are known; of all others together a quarter is kept free for those.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    network: Option<Network>,
    /// Who it is, where that is as good as known.
    user: Option<UserName>,
}

impl Asker {
    /// Somebody of whom nothing is known but where they are.
    pub(crate) fn stranger(call: &CallContext) -> Self {
        let network = match call.from {
            Peer::Console => None,
            Peer::Address(address) => Some(address.into()),
        };
        Self {
            network,
            user: None,
        }
    }

    /// A user who has come in, or did so before from there.
    pub(crate) fn of(call: &CallContext, user: &UserName) -> Self {
        let user = Some(user.clone());
        Self {
            user,
            ..Self::stranger(call)
        }
    }

    /// The master itself.
    pub(crate) fn master() -> Self {
        Self {
            network: None,
            user: Some(UserName::admin()),
        }
    }

    fn marks(&self) -> Vec<Mark> {
        let network = self.network.map(Mark::Network);
        let user = self.user.clone().map(Mark::User);
        let stranger = self.user.is_none().then_some(Mark::Stranger);
        [network, user, stranger].into_iter().flatten().collect()
    }
}

/// By what those who have places are counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Network(Network),
    User(UserName),
    Stranger,
}

/// How many places each has.
#[derive(Debug, Default)]
struct Crowd(Mutex<BTreeMap<Mark, usize>>);

/// Counted until it is dropped.
struct Counted {
    crowd: Arc<Crowd>,
    marks: Vec<Mark>,
}

impl Crowd {
    fn enter(self: &Arc<Self>, asker: &Asker, places: usize) -> Result<Counted, Busy> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let marks = asker.marks();
        let quarter = places / 4;
        let has_room = |mark: &Mark| {
            let most = match mark {
                Mark::Network(_) | Mark::User(_) => quarter.max(1),
                Mark::Stranger => places - quarter,
            };
            counts.get(mark).is_none_or(|count| *count < most)
        };
        if !marks.iter().all(has_room) {
            return Err(Busy);
        }
        for mark in &marks {
            *counts.entry(mark.clone()).or_default() += 1;
        }
        let crowd = self.clone();
        Ok(Counted { crowd, marks })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let counts = self.crowd.0.lock();
        let mut counts = counts.unwrap_or_else(PoisonError::into_inner);
        for mark in &self.marks {
            if let Some(count) = counts.get_mut(mark) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(mark);
                }
            }
        }
    }
}

/// What became of one password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It isn't the one.
    Wrong,
    /// It is; with a fresh hash if the stored one is cheaper than it ought to be.
    Right {
        /// To be kept in place of the stored one.
        fresh: Option<String>,
    },
}

/// Makes and checks hashes.
#[derive(Clone)]
pub(crate) struct Hasher {
    cost: PasswordCost,
    /// One for each password that is here at all.
    places: Arc<Semaphore>,
    most_places: usize,
    crowd: Arc<Crowd>,
    /// One for each that is being hashed.
    threads: Arc<Semaphore>,
    /// Of a password that nobody has, under the same cost: what is looked at where there is no user.
    nobody: Arc<str>,
    computed: Arc<AtomicU64>,
}

/// Held as long as the work lasts, also when nobody waits for it any more.
struct Place {
    _counted: Counted,
    _place: OwnedSemaphorePermit,
    _thread: OwnedSemaphorePermit,
}

impl Hasher {
    /// Takes as long as one hash: not for an async thread.
    pub(crate) fn new(cost: PasswordCost, limits: HashingLimits) -> Result<Self, HashError> {
        let password = hex::encode(crate::secret::random::<16>()?);
        let nobody = hash::hash(&Secret::new(password), cost)?;
        let at_a_time = limits.at_a_time.max(1);
        let most_places = at_a_time.saturating_add(limits.waiting);
        Ok(Self {
            cost,
            places: Arc::new(Semaphore::new(most_places)),
            most_places,
            crowd: Arc::default(),
            threads: Arc::new(Semaphore::new(at_a_time)),
            nobody: nobody.into(),
            computed: Arc::default(),
        })
    }

    /// How many hashes have been computed since.
    #[cfg(test)]
    pub(crate) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// A new password's hash.
    pub(crate) async fn hash(
        &self,
        password: Secret,
        asker: Asker,
    ) -> Result<Result<String, HashError>, Busy> {
        let (cost, computed) = (self.cost, self.computed.clone());
        self.run(asker, move || {
            computed.fetch_add(1, Ordering::Relaxed);
            hash::hash(&password, cost)
        })
        .await
    }

    /// Whether this is the password of the stored hash. Where there is none, or one that can't be read,
    /// it takes as long and is not.
    pub(crate) async fn verify(
        &self,
        password: Secret,
        stored: Option<String>,
        asker: Asker,
    ) -> Result<Verdict, Busy> {
        let (cost, computed) = (self.cost, self.computed.clone());
        let nobody = self.nobody.clone();
        self.run(asker, move || {
            computed.fetch_add(1, Ordering::Relaxed);
            let Some(stored) = stored.as_deref().and_then(Stored::read) else {
                let nobody = Stored::read(&nobody).expect("we made it when we began");
                // Whatever comes of it: it was for the time that it takes.
                let _ = nobody.is_of(&password);
                return Verdict::Wrong;
            };
            if !stored.is_of(&password) {
                return Verdict::Wrong;
            }
            // Without a fresh hash the old one goes on; the next login tries again.
            let cheap = stored.is_cheaper_than(cost);
            let fresh = cheap.then(|| hash::hash(&password, cost).ok()).flatten();
            Verdict::Right { fresh }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        asker: Asker,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let counted = self.crowd.enter(&asker, self.most_places)?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| Busy)?;
        let thread = self.threads.clone().acquire_owned().await;
        let place = Place {
            _counted: counted,
            _place: place,
            _thread: thread.map_err(|_| Busy)?,
        };
        // The work goes on to its end when the caller has gone: its thread counts until then.
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        // Only a runtime that ends doesn't carry it out.
        done.await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    async fn until(condition: impl Fn() -> bool) {
        let poll = async {
            while !condition() {
                tokio::task::yield_now().await;
            }
        };
        let deadline = std::time::Duration::from_secs(30);
        tokio::time::timeout(deadline, poll).await.unwrap();
    }

    /// Bound by the places alone.
    fn anybody() -> Asker {
        Asker {
            network: None,
            user: None,
        }
    }

    fn asker(network: u8, user: Option<&str>) -> Asker {
        let address = std::net::Ipv4Addr::new(192, 0, 2, network);
        Asker {
            network: Some(std::net::IpAddr::V4(address).into()),
            user: user.map(|user| user.parse().unwrap()),
        }
    }

    #[test]
    fn nobody_takes_all_places_from_the_others() {
        // Given sixteen places, and somebody who wants them all from one network,
        let crowd = Arc::new(Crowd::default());
        let enter = |network, user| crowd.enter(&asker(network, user), 16).ok();
        let mut inside: Vec<Counted> = (0..20).filter_map(|_| enter(1, Some("eve"))).collect();
        assert_eq!(inside.len(), 4);
        // and from many, as a user who is known there and as many who are not,
        let eves = (2..50).filter_map(|network| enter(network, Some("eve")));
        assert_eq!(eves.count(), 0);
        inside.extend((2..50).filter_map(|network| enter(network, None)));
        assert_eq!(inside.len(), 4 + 12);
        // then a user who is known comes in, and a stranger when one has gone.
        assert!(enter(99, Some("ada")).is_some());
        assert!(enter(99, None).is_none());
        inside.pop();
        assert!(enter(99, None).is_some());
        inside.clear();
        assert!(crowd.0.lock().unwrap().is_empty());
    }

    fn hasher(at_a_time: usize, waiting: usize) -> Hasher {
        let limits = HashingLimits { at_a_time, waiting };
        Hasher::new(PasswordCost::for_tests(), limits).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_told_from_another_and_from_none() {
        let hasher = hasher(2, 8);
        let hash = hasher
            .hash("right".into(), anybody())
            .await
            .unwrap()
            .unwrap();
        let right = Verdict::Right { fresh: None };
        assert_eq!(
            hasher
                .verify("right".into(), Some(hash.clone()), anybody())
                .await,
            Ok(right)
        );
        assert_eq!(
            hasher.verify("wrong".into(), Some(hash), anybody()).await,
            Ok(Verdict::Wrong)
        );
        for none in [None, Some(String::new()), Some("$5$x".to_owned())] {
            assert_eq!(
                hasher.verify("right".into(), none, anybody()).await,
                Ok(Verdict::Wrong)
            );
        }
    }

    #[tokio::test]
    async fn a_hash_that_has_become_cheap_is_made_anew() {
        let cheap = hasher(1, 1)
            .hash("right".into(), anybody())
            .await
            .unwrap()
            .unwrap();
        let cost = PasswordCost::OWASP;
        let dear = Hasher::new(cost, HashingLimits::default()).unwrap();
        assert!(dear.nobody.contains("m=19456,t=2,p=1"), "{}", dear.nobody);
        let verdict = dear
            .verify("right".into(), Some(cheap.clone()), anybody())
            .await
            .unwrap();
        let Verdict::Right { fresh: Some(fresh) } = verdict else {
            panic!("{verdict:?}");
        };
        assert!(fresh.contains("m=19456,t=2,p=1"), "{fresh}");
        // And not again, nor for a wrong password.
        let right = Verdict::Right { fresh: None };
        assert_eq!(
            dear.verify("right".into(), Some(fresh), anybody()).await,
            Ok(right)
        );
        assert_eq!(
            dear.verify("wrong".into(), Some(cheap), anybody()).await,
            Ok(Verdict::Wrong)
        );
    }

    #[tokio::test]
    async fn beyond_the_queue_it_is_busy_and_a_caller_who_leaves_frees_no_thread() {
        // Given: one thread that is taken, and one place to wait.
        let hasher = hasher(1, 1);
        let (release, held) = mpsc::channel::<()>();
        let taken = hasher.clone();
        let first =
            tokio::spawn(async move { taken.run(anybody(), move || held.recv().is_ok()).await });
        until(|| hasher.threads.available_permits() == 0).await;
        // Its caller goes: the thread is still at work.
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let waiting = tokio::spawn({
            let hasher = hasher.clone();
            async move { hasher.run(anybody(), || 7).await }
        });
        until(|| hasher.places.available_permits() == 0).await;

        // When one more comes, then it is sent away at once.
        assert_eq!(hasher.run(anybody(), || 8).await, Err(Busy));

        // And when the thread is free, the one that waited has its turn.
        release.send(()).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
        assert_eq!(hasher.run(anybody(), || 9).await, Ok(9));
    }
}
