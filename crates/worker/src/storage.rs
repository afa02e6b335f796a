//! The storage limit of a running container: what its own layer, `/output` and its log take is
//! measured again and again, because the engine's overlay driver limits nothing.
//!
//! To measure is to walk files, the engine's and ours. So it is done every five seconds, and never
//! for more than a twentieth of the time: what takes a second to measure is measured every twenty
//! seconds. A volume has to be read from the engine for it, up to the limit: every fifteen seconds
//! at most. When the log alone is over the limit, it is measured at once. Until it is, a container
//! can write beyond its limit: that ends it, it does not fence it in. Volumes that an image declares
//! for itself are not seen.

use std::{convert::Infallible, fs, time::Duration};

use cloudai_engine::{ContainerId, EngineError};
use cloudai_files::output::{TooDeep, disk_usage};
use cloudai_model::resources::storage_limit;
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

/// The most that a container may have on disk; `None` for one that an old master gave no limit.
pub(crate) fn limit(order: &Order) -> Option<u64> {
    match order.grant.storage_bytes {
        0 if order.is_of_old_master() => None,
        bytes => Some(storage_limit(bytes)),
    }
}

/// Watches what a container has on disk for as long as it is followed, and tells the core once
/// when that is more than it was given.
pub(crate) async fn watch(context: &Context, order: &Order, container: &ContainerId) -> Infallible {
    let Some(limit) = limit(order) else {
        return std::future::pending().await;
    };
    let mut wait = FIRST_LOOK;
    let mut warned = false;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = log_is_beyond(context, order, limit) => {}
        }
        let began = Instant::now();
        match measure(context, order, container).await {
            Ok(taken) if taken.is_none_or(|bytes| bytes > limit) => {
                let reason = over_limit(limit, taken);
                console::task(&order.attempt.task, format_args!("Stopping it: {reason}"));
                let outcome = Outcome::OverLimit(reason);
                context.core.outcome(&order.attempt, outcome);
                return std::future::pending().await;
            }
            Ok(_) => {}
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    let attempt = &order.attempt;
                    tracing::warn!(%attempt, %error, "its storage can't be measured just now");
                }
                sleep(INTERVAL).await;
            }
        }
        let least = match context.spool.place(&order.attempt).has_volume() {
            true => VOLUME_INTERVAL,
            false => INTERVAL,
        };
        wait = least.max(began.elapsed() * REST);
    }
}

/// Resolves when the log alone is over the limit.
async fn log_is_beyond(context: &Context, order: &Order, limit: u64) {
    let watched = context.logs.watch(&order.attempt).await;
    let extent = match watched {
        Ok(mut log) => Some(log.beyond(limit).await),
        Err(_) => None,
    };
    if extent.is_none_or(|extent| extent.len <= limit) {
        std::future::pending::<()>().await;
    }
}

/// What a container has on disk; `None` where that can't be told, since its folders lie too deep.
async fn measure(
    context: &Context,
    order: &Order,
    container: &ContainerId,
) -> Result<Option<u64>, EngineError> {
    let engine = context.engine.ready().await;
    let layer = engine.written_bytes(container).await?;
    let place = context.spool.place(&order.attempt);
    let output = if place.has_volume() {
        engine
            .output_bytes(container, limit(order).unwrap_or(u64::MAX))
            .await?
    } else {
        let folder = place.output();
        match blocking(move || disk_usage(&folder)).await {
            Ok(bytes) => bytes,
            Err(TooDeep) => return Ok(None),
        }
    };
    let log = fs::metadata(place.log()).map_or(0, |log| log.len());
    Ok(Some(layer.saturating_add(output).saturating_add(log)))
}

fn over_limit(limit: u64, taken: Option<u64>) -> String {
    let Some(bytes) = taken else {
        return format!("what it takes of its storage can't be told: in /output {TooDeep}");
    };
    format!(
        "over its storage limit of {}: its files, /output and log take {}",
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
            over_limit(512 << 20, Some(3 << 29)),
            "over its storage limit of 512.0 MB: its files, /output and log take 1.50 GB"
        );
    }
}
