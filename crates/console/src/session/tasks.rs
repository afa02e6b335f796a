//! Commands about tasks.

use std::time::Duration;

use cloudai_api::{QueueEntry, Standing, Task};
use cloudai_core::{CancelOutcome, ChangeOutcome, SubmitError, Submitted};
use cloudai_model::{ChangeDraft, Setting, TaskDraft, TaskId, WorkerId, time::span_words};
use cloudai_operator::{SubmitFailure, TaskFilter};

use super::{Failed, Session, as_json};
use crate::{
    monitor,
    output::Answer,
    render::{explain, queue, tasks, text::safe},
};

impl Session {
    pub(super) async fn submit(&self, answer: &Answer, draft: TaskDraft) -> Result<(), Failed> {
        let image = draft.docker_image.clone();
        let snapshot = self.operator.snapshot();
        let is_worker = |id: &WorkerId| id.as_str() == image;
        if draft.worker_id.is_none() && snapshot.workers.keys().any(is_worker) {
            // No registry is asked for what was meant as a place.
            return Err(Failed(format!(
                "Failed to submit task: an image is missing: {image} is a worker: expected \
                 `task {image} <image>`, or {image}:latest for an image of that name"
            )));
        }
        let submitted = self.operator.submit(draft).await;
        if let Err(SubmitFailure::Refused(SubmitError::UnknownTarget(target))) = &submitted {
            // Perhaps `task <image> <command>` was meant.
            let (worker, image) = (&target.0, safe(&image));
            let hint = format!("   Note: a command stands behind --: task {worker} -- {image}");
            answer.line(hint).await;
        }
        let submitted = submitted.map_err(Failed::to("submit task"))?;
        answer.line(taken(&submitted)).await;
        if let Some(away) = self.operator.degraded() {
            let note = format!("   Degraded: {away}; the task is kept in a journal");
            answer.line(safe(&note)).await;
        }
        Ok(())
    }

    /// Says that a list lacks what lies only in a store that is out of reach.
    async fn tell_what_lacks(&self, answer: &Answer) {
        if let Some(away) = self.operator.degraded() {
            let note = format!("Note: {away}: what lies only there is not shown");
            answer.line(safe(&note)).await;
        }
    }

    pub(super) async fn cancel(&self, answer: &Answer, task: &TaskId) -> Result<(), Failed> {
        let outcome = self.operator.cancel(task).await;
        let text = match outcome.map_err(Failed::to("cancel task"))? {
            CancelOutcome::Cancelled => format!("✓ Task {task} cancelled"),
            CancelOutcome::Stopping(worker) => {
                format!("✓ Task {task} is being stopped on {worker}")
            }
            CancelOutcome::AlreadyEnded => {
                format!("✓ Task {task} has just ended by itself: that result stands")
            }
        };
        answer.line(text).await;
        Ok(())
    }

    pub(super) async fn hold(
        &self,
        answer: &Answer,
        task: &TaskId,
        hold: bool,
    ) -> Result<(), Failed> {
        let change = ChangeDraft {
            hold: Setting::To(hold),
            ..ChangeDraft::default()
        };
        let what = if hold { "hold task" } else { "release task" };
        let outcome = self.operator.change(task, change).await;
        outcome.map_err(Failed::to(what))?;
        answer
            .line(match hold {
                true => format!("✓ Task {task} is on hold: `release {task}` lets it go"),
                false => format!("✓ Task {task} is not on hold"),
            })
            .await;
        Ok(())
    }

    pub(super) async fn change(
        &self,
        answer: &Answer,
        task: &TaskId,
        change: ChangeDraft,
    ) -> Result<(), Failed> {
        let now = match change.timeout_s {
            Setting::Keep => String::new(),
            Setting::Clear => ": it may run as long as it will".to_owned(),
            Setting::To(seconds) => Duration::try_from_secs_f64(seconds)
                .map(|span| format!(": it may run for {}", span_words(span)))
                .unwrap_or_default(),
        };
        let outcome = self.operator.change(task, change).await;
        let text = match outcome.map_err(Failed::to("change task"))? {
            ChangeOutcome::Kept => format!("✓ Task {task} changed{now}"),
            ChangeOutcome::EndsNow(worker) => {
                format!("✓ Task {task} changed{now}, and is being stopped on {worker}")
            }
        };
        answer.line(text).await;
        Ok(())
    }

