//! Places of some kind: so many for all together, and so many for one of those who share them, so that
//! nobody takes all of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// See the module; `K` is by whom they are shared. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Shares<K: Ord>(Arc<Shared<K>>);

#[derive(Debug)]
struct Shared<K> {
    most: usize,
    most_of_one: usize,
    taken: Mutex<BTreeMap<K, usize>>,
    count: watch::Sender<usize>,
}

/// Places that are taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Share<K: Ord> {
    shares: Shares<K>,
    of: K,
    places: usize,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// All are taken; so many there are.
    All(usize),
    /// Whoever asks has as many as one may have.
    Own(usize),
}

impl<K: Ord> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Ord + Clone> Shares<K> {
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self(Arc::new(Shared {
            most,
            most_of_one,
            taken: Mutex::default(),
            count: watch::Sender::new(0),
        }))
    }

    /// A place for this one.
    pub(crate) fn take(&self, of: &K) -> Result<Share<K>, Full> {
        let mut share = self.none_yet(of);
        share.grow_to(1)?;
        Ok(share)
    }

    /// None yet, for this one.
    pub(crate) fn none_yet(&self, of: &K) -> Share<K> {
        Share {
            shares: self.clone(),
            of: of.clone(),
            places: 0,
        }
    }

    /// Resolves when none is taken.
    pub(crate) async fn empty(&self) {
        let mut count = self.0.count.subscribe();
        // The sender is `self`: it is there.
        let _ = count.wait_for(|count| *count == 0).await.is_ok();
    }
}

impl<K: Ord + Clone> Share<K> {
    /// Takes what is missing to so many places in all; with an error, nothing has changed.
    pub(crate) fn grow_to(&mut self, places: usize) -> Result<(), Full> {
        let more = places.saturating_sub(self.places);
        if more == 0 {
            return Ok(());
        }
        let shared = &self.shares.0;
        let mut taken = self.shares.lock();
        if *shared.count.borrow() + more > shared.most {
            return Err(Full::All(shared.most));
        }
        let own = taken.get(&self.of).copied().unwrap_or_default();
        if own + more > shared.most_of_one {
            return Err(Full::Own(shared.most_of_one));
        }
        taken.insert(self.of.clone(), own + more);
        shared.count.send_modify(|count| *count += more);
        self.places = places;
        Ok(())
    }
}

impl<K: Ord> Shares<K> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, usize>> {
        // A panic elsewhere leaves the counts whole: each is changed in one step.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.shares.lock();
        if let Some(own) = taken.get_mut(&self.of) {
            *own -= self.places;
            if *own == 0 {
                taken.remove(&self.of);
            }
        }
        self.shares
            .0
            .count
            .send_modify(|count| *count -= self.places);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_share_grows_until_it_is_what_one_may_have() {
        let shares = Shares::new(5, 3);
        let mut adas = shares.none_yet(&"ada");
        assert!(adas.grow_to(2).is_ok() && adas.grow_to(1).is_ok() && adas.grow_to(3).is_ok());
        assert_eq!(adas.grow_to(4), Err(Full::Own(3)));
        let mut bobs = shares.none_yet(&"bob");
        assert_eq!(bobs.grow_to(3), Err(Full::All(5)));
        assert!(bobs.grow_to(2).is_ok());
        drop((adas, bobs));
        assert!(shares.lock().is_empty() && *shares.0.count.borrow() == 0);
    }

    #[test]
    fn nobody_takes_more_than_one_may_nor_all_more_than_there_are() {
        let shares = Shares::new(3, 2);
        let mut taken = vec![shares.take(&"ada").ok(), shares.take(&"ada").ok()];
        assert_eq!(shares.take(&"ada").unwrap_err(), Full::Own(2));
        let bobs = shares.take(&"bob");
        assert!(bobs.is_ok());
        assert_eq!(shares.take(&"bob").unwrap_err(), Full::All(3));
        // When one goes there is room again, and when all are gone nothing of them is left.
        taken.pop();
        assert!(shares.empty().now_or_never().is_none());
        let again = shares.take(&"ada");
        assert!(again.is_ok());
        drop((taken, bobs, again));
        assert!(shares.empty().now_or_never().is_some());
        assert!(shares.lock().is_empty());
    }
}
