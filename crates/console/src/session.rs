//! One line in, one answer out.

mod accounts;
mod cluster;
mod files;
mod tasks;
mod workers;

use std::{future::Future, pin::pin, sync::Arc};

use cloudai_accounts::Accounts;
use cloudai_operator::{Operator, ReadFailure, with_causes};
use serde::Serialize;
use tokio::sync::watch;

use crate::{
    command::{self, Command},
    help,
    output::{Answer, Output},
    render::text::safe,
};

/// What comes after a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next line.
    Continue,
    /// The end of the program.
    Exit,
}

/// What a person does to leave a command before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Ctrl-C.
    Interrupt,
    /// Any key at all.
    AnyKey,
}

/// Runs lines and prints their answers.
pub struct Session {
    operator: Arc<dyn Operator>,
    /// Users, once they are known.
    accounts: Option<watch::Receiver<Option<Accounts>>>,
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
            accounts: None,
            output,
            failures: 0,
        }
    }

    /// The same session, which looks after users, too.
    #[must_use]
    pub fn with_accounts(self, accounts: watch::Receiver<Option<Accounts>>) -> Self {
        Self {
            accounts: Some(accounts),
            ..self
        }
    }

    /// Who is asked.
    #[must_use]
    pub(crate) fn operator(&self) -> Arc<dyn Operator> {
        Arc::clone(&self.operator)
    }

    /// How many lines were no commands, or failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Runs one line to its end; its answer is written when this returns.
    pub(crate) async fn run(&mut self, line: &str) -> Flow {
        self.run_until(line, |_| std::future::pending()).await
    }

    /// Runs one line to its end, or until `left` is ready: then nobody waits for the answer any
    /// more. It is told what is waited for.
    pub(crate) async fn run_until<F>(&mut self, line: &str, left: impl FnOnce(Leaving) -> F) -> Flow
    where
        F: Future<Output = ()>,
    {
        let command = match command::parse(line, self.operator.now().wall) {
            Ok(None) => return Flow::Continue,
            Ok(Some(Command::Exit)) => return Flow::Exit,
            Ok(Some(command)) => command,
            Err(error) => {
                self.refuse(&safe(&error.to_string())).await;
                return Flow::Continue;
            }
        };
        let (leaving, note) = match &command {
            Command::Watch => (Leaving::AnyKey, None),
            Command::Monitor(task) => (Leaving::AnyKey, Some(format!("Note: task {task} goes on"))),
            _ => {
                let note = "Note: not waiting for the answer; what was asked of the master goes on";
                // The terminal has shown ^C.
                (Leaving::Interrupt, Some(format!("\n{note}")))
            }
        };
        let answer = self.output.answer();
        tokio::select! {
            done = self.execute(command, &answer) => if let Err(Failed(why)) = done {
                self.failures += 1;
                answer.fresh_row();
                // It may name a file, and its name may hold anything.
                answer.line(format!("❌ {}", safe(&why))).await;
            },
            () = pin!(left(leaving)) => if let Some(note) = note {
                answer.calm();
                answer.fresh_row();
                answer.line(note).await;
            },
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
            Command::Watch => self.watch(answer).await?,
            Command::Workers { json } => self.workers(answer, json).await?,
            Command::Stats { worker, json } => self.stats(answer, &worker, json).await?,
            Command::Register { worker, address } => {
                self.register(answer, worker, address).await?;
            }
            Command::Unregister(worker) => self.unregister(answer, &worker).await?,
            Command::Drain { worker, draining } => self.drain(answer, &worker, draining).await?,
            Command::Submit(draft) => self.submit(answer, *draft).await?,
            Command::Cancel(task) => self.cancel(answer, &task).await?,
            Command::Change { task, change } => self.change(answer, &task, change).await?,
            Command::Hold { task, hold } => self.hold(answer, &task, hold).await?,
            Command::Monitor(task) => self.monitor(answer, &task).await?,
            Command::ListTasks { filter, json } => self.list_tasks(answer, &filter, json).await?,
            Command::Queue { limit, json } => self.queue(answer, limit, json).await?,
            Command::Explain { task, json } => self.explain(answer, &task, json).await?,
            Command::Files { user, limit, json } => {
                self.files(answer, &user, limit, json).await?;
            }
            Command::TaskFiles { task, user, json } => {
                self.task_files(answer, &task, &user, json).await?;
            }
            Command::InternalState { json } => self.internal_state(answer, json).await?,
            Command::FixResources => self.fix_resources(answer).await?,
            Command::Download { task, user, folder } => {
                self.download(answer, &task, &user, &folder).await?;
            }
            Command::Users { limit, json } => self.users(answer, limit, json).await?,
            Command::ResetPassword(user) => self.reset_password(answer, &user).await?,
            Command::SetRole { user, role } => self.set_role(answer, &user, role).await?,
            // Ends the program before anything is executed.
            Command::Exit => {}
        }
        Ok(())
    }
}

/// One line of JSON.
async fn as_json(answer: &Answer, value: &impl Serialize) -> Result<(), Failed> {
    let text = serde_json::to_string(value).map_err(Failed::to("write JSON"))?;
    answer.line(text).await;
    Ok(())
}

#[cfg(test)]
mod tests;
