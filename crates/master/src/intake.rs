//! Submits while the store has not been read yet, because its database is out of reach: each gets an
//! id at once and is flushed to the journal. When the store has been read they become tasks like any
//! other, under these ids and in this order.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex},
    time::Duration,
};

use cloudai_core::{
    Answer, Input, Submitted,
    explain::{Explanation, Outlook},
};
use cloudai_model::{
    Phase, TaskId, TaskSpec, TaskStatus, UserName, Wall,
    record::{TaskRecord, TaskState},
};
use cloudai_operator::QueueEntry;
use cloudai_store::{
    AppendError, JournaledStore, ReadError, Store as _, Submitted as TakenIn, TakeInError,
};
use futures_util::future::join_all;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::core_loop::{CoreHandle, Stopped};

#[cfg(test)]
mod tests;

/// Tasks that are handed over at once.
const AT_ONCE: usize = 256;
/// The pause after not all could be handed over.
const PAUSE: Duration = Duration::from_secs(1);
/// What such a task waits for.
const WAITING_FOR: &str = "the store has not been read yet: its database is out of reach";

/// See the module.
pub struct Intake {
    store: Arc<JournaledStore>,
    /// While so many wait no more are taken.
    queue_limit: usize,
    last_number: Mutex<u64>,
    /// Held while a task is cancelled, and while some change hands: a cancel meets them here or there.
    changing_hands: tokio::sync::Mutex<()>,
}

/// Why a task was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// So many wait already.
    #[error("{0} tasks wait: expected fewer")]
    QueueFull(usize),
    /// It can't be kept.
    #[error(transparent)]
    NotKept(#[from] TakeInError),
}

/// Where an accepted task is to be found in the store.
#[derive(Debug, Clone, PartialEq)]
enum Found {
    /// Under this id it is there: it was handed over before, and that was not written down.
    There(TaskId),
    /// It is not, and nobody has this id.
    Free(TaskId),
}

/// Why a task was not handed over.
enum NotYet {
    /// The store can't be asked, for none.
    OutOfReach,
    /// Another time.
    Again,
    /// The master is shutting down.
    Stopped,
}

impl From<Stopped> for NotYet {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl Intake {
    /// The one before this store, for at most so many tasks that wait.
    #[must_use]
    pub fn new(store: Arc<JournaledStore>, queue_limit: usize) -> Self {
        Self {
            queue_limit,
            last_number: Mutex::new(store.highest_taken_in().unwrap_or(0)),
            store,
            changing_hands: tokio::sync::Mutex::default(),
        }
    }

    /// Keeps a task until the store has been read.
    ///
    /// # Errors
    /// See [`TakeError`].
    pub async fn take(&self, spec: &TaskSpec) -> Result<Submitted, TakeError> {
        let waiting = self.store.waiting_taken_in();
        if waiting >= self.queue_limit {
            return Err(TakeError::QueueFull(waiting));
        }
        let submitted_at = cloudai_clock::now().wall;
        let task = TaskRecord {
            task: self.fresh_id(submitted_at),
            order: 0,
            spec: spec.clone(),
            submitted_at,
            state: TaskState::queued(WAITING_FOR),
        };
        let id = task.task.clone();
        self.store.take_in(task).await?;
        let position = self.store.waiting_taken_in();
        Ok(Submitted {
            task: id,
            status: TaskStatus::Queued,
            worker: None,
            position,
            waiting: Some(waiting_for()),
        })
    }

    /// Microseconds since 1970, above all that were given out here: the clock may step back.
    fn fresh_id(&self, now: Wall) -> TaskId {
        let clock = u64::try_from(now.0).unwrap_or(0).saturating_mul(1000);
        let mut last = self.last_number.lock();
        let last = last.as_deref_mut();
        let last = last.unwrap_or_else(|poisoned| poisoned.get_mut());
        *last = last.saturating_add(1).max(clock);
        TaskId::numbered(*last)
    }

    /// Cancels a task that is still here; `false` if it isn't.
    ///
    /// # Errors
    /// If that can't be written down.
    pub async fn cancel(&self, task: &TaskId) -> Result<bool, AppendError> {
        let _turn = self.changing_hands.lock().await;
        self.store.cancel_taken_in(task).await
    }

    /// A task that is still here.
    #[must_use]
    pub fn task(&self, task: &TaskId) -> Option<TaskRecord> {
        self.store.taken_in(|all| all.get(task).map(shown))
    }

