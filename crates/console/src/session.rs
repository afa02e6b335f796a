//! One line in, one answer out.

use std::{future::Future, path::Path, pin::pin, sync::Arc};

use cloudai_core::{CancelOutcome, SubmitError, Submitted};
use cloudai_model::{TaskDraft, TaskId, UserName, WorkerAddress, WorkerId};
use cloudai_operator::{Operator, ReadFailure, SubmitFailure, TaskFilter, with_causes};
use serde::Serialize;

use crate::{
    command::{self, Command},
    help, monitor,
    output::{Answer, Output},
    render::{
        json::{QueueEntryJson, StatusJson, TaskJson, WorkerJson},
        queue, status, tasks,
        text::{counted, safe, size},
        workers,
    },
};

/// What comes after a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The next line.
    Continue,
    /// The end of the program.
    Exit,
}

/// Runs lines and prints their answers.
pub struct Session {
    operator: Arc<dyn Operator>,
    output: Output,
    failures: u64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

/// What was wanted didn't happen, and why, as the operator reads it.
pub(crate) struct Failed(pub(crate) String);

impl Failed {
    /// For `map_err`: `Failed to <do>: <why>`.
    pub(crate) fn to<E: std::error::Error>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self(safe(&format!("Failed to {what}: {}", with_causes(&error))))
    }
}

impl From<ReadFailure> for Failed {
    fn from(error: ReadFailure) -> Self {
        Self(safe(&with_causes(&error)))
    }
}

impl Session {
    /// A session that asks `operator` and prints to `output`.
    #[must_use]
    pub fn new(operator: Arc<dyn Operator>, output: Output) -> Self {
        Self {
            operator,
            output,
            failures: 0,
        }
    }

    /// How many lines were no commands, or failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Runs one line to its end; its answer is written when this returns.
    pub async fn run(&mut self, line: &str) -> Flow {
        self.run_until(line, std::future::pending()).await
    }

    /// Runs one line to its end, or until `interrupt`: then nobody waits for the answer any more.
    pub async fn run_until(&mut self, line: &str, interrupt: impl Future<Output = ()>) -> Flow {
        let command = match command::parse(line, self.operator.now().wall) {
            Ok(None) => return Flow::Continue,
            Ok(Some(Command::Exit)) => return Flow::Exit,
            Ok(Some(command)) => command,
            Err(error) => {
                self.refuse(&safe(&error.to_string())).await;
                return Flow::Continue;
            }
        };
        let left = match &command {
            Command::Monitor(task) => format!("Note: task {task} goes on"),
            _ => {
                "Note: not waiting for the answer; what was asked of the master goes on".to_owned()
            }
        };
        let answer = self.output.answer();
        tokio::select! {
            done = self.execute(command, &answer) => if let Err(Failed(why)) = done {
                self.failures += 1;
                answer.line(format!("❌ {why}")).await;
            },
            () = pin!(interrupt) => answer.line(format!("\n{left}")).await,
        }
        drop(answer);
        self.output.flush().await;
        Flow::Continue
    }

    /// Answers a line that can't be run.
    pub(crate) async fn refuse(&mut self, why: &str) {
        self.failures += 1;
        self.output.answer().line(format!("❌ {why}")).await;
        self.output.flush().await;
    }

    async fn execute(&self, command: Command, answer: &Answer) -> Result<(), Failed> {
        match command {
            Command::Help(None) => answer.text(help::overview()).await,
            Command::Help(Some(topic)) => answer.text(help::details(topic)).await,
            Command::Status { json } => self.status(answer, json).await?,
            Command::Workers { json } => self.workers(answer, json).await?,
            Command::Register { worker, address } => {
                self.register(answer, worker, address).await?;
            }
            Command::Unregister(worker) => self.unregister(answer, &worker).await?,
            Command::Submit(draft) => self.submit(answer, *draft).await?,
            Command::Cancel(task) => self.cancel(answer, &task).await?,
            Command::Monitor(task) => monitor::follow(&*self.operator, answer, &task).await?,
            Command::ListTasks { filter, json } => self.list_tasks(answer, &filter, json).await?,
            Command::Queue { limit, json } => self.queue(answer, limit, json).await?,
            Command::Download { task, user, folder } => {
                self.download(answer, &task, &user, &folder).await?;
            }
            // Ends the program before anything is executed.
            Command::Exit => {}
        }
        Ok(())
    }

    async fn status(&self, answer: &Answer, json: bool) -> Result<(), Failed> {
        let counts = self.operator.counts().await?;
        let (about, snapshot) = (self.operator.about(), self.operator.snapshot());
        if json {
            return as_json(answer, &StatusJson::new(&about, &snapshot, &counts)).await;
        }
        answer
            .text(status::status(&about, &snapshot, &counts))
            .await;
        Ok(())
    }

