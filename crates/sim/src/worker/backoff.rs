//! How long to wait before something is tried again: `crates/worker/src/backoff.rs`, with chance from
//! the seed.

use super::WorkerShell;

const FIRST_MS: u64 = 200;
const LONGEST_MS: u64 = 10_000;

/// Waits: not before the first try, then longer each time.
pub(super) async fn wait(shell: &WorkerShell, what: &str, tries: u32) {
    if tries == 0 {
        return;
    }
    let full = FIRST_MS
        .saturating_mul(1 << (tries - 1).min(16))
        .min(LONGEST_MS);
    let world = &shell.world;
    let chance = world.chance.of("backoff").of(what);
    let mut chance = chance.nth(shell.index as u64).nth(u64::from(tries));
    world.sim.sleep(chance.between(full / 2, full)).await;
}
