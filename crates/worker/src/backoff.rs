//! How long to wait before something is tried again: longer each time, and never in step with
//! others.

use std::time::Duration;

/// The first wait.
const FIRST_MS: u64 = 200;
/// The longest wait, before the jitter.
const LONGEST_MS: u64 = 10_000;

/// The wait before a try, by how many were in vain: none before the first, then doubling from
/// 200 ms up to 10 s. Each is between half of that and all of it ("equal jitter" of M. Brooker,
/// "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
pub(crate) fn delay(tries: u32) -> Duration {
    spread(tries, random())
}

/// Waits as long as [`delay`] says.
pub(crate) async fn wait(tries: u32) {
    if tries > 0 {
        tokio::time::sleep(delay(tries)).await;
    }
}

fn spread(tries: u32, random: u64) -> Duration {
    if tries == 0 {
        return Duration::ZERO;
    }
    let full = FIRST_MS
        .saturating_mul(1 << (tries - 1).min(16))
        .min(LONGEST_MS);
    let half = full / 2;
    Duration::from_millis(half + random % (full - half + 1))
}

fn random() -> u64 {
    // Without a source of randomness waits are merely in step.
    getrandom::u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_differ() {
        assert_eq!(spread(0, 7), Duration::ZERO);
        for tries in 1..100 {
            let (least, most) = (spread(tries, 0), spread(tries, u64::MAX - 1));
            assert!(least < most, "{tries}");
            assert!(most <= Duration::from_secs(10), "{tries}: {most:?}");
            assert!(least >= Duration::from_millis(100), "{tries}: {least:?}");
        }
        let full = |tries: u32| (0..1000).map(|r| spread(tries, r)).max();
        assert_eq!(full(1), Some(Duration::from_millis(200)));
        assert_eq!(full(3), Some(Duration::from_millis(800)));
        assert!(spread(50, 0) >= Duration::from_secs(5));
    }
}