    async fn workers(&self, answer: &Answer, json: bool) -> Result<(), Failed> {
        let (snapshot, now) = (self.operator.snapshot(), self.operator.now());
        if json {
            let workers = snapshot.workers.values();
            let list: Vec<_> = workers.map(|worker| WorkerJson::new(worker, now)).collect();
            return as_json(answer, &list).await;
        }
        answer.text(workers::workers(&snapshot, now)).await;
        Ok(())
    }

    async fn register(
        &self,
        answer: &Answer,
        worker: WorkerId,
        address: WorkerAddress,
    ) -> Result<(), Failed> {
        let done = self.operator.register(worker, address).await;
        let done = done.map_err(Failed::to("register worker"))?;
        let (worker, address) = (&done.record.worker, &done.record.address);
        let done_before =
            format!("✓ Worker {worker} is registered with address {address} already\n");
        let done_now = format!(
            "✅ Worker {worker} registered with address {address}\n   \
             Note: Worker will send full specs when it connects\n"
        );
        let start = format!(
            "   On that machine: worker-node -id {worker} -master {} -token {}\n",
            done.master_address, done.token
        );
        let what = if done.already { done_before } else { done_now };
        answer.text(what + &start).await;
        Ok(())
    }

    async fn unregister(&self, answer: &Answer, worker: &WorkerId) -> Result<(), Failed> {
        let taken = self.operator.unregister(worker).await;
        let taken = taken.map_err(Failed::to("unregister worker"))?;
        answer
            .line(format!("✅ Worker {worker} unregistered"))
            .await;
        if !taken.is_empty() {
            let tasks = counted(taken.len(), "task");
            let note = format!("   Note: {tasks} of it: stopped there and queued again");
            answer.line(note).await;
        }
        Ok(())
    }

    async fn submit(&self, answer: &Answer, draft: TaskDraft) -> Result<(), Failed> {
        let image = draft.docker_image.clone();
        let submitted = self.operator.submit(draft).await;
        if let Err(SubmitFailure::Refused(SubmitError::UnknownTarget(target))) = &submitted {
            // Perhaps `task <image> <command>` was meant.
            let (worker, image) = (&target.0, safe(&image));
            let hint = format!("   Note: a command stands behind --: task {worker} -- {image}");
            answer.line(hint).await;
        }
        let submitted = submitted.map_err(Failed::to("submit task"))?;
        answer.line(taken(&submitted)).await;
        Ok(())
    }

    async fn cancel(&self, answer: &Answer, task: &TaskId) -> Result<(), Failed> {
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

    async fn list_tasks(
        &self,
        answer: &Answer,
        filter: &TaskFilter,
        json: bool,
    ) -> Result<(), Failed> {
        let records = self.operator.tasks(filter).await?;
        if json {
            let mut list = Vec::with_capacity(records.len());
            for record in &records {
                // What has ended has a result, which says more.
                let ended = record.state.status.is_final();
                let view = match ended {
                    true => self.operator.task(&record.task).await?,
                    false => None,
                };
                let result = view.and_then(|view| view.result);
                list.push(TaskJson::new(record, result.as_ref()));
            }
            return as_json(answer, &list).await;
        }
        if records.is_empty() {
            answer.line("No tasks").await;
            return Ok(());
        }
        let now = self.operator.now().wall;
        answer
            .text(tasks::tasks(&records, now, self.output.style()))
            .await;
        if records.len() == filter.limit {
            let count = filter.limit;
            let note = format!("Note: these are the newest {count}; -limit n shows others");
            answer.line(note).await;
        }
        Ok(())
    }

    async fn queue(&self, answer: &Answer, limit: usize, json: bool) -> Result<(), Failed> {
        let entries = self.operator.queue(limit).await?;
        if json {
            let list: Vec<_> = entries.iter().map(QueueEntryJson::new).collect();
            return as_json(answer, &list).await;
        }
        if entries.is_empty() {
            answer.line("No task waits").await;
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
        Ok(())
    }

    async fn download(
        &self,
        answer: &Answer,
        task: &TaskId,
        user: &UserName,
        folder: &str,
    ) -> Result<(), Failed> {
        let done = self.operator.download(task, user, Path::new(folder)).await;
        let done = done.map_err(Failed::to("download"))?;
        if done.files.is_empty() {
            answer.line(format!("✓ Task {task} left no files")).await;
            return Ok(());
        }
        let mut text = String::new();
        for file in &done.files {
            text.push_str(&format!("{:>10}  {}\n", size(file.size), safe(&file.path)));
        }
        let summary = &done.summary;
        let there = match summary.unchanged {
            0 => String::new(),
            count => format!(", {count} there already"),
        };
        text.push_str(&format!(
            "✓ {} to {} ({}{there})\n",
            counted(summary.copied, "file"),
            safe(folder),
            size(summary.copied_bytes)
        ));
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

/// One line of JSON.
async fn as_json(answer: &Answer, value: &impl Serialize) -> Result<(), Failed> {
    let text = serde_json::to_string(value).map_err(Failed::to("write JSON"))?;
    answer.line(text).await;
    Ok(())
}

#[cfg(test)]
mod tests;
