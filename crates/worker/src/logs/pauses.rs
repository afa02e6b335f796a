//! When this worker did not read a container's outputs, and whether their end can be lost for it.
//!
//! The engine holds back a container whose outputs are not read, but not for long once it has
//! ended: what is in its pipes after two seconds is thrown away, and nobody is told. That needs
//! both a pause at that very time (a full disk, a stopped process, a machine that slept) and so
//! much unread output that the engine had stopped taking more. Both are seen afterwards.

use std::{collections::VecDeque, time::Duration};

use cloudai_engine::LogPosition;
use cloudai_model::Mono;

/// A shorter pause is none: the engine waits two seconds.
const PAUSE: Duration = Duration::from_millis(1500);
/// What the engine holds of an output before it takes no more from the container.
const HELD_BYTES: u64 = 1_000_000;
/// So many pauses are remembered.
const MOST: usize = 16;

#[derive(Debug)]
pub(super) struct Pauses {
    looked_at: Mono,
    ended: VecDeque<Pause>,
}

#[derive(Debug)]
struct Pause {
    until: Mono,
    /// What had been read before it.
    position: LogPosition,
}

impl Pauses {
    pub(super) fn new(now: Mono) -> Self {
        Self {
            looked_at: now,
            ended: VecDeque::new(),
        }
    }

    /// The outputs are being read now. To be called at least once a second.
    pub(super) fn look(&mut self, now: Mono, position: LogPosition) {
        if now.since(self.looked_at) >= PAUSE {
            self.ended.truncate(MOST - 1);
            self.ended.push_front(Pause {
                until: now,
                position,
            });
        }
        self.looked_at = now;
    }

    /// Whether the engine may have stopped taking output in during any of them.
    pub(super) fn were_long(&self, end: LogPosition) -> bool {
        self.filled(end).next().is_some()
    }

    /// Whether one of those went on for so long after the container's end.
    pub(super) fn reach_beyond(&self, finished_at: Mono, end: LogPosition) -> bool {
        let beyond = finished_at.after(PAUSE);
        self.filled(end).any(|pause| pause.until >= beyond)
    }

    /// The pauses after which at least as much was read as the engine holds.
    fn filled(&self, end: LogPosition) -> impl Iterator<Item = &Pause> {
        self.ended.iter().filter(move |pause| {
            let stdout = end.stdout_bytes - pause.position.stdout_bytes;
            let stderr = end.stderr_bytes - pause.position.stderr_bytes;
            stdout.max(stderr) >= HELD_BYTES
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stdout(bytes: u64) -> LogPosition {
        LogPosition {
            stdout_bytes: bytes,
            stderr_bytes: 0,
        }
    }

    /// Read until 1 s, not until 5 s, when `before` bytes had been read.
    fn held_up(before: u64) -> Pauses {
        let mut pauses = Pauses::new(Mono(0));
        for (ms, bytes) in [(500, 0), (1_000, before), (5_000, before)] {
            pauses.look(Mono(ms), stdout(bytes));
        }
        pauses
    }

    #[test]
    fn a_pause_at_the_end_with_much_unread_may_have_cost_the_last_bytes() {
        let pauses = held_up(100);
        let end = stdout(100 + HELD_BYTES);
        assert!(pauses.were_long(end));
        assert!(pauses.reach_beyond(Mono(2_000), end));
    }

    #[test]
    fn a_container_that_ended_after_the_pause_lost_nothing() {
        let pauses = held_up(100);
        assert!(!pauses.reach_beyond(Mono(4_000), stdout(100 + HELD_BYTES)));
        assert!(!pauses.reach_beyond(Mono(9_000), stdout(100 + HELD_BYTES)));
    }

    #[test]
    fn an_output_that_fits_into_what_the_engine_holds_lost_nothing() {
        assert!(!held_up(100).were_long(stdout(100 + HELD_BYTES - 1)));
    }

    #[test]
    fn an_earlier_pause_is_remembered_when_others_follow() {
        let mut pauses = held_up(0);
        let end = stdout(HELD_BYTES);
        for ms in [8_000, 11_000] {
            pauses.look(Mono(ms), end);
        }
        assert!(pauses.reach_beyond(Mono(2_000), end));
    }

    #[test]
    fn steady_reading_is_no_pause() {
        let mut pauses = Pauses::new(Mono(0));
        for ms in (0..60_000).step_by(1_000) {
            pauses.look(Mono(ms), stdout(ms * 1_000));
        }
        assert!(!pauses.were_long(stdout(u64::MAX)));
    }
}
