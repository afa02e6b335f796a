//! What the operator is told of a store whose database may be out of reach: that it is, and that it
//! is there again.

use std::sync::Arc;

use cloudai_console::Output;
use cloudai_operator::Operator as _;
use cloudai_store::Store as _;
use tracing::{info, warn};

use crate::operations::Master;

/// Tells the news for as long as the store is open.
pub async fn announce(master: Arc<Master>, output: Output) {
    let Some(journaled) = &master.journaled else {
        return;
    };
    let mut changes = journaled.store.changes();
    let mut was_away = false;
    loop {
        let away = master.degraded();
        match &away {
            Some(away) if !was_away => {
                let what = match away.read {
                    true => "what changes",
                    false => "what is submitted",
                };
                output.news(format!("⚠ Degraded: {away}; {what} is kept in a journal"));
                warn!(
                    store = away.place,
                    reason = away.reason,
                    "the store is out of reach, the master goes on without it"
                );
            }
            None if was_away => {
                let store = journaled.store.describe();
                output.news(format!("✓ Store in reach: {store}"));
                info!(store, "the store is in reach, and lacks nothing");
            }
            Some(_) | None => {}
        }
        was_away = away.is_some();
        if !changes.next().await {
            return;
        }
    }
}

/// Resolves when the store's database is out of reach; never if it can't be.
pub async fn out_of_reach(master: &Master) {
    if let Some(journaled) = &master.journaled {
        let mut changes = journaled.store.changes();
        while journaled.store.degraded().is_none() {
            if !changes.next().await {
                break;
            }
        }
        if journaled.store.degraded().is_some() {
            return;
        }
    }
    std::future::pending::<()>().await;
}
