//! Mistakes by key, pauses that grow with them, and a bound on how many keys there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cloudai_model::Mono;

/// How long to wait after how many mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    /// So many mistakes cost nothing.
    pub free: u32,
    /// The pause after the next one; each further one doubles it.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
    /// One mistake is forgiven in each such span. In the long run this is how often one may guess.
    pub forgiven_after: Duration,
}

impl Pauses {
    fn after(&self, mistakes: u32) -> Duration {
        let Some(doublings) = mistakes.checked_sub(self.free.saturating_add(1)) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }
}

/// Mistakes of one key: a bucket that leaks one in each span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    /// Those not forgiven by then.
    mistakes: u32,
    /// Up to when mistakes have been forgiven.
    forgiven_to: Mono,
    /// Until when the key waits.
    waits_until: Mono,
    /// The charge that said so.
    charge: u64,
}

/// One mistake that was counted in advance.
#[derive(Debug)]
pub(super) struct Charge {
    number: u64,
    /// Until when the key waited before.
    waited_until: Mono,
}

/// Counts for many keys.
#[derive(Debug)]
pub(super) struct Counters<K> {
    pauses: Pauses,
    most: usize,
    counts: BTreeMap<K, Count>,
    /// When each will have been forgiven everything.
    ends: BTreeSet<(Mono, K)>,
    charges: u64,
}

