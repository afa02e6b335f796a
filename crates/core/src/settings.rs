//! The core's spans of time and limits. Their defaults are those of the contract.

use std::time::Duration;

use cloudai_model::UserLimits;

/// What an operator may tune.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often a worker is asked to send a heartbeat.
    pub heartbeat_interval: Duration,
    /// Silence after which a worker counts as inactive.
    pub inactive_after: Duration,
    /// Silence after which a worker's tasks count as lost.
    pub lost_after: Duration,
    /// How long a reservation lasts without the worker's acceptance.
    pub accept_within: Duration,
    /// How often an inactive worker is called, before jitter of a fifth either way.
    pub invite_interval: Duration,
    /// Between ticks: a longer gap means that this process stood still, and forgives all silence.
    /// Never more than a third of [`Self::lost_after`].
    pub longest_tick_gap: Duration,
    /// How long a worker that refused or could not be reached is left alone; doubles up to
    /// [`Self::longest_hold_off`].
    pub first_hold_off: Duration,
    /// See [`Self::first_hold_off`].
    pub longest_hold_off: Duration,
    /// How long a task that failed waits before it is run again; doubles with each failure up to
    /// [`Self::longest_back_off`].
    pub first_back_off: Duration,
    /// See [`Self::first_back_off`].
    pub longest_back_off: Duration,
    /// How many workers may be lost, or fail, under one task before it is given up; at least 1.
    pub machine_failure_limit: u32,
    /// After how many different tasks in a row that failed on it a worker is set aside; 0: never.
    pub set_aside_after: u32,
    /// For how long it is set aside; doubles each time in a row up to [`Self::longest_aside`].
    pub first_aside: Duration,
    /// See [`Self::first_aside`].
    pub longest_aside: Duration,
    /// How many tasks may wait; more are refused.
    pub queue_limit: usize,
    /// What each user may have who has no limits of their own.
    pub user_limits: UserLimits,
    /// How long ended tasks are remembered, to know late and repeated reports for what they are.
    pub remember_ended: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(5),
            inactive_after: Duration::from_secs(15),
            lost_after: Duration::from_secs(30),
            accept_within: Duration::from_secs(30),
            invite_interval: Duration::from_secs(10),
            longest_tick_gap: Duration::from_secs(3),
            first_hold_off: Duration::from_secs(2),
            longest_hold_off: Duration::from_secs(60),
            first_back_off: Duration::from_secs(1),
            longest_back_off: Duration::from_secs(60),
            machine_failure_limit: 5,
            set_aside_after: 5,
            first_aside: Duration::from_secs(60),
            longest_aside: Duration::from_secs(3600),
            queue_limit: 2_000_000,
            user_limits: UserLimits::default(),
            remember_ended: Duration::from_secs(600),
        }
    }
}

impl Settings {
    /// The longest gap between ticks that is taken for time that passed.
    pub(crate) fn tick_gap(&self) -> Duration {
        self.longest_tick_gap.min(self.lost_after / 3)
    }
}

/// `first` doubled `times` times, at most `longest`.
pub(crate) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first
        .saturating_mul(1_u32.checked_shl(times.min(31)).unwrap_or(u32::MAX))
        .min(longest)
}

/// The interval, a fifth shorter or longer. Spread by a hash of whom it is for and which time it
/// is, so that a thousand of them don't end at once, and so that a run can be repeated exactly.
pub(crate) fn jittered(interval: Duration, of: &str, times: u64) -> Duration {
    let hash = fnv1a(of.bytes().chain(times.to_le_bytes()));
    let permille = 800 + u32::try_from(hash % 401).unwrap_or(0);
    interval * permille / 1000
}

/// The hash FNV-1a (Fowler, Noll, Vo) of 64 bits.
pub(crate) fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn intervals_are_spread_by_a_fifth_either_way() {
        let interval = Duration::from_secs(10);
        let waits: Vec<_> = (0..100)
            .map(|times| jittered(interval, "worker-1", times))
            .collect();
        assert!(waits.iter().all(|wait| (8..=12).contains(&wait.as_secs())));
        assert!(waits.iter().collect::<BTreeSet<_>>().len() > 50);
        assert_ne!(
            jittered(interval, "worker-2", 0),
            jittered(interval, "worker-1", 0)
        );
    }

    #[test]
    fn silence_means_what_the_contract_says() {
        let settings = Settings::default();
        assert_eq!(settings.heartbeat_interval, Duration::from_secs(5));
        assert_eq!(settings.inactive_after, Duration::from_secs(15));
        assert_eq!(settings.lost_after, Duration::from_secs(30));
        // This process must notice that it stood still before it takes anybody for gone.
        assert!(settings.tick_gap() < settings.inactive_after);
        let hasty = Settings {
            lost_after: Duration::from_secs(3),
            ..settings
        };
        assert_eq!(hasty.tick_gap(), Duration::from_secs(1));
    }

    #[test]
    fn waits_double_up_to_a_limit() {
        let (first, longest) = (Duration::from_secs(2), Duration::from_secs(60));
        let waits: Vec<_> = (0..7)
            .map(|n| doubled(first, n, longest).as_secs())
            .collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(doubled(first, u32::MAX, longest), longest);
    }
}
