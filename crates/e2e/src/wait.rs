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
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        let now = Instant::now();
        assert!(now < deadline, "waited {patience:?} for {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
