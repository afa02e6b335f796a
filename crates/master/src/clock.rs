//! The only place in the master that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cloudai_model::{Mono, Now, Wall};

/// Both clocks of this process.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// A monotonic clock that begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// What both clocks show.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Now {
        let mono = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            // A machine whose clock was never set.
            Err(_) => 0,
        };
        Now {
            mono: Mono(mono),
            wall: Wall(wall),
        }
    }
}
