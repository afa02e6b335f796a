//! Whether ages can be believed. A wall clock that was set forth makes everything old at once, and
//! what retention removes does not come back.
//!
//! The wall clock is held against the monotonic one. Until both have gone on together for a grace,
//! since the start or since the wall clock was last found ahead, nothing is removed by age: time for
//! whoever set the clock, or for NTP, to set it right.

use std::time::Duration;

use cloudai_model::{Mono, Now};

/// So far ahead of the monotonic clock the wall clock was set forth; less is clocks being slewed.
const STEP_MS: i64 = 60_000;

/// Both clocks, as they were looked at last.
#[derive(Debug)]
pub(super) struct Ages {
    /// What the wall clock shows beyond the monotonic one, in ms.
    offset_ms: i64,
    /// Since when both go on together.
    since: Mono,
}

impl Ages {
    pub(super) fn new(now: Now) -> Self {
        Self {
            offset_ms: offset_ms(now),
            since: now.mono,
        }
    }

    /// To be called at least once a minute or so; answers how far ahead the wall clock was set.
    pub(super) fn look(&mut self, now: Now) -> Option<Duration> {
        let offset_ms = offset_ms(now);
        let ahead_ms = offset_ms.saturating_sub(self.offset_ms);
        // Small differences don't add up unseen: what was slewed forth is measured from where it
        // began, and what was set back counts at once.
        if ahead_ms > STEP_MS {
            *self = Self::new(now);
            return Some(Duration::from_millis(ahead_ms.unsigned_abs()));
        }
        self.offset_ms = self.offset_ms.min(offset_ms);
        None
    }

    /// Whether something that is kept for `span` may be called too old: both clocks have gone on
    /// together for the grace, or for as long as it is kept.
    pub(super) fn can_be_believed(&self, now: Now, grace: Duration, span: Duration) -> bool {
        now.mono.since(self.since) >= grace.min(span)
    }
}

fn offset_ms(now: Now) -> i64 {
    let mono_ms = i64::try_from(now.mono.0).unwrap_or(i64::MAX);
    now.wall.0.saturating_sub(mono_ms)
}

#[cfg(test)]
mod tests {
    use cloudai_model::Wall;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn at(mono_s: u64, set_forth_by: Duration) -> Now {
        let wall_s = 1_700_000_000 + mono_s + set_forth_by.as_secs();
        Now {
            mono: Mono(mono_s * 1000),
            wall: Wall(i64::try_from(wall_s * 1000).unwrap()),
        }
    }

    #[test]
    fn a_start_and_a_clock_set_forth_are_followed_by_a_grace() {
        let mut ages = Ages::new(at(0, Duration::ZERO));
        let before = at(3599, Duration::ZERO);
        assert!(!ages.can_be_believed(before, HOUR, 31 * DAY));
        let after = at(3600, Duration::ZERO);
        assert_eq!(ages.look(after), None);
        assert!(ages.can_be_believed(after, HOUR, 31 * DAY));

        assert_eq!(ages.look(at(3601, 31 * DAY)), Some(31 * DAY));
        assert!(!ages.can_be_believed(at(3601, 31 * DAY), HOUR, 30 * DAY));
        // Nobody sets it right: so it was meant.
        assert_eq!(ages.look(at(7201, 31 * DAY)), None);
        assert!(ages.can_be_believed(at(7201, 31 * DAY), HOUR, 30 * DAY));
    }

    #[test]
    fn what_is_kept_for_less_than_the_grace_waits_no_longer_than_that() {
        let ages = Ages::new(at(0, Duration::ZERO));
        let now = at(5, Duration::ZERO);
        assert!(ages.can_be_believed(now, HOUR, Duration::from_secs(5)));
        assert!(!ages.can_be_believed(now, HOUR, Duration::from_secs(6)));
    }

    #[test]
    fn a_clock_that_was_set_back_and_forth_again_was_set_forth() {
        let mut ages = Ages::new(at(0, DAY));
        assert_eq!(ages.look(at(4000, Duration::ZERO)), None);
        assert!(ages.can_be_believed(at(4000, Duration::ZERO), HOUR, DAY));
        assert_eq!(ages.look(at(4001, DAY)), Some(DAY));
        assert!(!ages.can_be_believed(at(4001, DAY), HOUR, DAY));
    }

    #[test]
    fn a_clock_that_is_slewed_a_little_is_believed() {
        let mut ages = Ages::new(at(0, Duration::ZERO));
        for second in 1..4000 {
            let slewed = Duration::from_secs(second / 100);
            assert_eq!(ages.look(at(second, slewed)), None);
        }
        let now = at(4000, Duration::from_secs(40));
        assert!(ages.can_be_believed(now, HOUR, DAY));
    }
}
