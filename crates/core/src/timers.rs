//! What is due when, by whom it is for: setting one anew takes the earlier one away.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_model::Mono;

/// At most one timer for each `K`, with a `V` to know it by.
#[derive(Debug)]
pub(crate) struct Timers<K, V> {
    soonest_first: BTreeSet<(Mono, K)>,
    of: BTreeMap<K, (Mono, V)>,
}

impl<K, V> Default for Timers<K, V> {
    fn default() -> Self {
        Self {
            soonest_first: BTreeSet::new(),
            of: BTreeMap::new(),
        }
    }
}

impl<K: Clone + Ord, V> Timers<K, V> {
    /// Sets the timer of `key`, in place of the one that it has.
    pub(crate) fn set(&mut self, key: K, due: Mono, what: V) {
        self.clear(&key);
        self.soonest_first.insert((due, key.clone()));
        self.of.insert(key, (due, what));
    }

    /// Takes the timer of `key` away; whether it had one.
    pub(crate) fn clear(&mut self, key: &K) -> bool {
        let Some((due, _)) = self.of.remove(key) else {
            return false;
        };
        self.soonest_first.remove(&(due, key.clone()))
    }

    /// What the timer of `key` is of, if it has one.
    pub(crate) fn what(&self, key: &K) -> Option<&V> {
        self.of.get(key).map(|(_, what)| what)
    }

    /// Takes the first timer that is due by `now`.
    pub(crate) fn pop_due(&mut self, now: Mono) -> Option<(K, V)> {
        let (due, _) = self.soonest_first.first()?;
        if *due > now {
            return None;
        }
        let (_, key) = self.soonest_first.pop_first()?;
        let (_, what) = self.of.remove(&key)?;
        Some((key, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_timer_and_they_come_in_time() {
        let mut timers = Timers::default();
        timers.set("a", Mono(5), 'p');
        timers.set("b", Mono(3), 'p');
        timers.set("a", Mono(7), 'r');
        timers.set("c", Mono(4), 'p');
        assert!(timers.clear(&"c") && !timers.clear(&"c"));
        assert_eq!(timers.what(&"a"), Some(&'r'));

        assert_eq!(timers.pop_due(Mono(2)), None);
        assert_eq!(timers.pop_due(Mono(6)), Some(("b", 'p')));
        assert_eq!(timers.pop_due(Mono(6)), None);
        assert_eq!(timers.pop_due(Mono(7)), Some(("a", 'r')));
        assert_eq!(timers.pop_due(Mono(u64::MAX)), None);
    }
}
