//! Tasks come in, one by one or several at once: what is wrong with them is said here, and what is not
//! goes to the core.

use std::sync::Arc;

use cloudai_core::{Answer, Input, SubmitError, Submitted, Taken};
use cloudai_model::{DraftErrors, FieldError, TaskDraft, TaskSpec};
use cloudai_operator::{MOST_AT_ONCE, SubmitFailure, SubmitManyFailure};
use cloudai_store::TakeInError;

use super::{Master, mixed_up, read_failure};
use crate::intake::TakeError;

impl Master {
    pub(super) async fn take_in(&self, draft: TaskDraft) -> Result<Submitted, SubmitFailure> {
        let (task, spec) = draft.check_allowed(&self.allowed)?;
        if task.is_none()
            && let Some(journaled) = self.unread()
        {
            if let Some(why) = self.room.held_up() {
                return Err(SubmitError::HeldUp(why).into());
            }
            match journaled.intake.take(&spec).await {
                Ok(submitted) => return Ok(submitted),
                // It has been read in this moment.
                Err(TakeError::NotKept(TakeInError::Closed)) => {}
                Err(TakeError::QueueFull(waiting)) => {
                    return Err(SubmitError::QueueFull(waiting).into());
                }
                Err(TakeError::NotKept(error)) => {
                    return Err(SubmitFailure::NotKept(Box::new(error)));
                }
            }
        }
        self.store_is_read()?;
        if let Some(task) = &task
            && self.store.task(task).await.map_err(read_failure)?.is_some()
        {
            return Err(SubmitError::IdTaken(task.clone()).into());
        }
        let spec = Arc::new(spec);
        let answer = self.call(|call| Input::Submit { call, task, spec }).await?;
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
        let specs = self.checked(drafts)?;
        let submit = |call| Input::SubmitMany { call, specs };
        let answer = self.call(submit).await?;
        let Answer::SubmittedMany(taken) = answer else {
            mixed_up(&answer)
        };
        Ok(taken?)
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