impl<K: Ord + Clone> Counters<K> {
    pub(super) fn new(pauses: Pauses, most: usize) -> Self {
        Self {
            pauses,
            most: most.max(1),
            counts: BTreeMap::new(),
            ends: BTreeSet::new(),
            charges: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// How long this key has to wait; zero: not at all.
    pub(super) fn wait(&self, key: &K, now: Mono) -> Duration {
        let count = self.counts.get(key);
        count.map_or(Duration::ZERO, |count| count.waits_until.since(now))
    }

    /// Counts a mistake.
    pub(super) fn charge(&mut self, key: K, now: Mono) -> Charge {
        self.charges += 1;
        let number = self.charges;
        let fresh = Count {
            mistakes: 0,
            forgiven_to: now,
            waits_until: Mono(0),
            charge: 0,
        };
        let count = self.counts.get(&key);
        let count = count.map_or(fresh, |count| self.forgiven(*count, now));
        let mistakes = count.mistakes.saturating_add(1);
        let pause = self.pauses.after(mistakes);
        // One that brings no pause holds nobody up, not even who has asked a moment before.
        let waits_until = match pause.is_zero() {
            true => count.waits_until,
            false => now.after(pause),
        };
        let charged = Count {
            mistakes,
            waits_until,
            charge: number,
            ..count
        };
        self.put(key, Some(charged));
        self.make_room(now);
        Charge {
            number,
            waited_until: count.waits_until,
        }
    }

    /// Takes back a mistake that was none.
    pub(super) fn give_back(&mut self, key: &K, charge: &Charge) {
        let Some(count) = self.counts.get(key).copied() else {
            return;
        };
        let mistakes = count.mistakes.saturating_sub(1);
        // Where others were counted since, the pause that they brought stays.
        let waits_until = if count.charge == charge.number {
            charge.waited_until
        } else {
            count.waits_until
        };
        let back = Count {
            mistakes,
            waits_until,
            ..count
        };
        self.put(key.clone(), (mistakes > 0).then_some(back));
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.put(key.clone(), None);
    }

    fn forgiven(&self, count: Count, now: Mono) -> Count {
        let span = self.pauses.forgiven_after;
        let spans = now.since(count.forgiven_to).as_millis() / span.as_millis().max(1);
        let spans = u32::try_from(spans).unwrap_or(u32::MAX);
        if spans >= count.mistakes {
            return Count {
                mistakes: 0,
                forgiven_to: now,
                ..count
            };
        }
        Count {
            mistakes: count.mistakes - spans,
            forgiven_to: count.forgiven_to.after(span.saturating_mul(spans)),
            ..count
        }
    }

    fn end(&self, count: Count) -> Mono {
        let span = self.pauses.forgiven_after.saturating_mul(count.mistakes);
        count.forgiven_to.after(span).max(count.waits_until)
    }

    fn put(&mut self, key: K, count: Option<Count>) {
        let before = match count {
            Some(count) => self.counts.insert(key.clone(), count),
            None => self.counts.remove(&key),
        };
        if let Some(before) = before {
            self.ends.remove(&(self.end(before), key.clone()));
        }
        if let Some(count) = count {
            self.ends.insert((self.end(count), key));
        }
    }

    fn make_room(&mut self, now: Mono) {
        while let Some((end, key)) = self.ends.first().cloned() {
            if end > now && self.counts.len() <= self.most {
                return;
            }
            self.put(key, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn counters() -> Counters<u32> {
        let pauses = Pauses {
            free: 2,
            first: seconds(1),
            most: seconds(8),
            forgiven_after: seconds(60),
        };
        Counters::new(pauses, 3)
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut counters = counters();
        let mut now = Mono(0);
        for pause in [0, 0, 1, 2, 4, 8, 8, 8] {
            let _ = counters.charge(1, now);
            assert_eq!(counters.wait(&1, now), seconds(pause));
            now = now.after(seconds(pause));
            assert_eq!(counters.wait(&1, now), Duration::ZERO);
        }
        assert_eq!(counters.wait(&2, now), Duration::ZERO);
    }

    #[test]
    fn of_two_at_once_the_one_that_came_first_waits_for_nothing() {
        let mut counters = counters();
        let _ = counters.charge(1, Mono(1000));
        assert_eq!(counters.wait(&1, Mono(999)), Duration::ZERO);
    }

    #[test]
    fn mistakes_are_forgiven_one_by_one() {
        let mut counters = counters();
        for _ in 0..4 {
            let _ = counters.charge(1, Mono(0));
        }
        // Three minutes later one of the four is left; one more is the second, which is free.
        let _ = counters.charge(1, Mono(180_000));
        assert_eq!(counters.wait(&1, Mono(180_000)), Duration::ZERO);
        let _ = counters.charge(1, Mono(180_000));
        assert_eq!(counters.wait(&1, Mono(180_000)), seconds(1));
    }

    #[test]
    fn what_is_given_back_leaves_what_was_there() {
        let mut counters = counters();
        for _ in 0..3 {
            let _ = counters.charge(1, Mono(0));
        }
        let charge = counters.charge(1, Mono(1000));
        counters.give_back(&1, &charge);
        assert_eq!(counters.wait(&1, Mono(0)), seconds(1));
        assert_eq!(counters.wait(&1, Mono(1000)), Duration::ZERO);
        // One that is the only one leaves nothing.
        let charge = counters.charge(2, Mono(1000));
        counters.give_back(&2, &charge);
        assert_eq!((counters.len(), counters.ends.len()), (1, 1));
    }

    #[test]
    fn of_two_at_once_one_given_back_leaves_the_other() {
        let mut counters = counters();
        for _ in 0..2 {
            let _ = counters.charge(1, Mono(0));
        }
        let good = counters.charge(1, Mono(5000));
        let _bad = counters.charge(1, Mono(5000));
        counters.give_back(&1, &good);
        assert_eq!(counters.counts[&1].mistakes, 3);
        assert_eq!(counters.wait(&1, Mono(5000)), seconds(2));
    }

    #[test]
    fn the_table_has_a_bound_and_the_least_goes_first() {
        let mut counters = counters();
        for _ in 0..5 {
            let _ = counters.charge(1, Mono(0));
        }
        for key in 2..100 {
            let _ = counters.charge(key, Mono(u64::from(key)));
            assert!(counters.len() <= 3);
            assert_eq!(counters.ends.len(), counters.len());
        }
        let left = seconds(4) - Duration::from_millis(100);
        assert_eq!(counters.wait(&1, Mono(100)), left);
    }
}
