//! Tasks come in, one by one or several at once: what is wrong with them is said here, and what is not
//! goes to the core.

use std::{collections::BTreeMap, sync::Arc};

use cloudai_core::{Answer, Call, Input, SubmitError, Submitted, Taken, Which};
use cloudai_metrics::SubmitRefused;
use cloudai_model::{
    DraftErrors, FieldError, TaskDraft, TaskId, TaskSpec, TaskStatus, UserName, record::TaskRecord,
};
use cloudai_operator::{MOST_AT_ONCE, NoAnswer, ReadFailure, SubmitFailure, SubmitManyFailure};
use cloudai_store::{TakeInError, TaskQuery};
use tokio::sync::OwnedMutexGuard;

use super::{
    Master, mixed_up, read_failure,
    submit_keys::{KeyFailure, to_its_end},
    waiting::why,
};
use crate::{core_loop::Stopped, intake::TakeError};

impl Master {
    pub(super) async fn take_in(&self, draft: TaskDraft) -> Result<Submitted, SubmitFailure> {
        // What was taken is, whatever is allowed by now.
        let (turn, known) = self.turn_of(&draft).await?;
        if let Some(known) = known.first() {
            return self.as_it_stands(known).await;
        }
        let checked = draft.check_allowed(&self.allowed);
        let (task, spec) = checked.inspect_err(|_| self.refused(SubmitRefused::Invalid))?;
        self.take_spec_in(task, spec, turn).await
    }

    /// The turn of the draft's key, if it has one, and the tasks that were taken under it before.
    async fn turn_of(
        &self,
        draft: &TaskDraft,
    ) -> Result<(Option<OwnedMutexGuard<()>>, Vec<TaskId>), KeyFailure> {
        let user: Option<Result<UserName, _>> = draft.user_id.as_deref().map(str::parse);
        let (Some(key), Some(Ok(user))) = (&draft.submit_key, user) else {
            return Ok((None, Vec::new()));
        };
        let turn = self.submit_keys.turn(&user, key).await;
        let known = self.submitted_under(&user, key).await;
        let known = known.inspect_err(|failure| self.count(failure))?;
        Ok((Some(turn), known))
    }

    /// Takes it in, within this turn.
    async fn take_spec_in(
        &self,
        task: Option<TaskId>,
        spec: TaskSpec,
        mut turn: Option<OwnedMutexGuard<()>>,
    ) -> Result<Submitted, SubmitFailure> {
        if task.is_none()
            && let Some(journaled) = self.unread()
        {
            if let Some(why) = self.room.held_up() {
                self.refused(SubmitRefused::HeldUp);
                return Err(SubmitError::HeldUp(why).into());
            }
            let (intake, wanted) = (journaled.intake.clone(), spec.clone());
            let (taken, back) = to_its_end(turn, async move { intake.take(&wanted).await }).await;
            turn = back;
            match taken {
                Ok(submitted) => return Ok(submitted),
                // It has been read in this moment.
                Err(TakeError::NotKept(TakeInError::Closed)) => {}
                Err(TakeError::QueueFull(waiting)) => {
                    self.refused(SubmitRefused::QueueFull);
                    return Err(SubmitError::QueueFull(waiting).into());
                }
                Err(TakeError::NotKept(error)) => {
                    self.refused(SubmitRefused::Unavailable);
                    return Err(SubmitFailure::NotKept(Box::new(error)));
                }
            }
        }
        let unavailable = || self.refused(SubmitRefused::Unavailable);
        self.store_is_read().inspect_err(|_| unavailable())?;
        if let Some(task) = &task
            && let known = self.store.task(task).await.map_err(read_failure)
            && known.inspect_err(|_| unavailable())?.is_some()
        {
            self.refused(SubmitRefused::IdTaken);
            return Err(SubmitError::IdTaken(task.clone()).into());
        }
        let spec = Arc::new(spec);
        let answer = self
            .call_within(turn, |call| Input::Submit { call, task, spec })
            .await;
        // What the core refuses is counted where it does.
        let answer = answer.inspect_err(|_| unavailable())?;
        let Answer::Submitted(submitted) = answer else {
            mixed_up(&answer)
        };
        Ok(submitted?)
    }

    /// Before the store has been read none is taken: what is accepted then is accepted one by one, and
    /// a crash would leave a part of them.
    pub(super) async fn take_all_in(
        &self,
        drafts: Vec<TaskDraft>,
    ) -> Result<Vec<Taken>, SubmitManyFailure> {
        let mut turn = None;
        if let Some(first) = drafts.first() {
            let known;
            (turn, known) = self.turn_of(first).await?;
            if !known.is_empty() {
                return self.as_they_stand(&known, drafts.len()).await;
            }
        }
        let specs = self.checked(drafts);
        let specs = specs.inspect_err(|_| self.refused(SubmitRefused::Invalid))?;
        let input = move |call| Input::SubmitMany { call, specs };
        let answer = self.call_within(turn, input).await;
        let answer = answer.inspect_err(|_| self.refused(SubmitRefused::Unavailable))?;
        let Answer::SubmittedMany(taken) = answer else {
            mixed_up(&answer)
        };
        Ok(taken?)
    }

