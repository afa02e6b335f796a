//! Waiting for a condition, with a deadline and a reason.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Long enough for a slow, shared machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `probe` gives a value.
///
/// # Panics
/// If it doesn't within [`PATIENCE`]; says what was waited for.
pub async fn until<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, probe).await
}

/// The same, for what takes its time by design.
///
/// # Panics
/// If it takes longer than `patience`; says what was waited for.
pub async fn until_within<T>(
    patience: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Deadline::after(patience, what);
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        deadline.again().await;
    }
}

/// The same in parts, for what runs in a task of its own, where a probe that borrows can't be:
/// `while !is_there().await { deadline.again().await }`.
#[derive(Debug)]
pub struct Deadline {
    what: String,
    patience: Duration,
    at: Instant,
}

impl Deadline {
    /// In [`PATIENCE`].
    #[must_use]
    pub fn new(what: &str) -> Self {
        Self::after(PATIENCE, what)
    }

    /// After so long.
    #[must_use]
    pub fn after(patience: Duration, what: &str) -> Self {
        Self {
            what: what.to_owned(),
            patience,
            at: Instant::now() + patience,
        }
    }

    /// Waits for a moment before the next look.
    ///
    /// # Panics
    /// If it is over; says what was waited for.
    pub async fn again(&self) {
        let Self { what, patience, at } = self;
        assert!(Instant::now() < *at, "waited {patience:?} for {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
