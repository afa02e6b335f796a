//! When nothing came of a container's outputs, and whether their end can be lost for it.
//!
//! The engine holds back a container whose outputs are not read, but not for long once it has
//! ended: what is in its pipes after two seconds is thrown away, and nobody is told. That needs
//! both a pause at that very time (a full disk, a stopped process, a machine that slept, a way to the
//! engine that stands still) and so much unread output that the engine had stopped taking more. Both
//! are seen afterwards: by when something came again, and by how much it was. A container that was
//! silent for as long ended later than that.

use std::{collections::VecDeque, time::Duration};

use cloudai_engine::LogPosition;
use cloudai_model::Mono;

/// A shorter pause is none: the engine waits two seconds.
const PAUSE: Duration = Duration::from_millis(1500);
/// What the engine holds of an output before it takes no more from the container.
const HELD_BYTES: u64 = 1_000_000;
/// So many pauses are remembered, the last ones.
const MOST: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// When something came last; `None` if nothing has. Before that is a pause: since the start of the
    /// container, which may be long ago.
    came_at: Option<Mono>,
    ended: VecDeque<Pause>,
}

#[derive(Debug)]
struct Pause {
    until: Mono,
    /// What had been read before it.
    position: LogPosition,
}

impl Pauses {
    /// Something comes behind `position`, or it is seen that nothing more will come this way.
    pub(super) fn over(&mut self, now: Mono, position: LogPosition) {
        if self.came_at.is_none_or(|last| now.since(last) >= PAUSE) {
            self.ended.truncate(MOST - 1);
            self.ended.push_front(Pause {
                until: now,
                position,
            });
        }
        self.came_at = Some(now);
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

    /// What comes at these times, in milliseconds, and how much had come before.
    fn coming(pieces: &[(u64, u64)]) -> Pauses {
        let mut pauses = Pauses::default();
        for (ms, before) in pieces {
            pauses.over(Mono(*ms), stdout(*before));
        }
        pauses
    }

    /// Nothing came from 1 s to 5 s, when 100 bytes had.
    fn held_up() -> Pauses {
        coming(&[(500, 0), (1_000, 50), (5_000, 100)])
    }

    #[test]
    fn a_pause_at_the_end_with_much_unread_may_have_cost_the_last_bytes() {
        let end = stdout(100 + HELD_BYTES);
        assert!(held_up().were_long(end));
        assert!(held_up().reach_beyond(Mono(2_000), end));
    }

    #[test]
    fn a_container_that_ended_after_the_pause_lost_nothing() {
        for finished_at in [4_000, 9_000] {
            assert!(!held_up().reach_beyond(Mono(finished_at), stdout(100 + HELD_BYTES)));
        }
    }

    #[test]
    fn an_output_that_fits_into_what_the_engine_holds_lost_nothing() {
        assert!(!held_up().reach_beyond(Mono(2_000), stdout(100 + HELD_BYTES - 1)));
    }

    #[test]
    fn the_time_before_the_first_piece_is_a_pause() {
        let pauses = coming(&[(5_000, 0)]);
        assert!(pauses.reach_beyond(Mono(2_000), stdout(HELD_BYTES)));
        assert!(!pauses.reach_beyond(Mono(4_000), stdout(HELD_BYTES)));
    }

    #[test]
    fn an_earlier_pause_is_remembered_when_others_follow() {
        let end = HELD_BYTES;
        let pauses = coming(&[(500, 0), (5_000, 0), (8_000, end), (11_000, end)]);
        assert!(pauses.reach_beyond(Mono(2_000), stdout(end)));
    }

    #[test]
    fn what_comes_steadily_has_no_pause_but_the_first() {
        let pieces: Vec<_> = (0..60)
            .map(|second| (second * 1_000, second * HELD_BYTES))
            .collect();
        let pauses = coming(&pieces);
        assert!(!pauses.reach_beyond(Mono(0), stdout(60 * HELD_BYTES)));
    }
}
