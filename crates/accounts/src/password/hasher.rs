//! Hashing beside the async threads, a few passwords at a time and a bounded number waiting.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    cost::PasswordCost,
    hash::{self, HashError, Stored},
};
use crate::secret::Secret;

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
    /// One for each that is being hashed.
    threads: Arc<Semaphore>,
    /// Of a password that nobody has, under the same cost: what is looked at where there is no user.
    nobody: Arc<str>,
    computed: Arc<AtomicU64>,
}

/// Held as long as the work lasts, also when nobody waits for it any more.
struct Place {
    _place: OwnedSemaphorePermit,
    _thread: OwnedSemaphorePermit,
}

impl Hasher {
    /// Takes as long as one hash: not for an async thread.
    pub(crate) fn new(cost: PasswordCost, limits: HashingLimits) -> Result<Self, HashError> {
        let password = hex::encode(crate::secret::random::<16>()?);
        let nobody = hash::hash(&Secret::new(password), cost)?;
        let at_a_time = limits.at_a_time.max(1);
        Ok(Self {
            cost,
            places: Arc::new(Semaphore::new(at_a_time.saturating_add(limits.waiting))),
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
    pub(crate) async fn hash(&self, password: Secret) -> Result<Result<String, HashError>, Busy> {
        let (cost, computed) = (self.cost, self.computed.clone());
        self.run(move || {
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
    ) -> Result<Verdict, Busy> {
        let (cost, computed) = (self.cost, self.computed.clone());
        let nobody = self.nobody.clone();
        self.run(move || {
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
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Busy)?;
        let thread = self.threads.clone().acquire_owned().await;
        let place = Place {
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

    fn hasher(at_a_time: usize, waiting: usize) -> Hasher {
        let limits = HashingLimits { at_a_time, waiting };
        Hasher::new(PasswordCost::for_tests(), limits).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_told_from_another_and_from_none() {
        let hasher = hasher(2, 8);
        let hash = hasher.hash("right".into()).await.unwrap().unwrap();
        let right = Verdict::Right { fresh: None };
        assert_eq!(
            hasher.verify("right".into(), Some(hash.clone())).await,
            Ok(right)
        );
        assert_eq!(
            hasher.verify("wrong".into(), Some(hash)).await,
            Ok(Verdict::Wrong)
        );
        for none in [None, Some(String::new()), Some("$5$x".to_owned())] {
            assert_eq!(
                hasher.verify("right".into(), none).await,
                Ok(Verdict::Wrong)
            );
        }
    }

    #[tokio::test]
    async fn a_hash_that_has_become_cheap_is_made_anew() {
        let cheap = hasher(1, 1).hash("right".into()).await.unwrap().unwrap();
        let cost = PasswordCost::OWASP;
        let dear = Hasher::new(cost, HashingLimits::default()).unwrap();
        assert!(dear.nobody.contains("m=19456,t=2,p=1"), "{}", dear.nobody);
        let verdict = dear
            .verify("right".into(), Some(cheap.clone()))
            .await
            .unwrap();
        let Verdict::Right { fresh: Some(fresh) } = verdict else {
            panic!("{verdict:?}");
        };
        assert!(fresh.contains("m=19456,t=2,p=1"), "{fresh}");
        // And not again, nor for a wrong password.
        let right = Verdict::Right { fresh: None };
        assert_eq!(dear.verify("right".into(), Some(fresh)).await, Ok(right));
        assert_eq!(
            dear.verify("wrong".into(), Some(cheap)).await,
            Ok(Verdict::Wrong)
        );
    }

    #[tokio::test]
    async fn beyond_the_queue_it_is_busy_and_a_caller_who_leaves_frees_no_thread() {
        // Given: one thread that is taken, and one place to wait.
        let hasher = hasher(1, 1);
        let (release, held) = mpsc::channel::<()>();
        let taken = hasher.clone();
        let first = tokio::spawn(async move { taken.run(move || held.recv().is_ok()).await });
        until(|| hasher.threads.available_permits() == 0).await;
        // Its caller goes: the thread is still at work.
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let waiting = tokio::spawn({
            let hasher = hasher.clone();
            async move { hasher.run(|| 7).await }
        });
        until(|| hasher.places.available_permits() == 0).await;

        // When one more comes, then it is sent away at once.
        assert_eq!(hasher.run(|| 8).await, Err(Busy));

        // And when the thread is free, the one that waited has its turn.
        release.send(()).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
        assert_eq!(hasher.run(|| 9).await, Ok(9));
    }
}