    /// Asks the core; the turn lasts until it has answered.
    async fn call_within(
        &self,
        turn: Option<OwnedMutexGuard<()>>,
        input: impl FnOnce(Call) -> Input + Send + 'static,
    ) -> Result<Answer, NoAnswer> {
        self.answers()?;
        let core = self.core.clone();
        let (answer, _) = to_its_end(turn, async move { core.call(input).await }).await;
        answer.map_err(|Stopped| NoAnswer::ShuttingDown)
    }

    /// The specs of several drafts, if nothing is wrong with any.
    fn checked(&self, drafts: Vec<TaskDraft>) -> Result<Vec<Arc<TaskSpec>>, SubmitManyFailure> {
        if !(1..=MOST_AT_ONCE).contains(&drafts.len()) {
            return Err(SubmitManyFailure::Count(drafts.len()));
        }
        let mut specs = Vec::with_capacity(drafts.len());
        let mut wrong = Vec::new();
        for (index, draft) in drafts.into_iter().enumerate() {
            match draft.check_allowed(&self.allowed) {
                Ok((None, spec)) => specs.push(Arc::new(spec)),
                Ok((Some(_), _)) => wrong.push((index, own_id())),
                Err(errors) => wrong.push((index, errors)),
            }
        }
        match wrong.is_empty() {
            true => Ok(specs),
            false => Err(SubmitManyFailure::Drafts(wrong)),
        }
    }

    /// The answer to a submit that was taken before.
    async fn as_it_stands(&self, task: &TaskId) -> Result<Submitted, SubmitFailure> {
        let record = self.store.task(task).await.map_err(read_failure)?;
        let record = record.ok_or_else(|| lost(task))?;
        let mut submitted = Submitted {
            task: task.clone(),
            status: record.state.status,
            worker: record.state.worker.clone(),
            position: 0,
            waiting: None,
        };
        if record.state.status == TaskStatus::Queued {
            let which = Which::One(task.clone());
            let answer = self.call(|call| Input::WhyWaiting { call, which }).await?;
            if let Answer::Waiting(Ok(mut waiting)) = answer
                && let Some(entry) = waiting.pop()
            {
                submitted.position = entry.position;
                submitted.waiting = Some(why(entry.cause, &record));
            }
        }
        Ok(submitted)
    }

    /// The answer to a submit of so many that was taken before.
    async fn as_they_stand(
        &self,
        tasks: &[TaskId],
        of: usize,
    ) -> Result<Vec<Taken>, SubmitManyFailure> {
        let mut records = self.of_one_submit(tasks).await?;
        let mut reasons = self.reasons();
        let mut taken = Vec::with_capacity(tasks.len());
        for task in tasks {
            let Some(record) = records.remove(task) else {
                continue;
            };
            let record = self.brought_up_to_date(record, &mut reasons);
            let waits = record.state.status == TaskStatus::Queued;
            taken.push(Taken {
                task: task.clone(),
                status: record.state.status,
                worker: record.state.worker,
                reason: if waits {
                    record.state.reason
                } else {
                    String::new()
                },
            });
        }
        match taken.len() {
            left if left < of => Err(SubmitManyFailure::Forgotten { left, of }),
            _ => Ok(taken),
        }
    }

    /// The records of tasks that were submitted together, by their places: two looks at the store for
    /// all of them. They are one user's, and nothing of that user's came between them.
    async fn of_one_submit(
        &self,
        tasks: &[TaskId],
    ) -> Result<BTreeMap<TaskId, TaskRecord>, ReadFailure> {
        let Some(last) = tasks.last() else {
            return Ok(BTreeMap::new());
        };
        let last = self.store.task(last).await.map_err(read_failure)?;
        let Some(last) = last else {
            return Ok(BTreeMap::new());
        };
        let query = TaskQuery {
            user: Some(last.spec.user.clone()),
            before: last.order.checked_add(1),
            ..TaskQuery::newest(tasks.len())
        };
        let records = self.store.tasks(&query).await.map_err(read_failure)?;
        let by_id = records
            .into_iter()
            .map(|record| (record.task.clone(), record));
        Ok(by_id.collect())
    }

    fn count(&self, failure: &KeyFailure) {
        self.refused(match failure {
            KeyFailure::Read(_) => SubmitRefused::Unavailable,
            KeyFailure::Reused(_) => SubmitRefused::Invalid,
        });
    }
}

/// It was forgotten between two looks at the store.
fn lost(task: &TaskId) -> ReadFailure {
    ReadFailure(format!("task {task} was forgotten in this moment").into())
}

impl From<KeyFailure> for SubmitFailure {
    fn from(failure: KeyFailure) -> Self {
        match failure {
            KeyFailure::Read(error) => error.into(),
            KeyFailure::Reused(error) => error.into(),
        }
    }
}

impl From<KeyFailure> for SubmitManyFailure {
    fn from(failure: KeyFailure) -> Self {
        match failure {
            KeyFailure::Read(error) => error.into(),
            KeyFailure::Reused(error) => error.into(),
        }
    }
}

/// Whether ids of the caller's own are free is not asked of the store for thousands of tasks.
fn own_id() -> DraftErrors {
    DraftErrors(vec![FieldError {
        field: "task_id",
        message:
            "not taken with several tasks at once: expected none, so that the master makes one"
                .to_owned(),
    }])
}
