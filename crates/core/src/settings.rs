//! The core's spans of time and limits. Their defaults are those of the contract.

use std::time::Duration;

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
    /// How many tasks may wait; more are refused.
    pub queue_limit: usize,
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
            queue_limit: 2_000_000,
            remember_ended: Duration::from_secs(600),
        }
    }
}

/// `first` doubled `times` times, at most `longest`.
pub(crate) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first
        .saturating_mul(1_u32.checked_shl(times.min(31)).unwrap_or(u32::MAX))
        .min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

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
