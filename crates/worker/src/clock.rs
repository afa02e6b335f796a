//! The one place where this program reads its clocks.

use std::{
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use cloudai_model::{Mono, Now, Wall};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Both clocks, now.
pub(crate) fn now() -> Now {
    let millis = START.elapsed().as_millis();
    Now {
        mono: Mono(u64::try_from(millis).unwrap_or(u64::MAX)),
        wall: Wall(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| {
                    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
                }),
        ),
    }
}
