//! Submits while the store has not been read yet, because its database is out of reach: each gets an
//! id at once and is flushed to the journal. When the store has been read they become tasks like any
//! other, under these ids and in this order.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cloudai_core::{
    Answer, Input, Submitted,
    explain::{Explanation, Outlook},
};
use cloudai_model::{
    Phase, TaskId, TaskSpec, TaskStatus, Wall,
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

/// Tasks that are handed over at once.
const AT_ONCE: usize = 256;
/// The pause after the store could not be asked.
const PAUSE: Duration = Duration::from_secs(1);
/// What such a task waits for.
const WAITING_FOR: &str = "the store has not been read yet: its database is out of reach";

/// See the module.
pub struct Intake {
    store: Arc<JournaledStore>,
    last_number: Mutex<u64>,
    /// Held while a task is cancelled, and while one changes hands: a cancel meets it here or there.
    changing_hands: tokio::sync::Mutex<()>,
}

/// What becomes of a task that is handed over.
enum HandOver {
    /// The store has it.
    Done,
    /// To be tried again.
    Again,
    /// The master is shutting down.
    Stopped,
}

impl Intake {
    /// The one before this store.
    #[must_use]
    pub fn new(store: Arc<JournaledStore>) -> Self {
        Self {
            last_number: Mutex::new(store.highest_taken_in().unwrap_or(0)),
            store,
            changing_hands: tokio::sync::Mutex::default(),
        }
    }

    /// Keeps a task until the store has been read.
    ///
    /// # Errors
    /// See [`TakeInError`].
    pub async fn take(&self, spec: &TaskSpec) -> Result<Submitted, TakeInError> {
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
        self.store.one_taken_in(task).map(shown)
    }

    /// All that are still here, the newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<TaskRecord> {
        let taken_in = self.store.taken_in().into_iter();
        taken_in.rev().map(shown).collect()
    }

    /// The first `limit` of those that wait.
    #[must_use]
    pub fn queue(&self, limit: usize) -> Vec<QueueEntry> {
        let waiting = self.store.taken_in().into_iter().filter(waits);
        (1..)
            .zip(waiting.take(limit))
            .map(|(position, it)| entry(position, it.task))
            .collect()
    }

    /// One of those that wait.
    #[must_use]
    pub fn queued(&self, task: &TaskId) -> Option<QueueEntry> {
        let mut waiting = self.queue(usize::MAX).into_iter();
        waiting.find(|entry| entry.record.task == *task)
    }

    /// Hands all over, once the store has been read; takes none from then on.
    pub async fn hand_over(&self, core: &CoreHandle) {
        let mut count = 0;
        loop {
            let taken_in = self.store.taken_in();
            if taken_in.is_empty() {
                if count > 0 {
                    info!(
                        tasks = count,
                        "what was accepted before the store was read is in it"
                    );
                }
                return;
            }
            for some in taken_in.chunks(AT_ONCE) {
                let stored = some.iter().map(|it| self.store.task(&it.task.task));
                let stored = join_all(stored).await;
                // Each begins with its call to the core, so these come in order.
                let each = some.iter().zip(stored);
                let each = each.map(|(it, stored)| self.hand_one_over(core, it, stored));
                let outcomes = join_all(each).await;
                for outcome in outcomes {
                    match outcome {
                        HandOver::Done => count += 1,
                        HandOver::Again => sleep(PAUSE).await,
                        HandOver::Stopped => return,
                    }
                }
            }
        }
    }

    /// The last to come in are here when this returns.
    pub async fn close(&self) {
        self.store.close_intake().await;
    }

    /// `stored` is what the store has under its id.
    async fn hand_one_over(
        &self,
        core: &CoreHandle,
        taken_in: &TakenIn,
        stored: Result<Option<TaskRecord>, ReadError>,
    ) -> HandOver {
        let task = &taken_in.task;
        let id = match stored {
            // Handed over before a crash that came before this was written down.
            Ok(Some(known)) if is_same(&known, task) => task.task.clone(),
            Ok(Some(_)) => {
                let Ok(answer) = submit_anew(core, task).await else {
                    return HandOver::Stopped;
                };
                let Answer::Submitted(Ok(submitted)) = answer else {
                    return HandOver::Again;
                };
                warn!(
                    accepted_as = %task.task,
                    now = %submitted.task,
                    "a task was accepted under an id that another one has, and has a new one"
                );
                submitted.task
            }
            Ok(None) => match accept(core, taken_in).await {
                Ok(Answer::Submitted(Ok(submitted))) => submitted.task,
                // It came in between: the store will say which it is.
                Ok(_) => return HandOver::Again,
                Err(Stopped) => return HandOver::Stopped,
            },
            Err(error) => {
                warn!(%error, task = %task.task, "an accepted task can't be handed over yet");
                return HandOver::Again;
            }
        };
        let _turn = self.changing_hands.lock().await;
        let cancelled = self.store.one_taken_in(&task.task);
        if cancelled.is_some_and(|it| it.cancelled) {
            let cancel = core.call(|call| Input::Cancel { call, task: id });
            if cancel.await.is_err() {
                return HandOver::Stopped;
            }
        }
        if let Err(error) = self.store.handed_over(&task.task).await {
            warn!(%error, task = %task.task, "that a task is in the store can't be written down");
            return HandOver::Again;
        }
        HandOver::Done
    }
}

async fn accept(core: &CoreHandle, taken_in: &TakenIn) -> Result<Answer, Stopped> {
    let (task, submitted_at) = (taken_in.task.task.clone(), taken_in.task.submitted_at);
    let spec = Arc::new(taken_in.task.spec.clone());
    let id = task.clone();
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
    let cancel = core.call(|call| Input::Cancel { call, task: id });
    tokio::join!(accept, cancel).0
}

async fn submit_anew(core: &CoreHandle, task: &TaskRecord) -> Result<Answer, Stopped> {
    let spec = Arc::new(task.spec.clone());
    let submit = move |call| Input::Submit {
        call,
        task: None,
        spec,
    };
    core.call(submit).await
}

/// Whether a stored task is the one that was accepted.
fn is_same(stored: &TaskRecord, accepted: &TaskRecord) -> bool {
    stored.submitted_at == accepted.submitted_at && stored.spec == accepted.spec
}

fn waits(taken_in: &TakenIn) -> bool {
    !taken_in.cancelled
}

fn shown(taken_in: TakenIn) -> TaskRecord {
    let mut task = taken_in.task;
    if taken_in.cancelled {
        task.state.status = TaskStatus::Cancelled;
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
        summary: WAITING_FOR.to_owned(),
    }
}