    /// Those that fit and are still here, the newest first, at most `limit` of them.
    #[must_use]
    pub fn newest_first(
        &self,
        limit: usize,
        fits: impl Fn(&TaskId, &UserName, TaskStatus) -> bool,
    ) -> Vec<TaskRecord> {
        self.store.taken_in(|all| {
            let newest = all.values().rev();
            let fit = newest.filter(|it| fits(&it.task.task, &it.task.spec.user, status(it)));
            fit.take(limit).map(shown).collect()
        })
    }

    /// The first `limit` of those that wait.
    #[must_use]
    pub fn queue(&self, limit: usize) -> Vec<QueueEntry> {
        self.store.taken_in(|all| {
            let waiting = all.values().filter(|it| waits(it)).take(limit);
            let entries = (1..).zip(waiting);
            entries
                .map(|(position, it)| entry(position, it.task.clone()))
                .collect()
        })
    }

    /// One of those that wait.
    #[must_use]
    pub fn queued(&self, task: &TaskId) -> Option<QueueEntry> {
        self.store.taken_in(|all| {
            let it = all.get(task).filter(|it| waits(it))?;
            let ahead = all.range(..task).filter(|(_, it)| waits(it)).count();
            Some(entry(ahead + 1, it.task.clone()))
        })
    }

    /// Hands all over, once the store has been read; takes none from then on.
    pub async fn hand_over(&self, core: &CoreHandle) {
        let mut count = 0;
        while !self.store.taken_in(BTreeMap::is_empty) {
            match self.hand_over_each(core, &mut count).await {
                Ok(()) => {}
                Err(NotYet::Stopped) => return,
                Err(NotYet::OutOfReach | NotYet::Again) => sleep(PAUSE).await,
            }
        }
        if count > 0 {
            info!(
                tasks = count,
                "what was accepted before the store was read is in it"
            );
        }
    }

    /// The last to come in are here when this returns.
    pub async fn close(&self) {
        self.store.close_intake().await;
    }

    /// Tries each once, in order, for as long as the store can be asked; an error if some are left.
    async fn hand_over_each(&self, core: &CoreHandle, count: &mut usize) -> Result<(), NotYet> {
        let mut after = Bound::Unbounded;
        let mut outcome = Ok(());
        loop {
            let some = self.store.taken_in(|all| {
                let rest = all.range((after.clone(), Bound::Unbounded));
                rest.take(AT_ONCE)
                    .map(|(_, it)| it.clone())
                    .collect::<Vec<_>>()
            });
            let Some(last) = some.last() else {
                return outcome;
            };
            after = Bound::Excluded(last.task.task.clone());
            let found = join_all(some.iter().map(|it| self.find(&it.task))).await;
            // Each begins with its call to the core, so these come in order.
            let each = some.iter().zip(found);
            let each = each.map(|(it, found)| hand_one_over(core, it, found));
            let mut handed_over = Vec::new();
            for (it, stored_as) in some.iter().zip(join_all(each).await) {
                match stored_as {
                    Ok(id) => handed_over.push((it.task.task.clone(), id)),
                    Err(NotYet::Again) if outcome.is_err() => {}
                    Err(NotYet::Stopped) => return Err(NotYet::Stopped),
                    Err(why) => outcome = Err(why),
                }
            }
            let tasks = handed_over.len();
            match self.let_go(core, handed_over).await {
                Ok(()) => *count += tasks,
                Err(NotYet::Stopped) => return Err(NotYet::Stopped),
                Err(why) => outcome = Err(why),
            }
            if matches!(outcome, Err(NotYet::OutOfReach)) {
                return outcome;
            }
        }
    }

    /// Looks an accepted task up: under its own id, and if another task has that, under those that
    /// follow from it. So one that was handed over is found, whatever was not written down of it.
    async fn find(&self, task: &TaskRecord) -> Result<Found, ReadError> {
        let mut id = task.task.clone();
        let mut number = 1;
        loop {
            match self.store.task(&id).await? {
                Some(known) if is_same(&known, task) => return Ok(Found::There(id)),
                Some(_) => {}
                None => return Ok(Found::Free(id)),
            }
            number += 1;
            id = instead_of(&task.task, number);
        }
    }

