//! Whether the disks that this worker needs have room: that of its data directory, where the spool
//! and `/output` are, and that of its engine.
//!
//! A disk without room is not left to be found by the next attempt, which it would cost. The core is
//! told, takes nothing new, and the heartbeats say why; it is told again when there is room. What
//! runs goes on as far as it can.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cloudai_engine::Engine;
use cloudai_telemetry::Space;
use cloudai_worker_core::Input;

use crate::{
    console,
    context::{Context, blocking},
};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// A disk with less than this has no room for another attempt's order, state and log...
const LEAST_BYTES: u64 = 64 << 20;
/// ...but a small one is not full before it has less than this part of it.
const LEAST_PART: u64 = 8;
/// The same in words.
const EXPECTED: &str = "expected 64 MB free, or an eighth of a small disk, and free inodes";

/// Watches for as long as the worker runs.
pub(crate) async fn watch(context: Context) {
    let mut shown = None;
    loop {
        let full = look(&context).await;
        if full != shown {
            console::line(match &full {
                Some(reason) => format!("⚠ {reason}; this worker takes no tasks until it has room"),
                None => "✓ There is room on the disk again".to_owned(),
            });
            context.core.tell(match full.clone() {
                Some(reason) => Input::DiskFull(reason),
                None => Input::DiskHasRoom,
            });
            shown = full;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Which disk has no room.
async fn look(context: &Context) -> Option<String> {
    let data_dir = context.settings.data_dir.clone();
    let engine_dir = engine_dir(context);
    blocking(move || {
        let full = |path: &Path| Space::of(path).is_ok_and(|space| is_full(&space));
        if full(&data_dir) {
            Some(format!(
                "the disk of its data directory is full: {EXPECTED}"
            ))
        } else {
            let engine_dir = engine_dir.filter(|path| full(path))?;
            let path = engine_dir.display();
            Some(format!(
                "the disk of its Docker Engine ({path}) is full: {EXPECTED}"
            ))
        }
    })
    .await
}

/// Where the engine keeps images and containers, if that is on this machine.
pub(crate) fn engine_dir(context: &Context) -> Option<PathBuf> {
    let engine = context.engine.now().filter(Engine::is_local)?;
    let path = PathBuf::from(&engine.info().root_dir);
    // An engine in a container has files of its own.
    path.is_dir().then_some(path)
}

fn is_full(space: &Space) -> bool {
    let least = LEAST_BYTES.min(space.total_bytes() / LEAST_PART);
    space.available_bytes < least || !space.has_files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(used_mb: u64, available_mb: u64) -> Space {
        Space {
            used_bytes: used_mb << 20,
            available_bytes: available_mb << 20,
            has_files: true,
        }
    }

    #[test]
    fn a_disk_is_full_with_little_left_and_a_small_one_with_less() {
        assert!(!is_full(&space(100_000, 64)));
        assert!(is_full(&space(100_000, 63)));
        assert!(!is_full(&space(40, 8)));
        assert!(is_full(&space(44, 4)));
        let no_inodes = Space {
            has_files: false,
            ..space(1, 100_000)
        };
        assert!(is_full(&no_inodes));
    }
}
