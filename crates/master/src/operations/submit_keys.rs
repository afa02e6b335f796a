//! Submits under a key that their user chose: the same one is taken once, however often it is sent.

use std::{
    collections::BTreeMap,
    future::pending,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use cloudai_model::{SubmitKey, TaskId, UserName};
use cloudai_operator::{KeyReused, ReadFailure};
use tokio::{sync::OwnedMutexGuard, task::JoinError};

use super::{Master, read_failure};

/// For so long a key stands for what was submitted under it.
const KEPT: Duration = Duration::from_secs(24 * 3600);

type Turn = tokio::sync::Mutex<()>;

/// Whose turn it is with a key: of two submits under one key, the second finds what the first left.
#[derive(Debug, Default)]
pub struct SubmitKeys(Mutex<BTreeMap<(UserName, String), Weak<Turn>>>);

/// So many keys are held before those that nobody holds any more are let go.
const TIDY_BEYOND: usize = 1024;

impl SubmitKeys {
    /// Waits for those who came before under this key; the turn ends when what is returned is dropped.
    pub(super) async fn turn(&self, user: &UserName, key: &SubmitKey) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.len() > TIDY_BEYOND {
                turns.retain(|_, turn| turn.strong_count() > 0);
            }
            let entry = turns.entry((user.clone(), key.key.clone())).or_default();
            entry.upgrade().unwrap_or_else(|| {
                let turn = Arc::new(Turn::default());
                *entry = Arc::downgrade(&turn);
                turn
            })
        };
        turn.lock_owned().await
    }
}

/// Carries out what was begun in this turn, also when whoever asked has gone: what is under way then
/// would not be found yet by who comes next, and be taken again. The turn lasts until then, and comes
/// back.
pub(super) async fn to_its_end<T: Send + 'static>(
    turn: Option<OwnedMutexGuard<()>>,
    begun: impl Future<Output = T> + Send + 'static,
) -> (T, Option<OwnedMutexGuard<()>>) {
    if turn.is_none() {
        return (begun.await, None);
    }
    let ended = tokio::spawn(async move { (begun.await, turn) });
    match ended.await.map_err(JoinError::try_into_panic) {
        Ok(ended) => ended,
        Err(Ok(panic)) => resume_unwind(panic),
        // The process is ending, and this with it.
        Err(Err(_)) => pending().await,
    }
}

/// Why it is not known, or not the same, what was submitted under a key.
pub(super) enum KeyFailure {
    Read(ReadFailure),
    Reused(KeyReused),
}

impl Master {
    /// The tasks that were submitted under this key less than a day ago, by their places in the submit;
    /// none: it is new.
    pub(super) async fn submitted_under(
        &self,
        user: &UserName,
        key: &SubmitKey,
    ) -> Result<Vec<TaskId>, KeyFailure> {
        let known = self.store.submitted(user, &key.key).await;
        let known = known.map_err(|error| KeyFailure::Read(read_failure(error)))?;
        let now = cloudai_clock::now().wall;
        let lasts = known
            .into_iter()
            .filter(|one| now.since(one.submitted_at) < KEPT);
        let mut lasting: Vec<_> = lasts.collect();
        lasting.sort_by_key(|one| one.key.index);
        if let Some(other) = lasting.iter().find(|one| one.key.body != key.body) {
            return Err(KeyFailure::Reused(KeyReused {
                key: key.key.clone(),
                task: other.task.clone(),
            }));
        }
        Ok(lasting.into_iter().map(|one| one.task).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    fn key(key: &str) -> SubmitKey {
        SubmitKey {
            key: key.to_owned(),
            body: [7; 32],
            index: 0,
        }
    }

    #[tokio::test]
    async fn who_comes_second_under_a_key_waits_for_the_first_and_nobody_else_does() {
        let (keys, ann, bob) = (
            SubmitKeys::default(),
            "ann".parse().unwrap(),
            "bob".parse().unwrap(),
        );
        let (nightly, weekly) = (key("nightly"), key("weekly"));
        let first = keys.turn(&ann, &nightly).await;
        let mut second = pin!(keys.turn(&ann, &nightly));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(keys.turn(&ann, &weekly).now_or_never().is_some());
        assert!(keys.turn(&bob, &nightly).now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_submit_goes_on_when_who_asked_has_gone_and_its_turn_lasts_until_it_ends() {
        // Given a submit under a key that is under way,
        let (keys, ann) = (SubmitKeys::default(), "ann".parse().unwrap());
        let nightly = key("nightly");
        let turn = keys.turn(&ann, &nightly).await;
        let (kept, is_kept) = tokio::sync::oneshot::channel::<()>();
        let mut first = Box::pin(to_its_end(Some(turn), is_kept));
        assert!(first.as_mut().now_or_never().is_none());

        // when who asked goes, then the same key waits all the same,
        drop(first);
        tokio::task::yield_now().await;
        let mut second = pin!(keys.turn(&ann, &nightly));
        assert!(second.as_mut().now_or_never().is_none());

        // until the submit has come to its end.
        kept.send(()).unwrap();
        second.await;
    }

    #[tokio::test]
    async fn keys_that_nobody_holds_are_let_go() {
        let (keys, ann): (SubmitKeys, UserName) = (SubmitKeys::default(), "ann".parse().unwrap());
        let held = keys.turn(&ann, &key("held")).await;
        for number in 0..2 * TIDY_BEYOND {
            drop(keys.turn(&ann, &key(&number.to_string())).await);
        }
        assert!(keys.0.lock().unwrap().len() <= TIDY_BEYOND + 1);
        let again = key("held");
        assert!(keys.turn(&ann, &again).now_or_never().is_none());
        drop(held);
    }
}
