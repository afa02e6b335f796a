//! Who may send files just now, and who may use the disk for it: what one worker sends, or leaves
//! unsent, holds up no other.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use cloudai_model::{AttemptId, TaskId, UserName, WorkerId};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, oneshot};

/// Uploads of one worker at a time. Further ones wait.
const OF_A_WORKER: usize = 16;
/// Pieces of work at the disk at a time, of all uploads together. A piece is short, so that turns
/// come soon, and the threads that logs are written with are never all taken.
const AT_DISK: usize = 16;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(in crate::grpc) struct Places {
    uploads: Arc<Mutex<Uploads>>,
    at_disk: Arc<Semaphore>,
}

#[derive(Default)]
struct Uploads {
    of_workers: HashMap<WorkerId, Arc<Semaphore>>,
    /// The upload of each attempt; it ends when its sender here is dropped.
    latest: HashMap<AttemptId, (u64, oneshot::Sender<()>)>,
    begun: u64,
    /// Tasks whose files are being put to their place.
    filing: Turns<TaskId>,
    /// Users with a quota whose files are being counted and put to their place.
    counting: Turns<UserName>,
}

/// The right to upload the files of an attempt, as long as it is kept.
pub(super) struct Place {
    uploads: Arc<Mutex<Uploads>>,
    attempt: AttemptId,
    number: u64,
    replaced: oneshot::Receiver<()>,
    /// One of its worker's; `None` while it waits for it.
    of_worker: Option<OwnedSemaphorePermit>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            uploads: Arc::default(),
            at_disk: Arc::new(Semaphore::new(AT_DISK)),
        }
    }
}

impl Places {
    /// A place for an upload of an attempt; an earlier one of it that is still under way, or waits
    /// for a place, loses its own: the worker began anew, and its first connection is only not
    /// known to be gone. `None` if that happened to this one while it waited.
    pub(super) async fn take(&self, worker: &WorkerId, attempt: &AttemptId) -> Option<Place> {
        let (mut place, of_worker) = self.begin(worker, attempt);
        let permit = tokio::select! {
            permit = of_worker.acquire_owned() => permit.expect("it is never closed"),
            () = place.lost() => return None,
        };
        place.of_worker = Some(permit);
        Some(place)
    }

    fn begin(&self, worker: &WorkerId, attempt: &AttemptId) -> (Place, Arc<Semaphore>) {
        let (ends, replaced) = oneshot::channel();
        let mut uploads = lock(&self.uploads);
        uploads.begun += 1;
        let number = uploads.begun;
        uploads.latest.insert(attempt.clone(), (number, ends));
        uploads
            .of_workers
            .retain(|_, places| Arc::strong_count(places) > 1);
        let of_worker = uploads
            .of_workers
            .entry(worker.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(OF_A_WORKER)));
        let place = Place {
            uploads: self.uploads.clone(),
            attempt: attempt.clone(),
            number,
            replaced,
            of_worker: None,
        };
        (place, of_worker.clone())
    }

    /// The turn to put files of a task to their place: attempts of one task come one by one.
    pub(super) async fn filing(&self, task: &TaskId) -> OwnedMutexGuard<()> {
        let turn = turn(&mut lock(&self.uploads).filing, task);
        turn.lock_owned().await
    }

    /// The turn to count a user's files and put some to their place: of two uploads that fit alone and
    /// not together one is taken. To be had before [`Self::filing`].
    pub(super) async fn counting(&self, user: &UserName) -> OwnedMutexGuard<()> {
        let turn = turn(&mut lock(&self.uploads).counting, user);
        turn.lock_owned().await
    }

    /// A turn at the disk.
    pub(super) async fn at_disk(&self) -> OwnedSemaphorePermit {
        let turn = self.at_disk.clone().acquire_owned().await;
        turn.expect("it is never closed")
    }
}

type Turns<K> = HashMap<K, Arc<tokio::sync::Mutex<()>>>;

/// Whose turn it is; those that nobody waits for are let go.
fn turn<K: Clone + Eq + Hash>(turns: &mut Turns<K>, of: &K) -> Arc<tokio::sync::Mutex<()>> {
    turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    turns.entry(of.clone()).or_default().clone()
}

impl Place {
    /// Resolves when another upload of the same attempt has begun.
    pub(super) async fn lost(&mut self) {
        // Nothing is ever sent: only that the sender is gone tells.
        let _ = (&mut self.replaced).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut uploads = lock(&self.uploads);
        let latest = uploads.latest.get(&self.attempt);
        if latest.is_some_and(|(number, _)| *number == self.number) {
            uploads.latest.remove(&self.attempt);
        }
    }
}

fn lock(uploads: &Mutex<Uploads>) -> std::sync::MutexGuard<'_, Uploads> {
    uploads.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn attempt(number: u64) -> AttemptId {
        AttemptId::new(cloudai_model::TaskId::numbered(number), 1)
    }

    async fn taken(places: &Places, worker: &str, number: u64) -> Place {
        let (worker, attempt) = (worker.parse().unwrap(), attempt(number));
        places.take(&worker, &attempt).await.unwrap()
    }

    #[tokio::test]
    async fn a_second_upload_of_an_attempt_ends_the_first() {
        let places = Places::default();
        let mut first = taken(&places, "w", 1).await;
        let mut other = taken(&places, "w", 2).await;
        assert_eq!(first.lost().now_or_never(), None);
        let mut second = taken(&places, "w", 1).await;
        first.lost().await;
        // When the first leaves, that takes nothing from the second.
        drop(first);
        assert_eq!(second.lost().now_or_never(), None);
        assert_eq!(other.lost().now_or_never(), None);
        drop((second, other));
        assert!(lock(&places.uploads).latest.is_empty());
    }

    #[tokio::test]
    async fn a_worker_with_many_uploads_holds_up_itself_alone() {
        let places = Places::default();
        let mut held = Vec::new();
        for number in 0..OF_A_WORKER as u64 {
            held.push(taken(&places, "greedy", number).await);
        }
        let (greedy, further) = ("greedy".parse().unwrap(), attempt(1000));
        let mut waiting = Box::pin(places.take(&greedy, &further));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(taken(&places, "modest", 2000).now_or_never().is_some());

        // One that waits is replaced like one that doesn't.
        let mut again = Box::pin(places.take(&greedy, &further));
        assert!(again.as_mut().now_or_never().is_none());
        assert!(waiting.await.is_none());
        held.pop();
        assert!(again.await.is_some());
        assert_eq!(lock(&places.uploads).latest.len(), OF_A_WORKER - 1);
    }
}
