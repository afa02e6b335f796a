//! The storage limit of a running container: what its own layer and `/output` take is measured
//! again and again, because the engine's overlay driver limits neither.
//!
//! To measure is to walk files, the engine's and ours. So it is done every five seconds, and never
//! for more than a twentieth of the time: what takes a second to measure is measured every twenty
//! seconds. A volume has to be read from the engine for it, up to the limit: every fifteen seconds
//! at most. Within that time a container can write beyond its limit; the limit ends it, it does
//! not fence it in. Volumes that an image declares for itself are not seen.

use std::{convert::Infallible, time::Duration};

use cloudai_engine::{ContainerId, EngineError};
use cloudai_files::output::disk_usage;
use cloudai_worker_core::{Order, Outcome};
use tokio::time::{Instant, sleep};

use crate::{
    console,
    context::{Context, blocking},
};

/// When a container's disk is first looked at.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How often it is looked at while that is quick.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same for a volume, which is read to be measured.
const VOLUME_INTERVAL: Duration = Duration::from_secs(15);
/// How many times longer than it takes to look is waited until the next look.
const REST: u32 = 19;
const MB: f64 = (1_u64 << 20) as f64;
const GB: f64 = (1_u64 << 30) as f64;

/// Watches what a container has on disk for as long as it is followed, and tells the core once
/// when that is more than it was given. A limit of zero is none.
pub(crate) async fn watch(context: &Context, order: &Order, container: &ContainerId) -> Infallible {
    let limit = order.grant.storage_bytes;
    if limit == 0 {
        return std::future::pending().await;
    }
    let mut wait = FIRST_LOOK;
    loop {
        sleep(wait).await;
        let began = Instant::now();
        match measure(context, order, container).await {
            Ok(bytes) if bytes > limit => {
                let reason = over_limit(limit, bytes);
                console::task(&order.attempt.task, format_args!("Stopping it: {reason}"));
                let outcome = Outcome::OverLimit(reason);
                context.core.outcome(&order.attempt, outcome);
                return std::future::pending().await;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%container, %error, "its storage can't be measured"),
        }
        let least = match context.spool.place(&order.attempt).has_volume() {
            true => VOLUME_INTERVAL,
            false => INTERVAL,
        };
        wait = least.max(began.elapsed() * REST);
    }
}

async fn measure(
    context: &Context,
    order: &Order,
    container: &ContainerId,
) -> Result<u64, EngineError> {
    let engine = context.engine.ready().await;
    let layer = engine.written_bytes(container).await?;
    let place = context.spool.place(&order.attempt);
    let output = if place.has_volume() {
        engine
            .output_bytes(container, order.grant.storage_bytes)
            .await?
    } else {
        blocking(move || disk_usage(&place.output())).await
    };
    Ok(layer.saturating_add(output))
}

fn over_limit(limit: u64, bytes: u64) -> String {
    format!(
        "over its storage limit of {}: its files and /output take {}",
        size(limit),
        size(bytes)
    )
}

/// A size for people, never rounded onto another of its own kind near it.
fn size(bytes: u64) -> String {
    if bytes < 1 << 30 {
        format!("{:.1} MB", bytes as f64 / MB)
    } else {
        format!("{:.2} GB", bytes as f64 / GB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_the_limit_and_the_size() {
        assert_eq!(
            over_limit(512 << 20, 3 << 29),
            "over its storage limit of 512.0 MB: its files and /output take 1.50 GB"
        );
    }
}