    /// Takes tasks out of the journal which are in the store, each under the second id, and passes
    /// on that they were cancelled meanwhile.
    async fn let_go(&self, core: &CoreHandle, tasks: Vec<(TaskId, TaskId)>) -> Result<(), NotYet> {
        if tasks.is_empty() {
            return Ok(());
        }
        let _turn = self.changing_hands.lock().await;
        let cancelled = self.store.taken_in(|all| {
            let is_cancelled = |id| all.get(id).is_some_and(|it: &TakenIn| it.cancelled);
            let cancelled = tasks.iter().filter(|(id, _)| is_cancelled(id));
            cancelled.map(|(_, id)| id.clone()).collect::<Vec<_>>()
        });
        let cancels = cancelled
            .into_iter()
            .map(|task| core.call(|call| Input::Cancel { call, task }));
        for cancel in join_all(cancels).await {
            // One that is over already was cancelled before.
            cancel?;
        }
        let ids = tasks.into_iter().map(|(id, _)| id).collect();
        self.store.handed_over(ids).await.map_err(|error| {
            warn!(%error, "that accepted tasks are in the store can't be written down");
            NotYet::Again
        })
    }
}

/// Gives a task to the core, unless the store has it; under which id it is there.
async fn hand_one_over(
    core: &CoreHandle,
    taken_in: &TakenIn,
    found: Result<Found, ReadError>,
) -> Result<TaskId, NotYet> {
    let accepted_as = &taken_in.task.task;
    let id = match found {
        Ok(Found::There(id)) => return Ok(id),
        Ok(Found::Free(id)) => id,
        Err(error) => {
            warn!(%error, task = %accepted_as, "an accepted task can't be handed over yet");
            return Err(match error {
                ReadError::OutOfReach { .. } => NotYet::OutOfReach,
                _ => NotYet::Again,
            });
        }
    };
    match accept(core, taken_in, &id).await? {
        Answer::Submitted(Ok(submitted)) => {
            if submitted.task != *accepted_as {
                warn!(
                    %accepted_as,
                    now = %submitted.task,
                    "a task was accepted under an id that another one has, and has a new one"
                );
            }
            Ok(submitted.task)
        }
        // The id was taken in between: the store will say by which.
        _ => Err(NotYet::Again),
    }
}

async fn accept(core: &CoreHandle, taken_in: &TakenIn, id: &TaskId) -> Result<Answer, Stopped> {
    let (task, submitted_at) = (id.clone(), taken_in.task.submitted_at);
    let spec = Arc::new(taken_in.task.spec.clone());
    let accept = core.call(move |call| Input::Accepted {
        call,
        task,
        spec,
        submitted_at,
    });
    if !taken_in.cancelled {
        return accept.await;
    }
    // At once, so that it isn't sent to a worker for nothing.
    let task = id.clone();
    let cancel = core.call(|call| Input::Cancel { call, task });
    tokio::join!(accept, cancel).0
}

/// The id of an accepted task where other tasks have those before: the same whoever asks.
fn instead_of(accepted_as: &TaskId, number: u32) -> TaskId {
    let text = format!("{accepted_as}.{number}");
    text.parse()
        .expect("a number behind one of the master's ids makes an id")
}

/// Whether a stored task is the one that was accepted, whatever was changed of it since.
fn is_same(stored: &TaskRecord, accepted: &TaskRecord) -> bool {
    stored.submitted_at == accepted.submitted_at
        && stored.spec.is_same_but_for_changes(&accepted.spec)
}

fn waits(taken_in: &TakenIn) -> bool {
    !taken_in.cancelled
}

fn status(taken_in: &TakenIn) -> TaskStatus {
    match taken_in.cancelled {
        true => TaskStatus::Cancelled,
        false => taken_in.task.state.status,
    }
}

fn shown(taken_in: &TakenIn) -> TaskRecord {
    let mut task = taken_in.task.clone();
    task.state.status = status(taken_in);
    if taken_in.cancelled {
        task.state.phase = Phase::Done;
        task.state.cancel_requested = true;
        "cancelled before it was started".clone_into(&mut task.state.reason);
    }
    task
}

fn entry(position: usize, record: TaskRecord) -> QueueEntry {
    QueueEntry {
        position,
        record,
        why: waiting_for(),
    }
}

fn waiting_for() -> Explanation {
    Explanation {
        outlook: Outlook::Unknown,
        verdicts: Vec::new(),
        limit: None,
        summary: WAITING_FOR.to_owned(),
    }
}
