//! The one place where the shells read their clocks. A core never does: it is told the time.

#![allow(clippy::disallowed_methods, reason = "this is the clock")]

use std::{
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use cloudai_model::{Mono, Now, Wall};

static FIRST_LOOK: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What both clocks show. The monotonic one begins with this process's first look at it.
#[must_use]
pub fn now() -> Now {
    let began = *FIRST_LOOK;
    let mono = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_step_back_and_the_other_is_of_this_age() {
        let (first, second) = (now(), now());
        assert!(second.mono >= first.mono);
        assert!(first.wall > Wall(1_700_000_000_000), "{}", first.wall);
    }
}