    pub(super) async fn list_tasks(
        &self,
        answer: &Answer,
        filter: &TaskFilter,
        json: bool,
    ) -> Result<(), Failed> {
        let records = self.operator.tasks(filter).await?;
        if json {
            let mut list = Vec::with_capacity(records.len());
            for record in &records {
                // What its result adds is read for tasks that have one.
                let view = match record.state.status.is_final() {
                    true => self.operator.task(&record.task).await?,
                    false => None,
                };
                let (result, removed) = view
                    .map(|view| (view.result, view.removed))
                    .unwrap_or_default();
                list.push(Task::new(record, result.as_ref()).with_removed(&removed));
            }
            return as_json(answer, &list).await;
        }
        if records.is_empty() {
            answer.line("No tasks").await;
            self.tell_what_lacks(answer).await;
            return Ok(());
        }
        let now = self.operator.now().wall;
        answer
            .text(tasks::tasks(&records, now, self.output.style()))
            .await;
        if records.len() == filter.limit {
            let count = filter.limit;
            let newest = match count {
                1 => "the newest task alone".to_owned(),
                count => format!("the newest {count} tasks"),
            };
            let note = format!("Note: {newest}; -limit n shows others");
            answer.line(note).await;
        }
        self.tell_what_lacks(answer).await;
        Ok(())
    }

    pub(super) async fn queue(
        &self,
        answer: &Answer,
        limit: usize,
        json: bool,
    ) -> Result<(), Failed> {
        let entries = self.operator.queue(limit).await?;
        if json {
            let list: Vec<_> = entries.iter().map(QueueEntry::from).collect();
            return as_json(answer, &list).await;
        }
        if entries.is_empty() {
            answer.line("No task waits").await;
            self.tell_what_lacks(answer).await;
            return Ok(());
        }
        let now = self.operator.now().wall;
        answer
            .text(queue::queue(&entries, now, self.output.style()))
            .await;
        let waiting = self.operator.snapshot().waiting;
        if waiting > entries.len() {
            let shown = entries.len();
            let note = format!("Note: {shown} of {waiting}; -limit n shows others");
            answer.line(note).await;
        }
        self.tell_what_lacks(answer).await;
        Ok(())
    }

    pub(super) async fn monitor(&self, answer: &Answer, task: &TaskId) -> Result<(), Failed> {
        // It may take for hours what another command takes for moments.
        answer.lets_news_in();
        monitor::follow(&*self.operator, answer, task).await
    }

    pub(super) async fn explain(
        &self,
        answer: &Answer,
        task: &TaskId,
        json: bool,
    ) -> Result<(), Failed> {
        let standing = self.operator.explain(task).await;
        let standing = standing.map_err(Failed::to("explain"))?;
        if json {
            return as_json(answer, &Standing::from(&standing)).await;
        }
        let (now, waiting) = (self.operator.now().wall, self.operator.snapshot().waiting);
        let text = explain::explain(&standing, waiting, now, self.output.style());
        answer.text(text).await;
        Ok(())
    }
}

/// The answer to a submit.
fn taken(submitted: &Submitted) -> String {
    let Submitted { task, status, .. } = submitted;
    if let Some(worker) = &submitted.worker {
        return format!("✓ Task {task} submitted: {status} on {worker}");
    }
    let waiting = submitted.waiting.as_ref().map(|why| safe(&why.summary));
    let waiting = waiting.map_or_else(String::new, |why| format!(" (waiting: {why})"));
    let position = submitted.position;
    format!("✓ Task {task} submitted: {status}, position {position}{waiting}")
}
