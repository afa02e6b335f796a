//! How fast commits may come while the journal is carried over: one for each two batches that have
//! reached the database. Else the journal could be written as fast as it is read, for ever.
//!
//! While nothing gets through commits are not held up: then there is nothing to catch up with.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

/// How many batches are carried over for each commit that is let in.
const BATCHES_PER_COMMIT: u64 = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace(watch::Sender<State>);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Whether batches get through.
    moves: bool,
    /// How many have got through.
    carried: u64,
    /// How many had when a commit was last let in.
    carried_at_commit: u64,
}

impl Pace {
    /// A batch has got through.
    pub(super) fn carried_one(&self) {
        self.0.send_modify(|state| {
            state.moves = true;
            state.carried += 1;
        });
    }

    /// None gets through for now, or there is none left.
    pub(super) fn stands(&self) {
        self.0.send_modify(|state| state.moves = false);
    }

    /// Waits until a commit may come, for each batch no longer than `patience`: a database that
    /// takes longer for one is out of reach. Commits come one at a time.
    pub(super) async fn keep(&self, patience: Duration) {
        let mut state = self.0.subscribe();
        loop {
            let now = *state.borrow_and_update();
            if !now.moves || now.carried >= now.carried_at_commit + BATCHES_PER_COMMIT {
                break;
            }
            if timeout(patience, state.changed()).await.is_err() {
                self.stands();
            }
        }
        self.0
            .send_modify(|state| state.carried_at_commit = state.carried);
    }
}
