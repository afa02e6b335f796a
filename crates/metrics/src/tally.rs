//! Counts what the core decides: its records, assignments and answers, each exactly once.
//!
//! Of tasks that wait nothing is held here. Of those that a worker has it is known what their records
//! said last, which tells a retry from a first try and a first start from a later one.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cloudai_core::{Answer, AssignAnswer, Effect, Event, Input, WorkerChange, registry::Registry};
use cloudai_model::{
    Mono, TaskId, TaskStatus, Wall,
    record::{Record, ResultRecord, TaskRecord, TaskState},
};

use crate::{
    history::{Figures, History},
    metrics::{AssignmentRefused, Metrics, SubmitRefused},
};

/// What an agent's choice of a worker is counted under, beside the policies.
const AGENT: &str = "agent";

/// A task that a worker has.
#[derive(Debug)]
struct Given {
    status: TaskStatus,
    failures: u32,
    /// `None` between the record of the assignment and the assignment itself.
    submitted_at: Option<Wall>,
    /// Whether its first start was counted.
    has_started: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Tally {
    metrics: Metrics,
    history: Arc<History>,
    /// The policy that chooses.
    policy: &'static str,
    given: HashMap<TaskId, Given>,
}

impl Tally {
    /// Counts into these; `policy` is the one that chooses.
    #[must_use]
    pub fn new(metrics: Metrics, history: Arc<History>, policy: &'static str) -> Self {
        for status in [TaskStatus::Queued, TaskStatus::Pending, TaskStatus::Running] {
            metrics.tasks.with_label_values(&[status.as_str()]);
        }
        for status in TaskStatus::ALL.iter().filter(|status| status.is_final()) {
            metrics.ended.with_label_values(&[status.as_str()]);
            metrics.run.with_label_values(&[status.as_str()]);
        }
        for by in [policy, AGENT] {
            metrics.placements.with_label_values(&[by]);
        }
        for cause in ["failure", "machine"] {
            metrics.retries.with_label_values(&[cause]);
        }
        for result in ["taken", "refused"] {
            metrics.heartbeats.with_label_values(&[result]);
        }
        Self {
            metrics,
            history,
            policy,
            given: HashMap::new(),
        }
    }

    /// The core is about to take this in.
    pub fn takes(&mut self, input: &Input) {
        match input {
            Input::Restore(record) => {
                if let Record::TaskAdded(task) = &**record {
                    self.added(task);
                }
            }
            Input::AssignAnswered { answer, .. } => {
                let refused = match answer {
                    AssignAnswer::Accepted => return,
                    AssignAnswer::Refused(_) => AssignmentRefused::Refused,
                    AssignAnswer::NotSent(_) => AssignmentRefused::NotSent,
                    AssignAnswer::Undelivered(_) => AssignmentRefused::Undelivered,
                };
                self.metrics.assignment_refused(refused);
            }
            _ => {}
        }
    }

    /// The core has decided this, and its workers stand so.
    pub fn decided(&mut self, now: Mono, registry: &Registry, effects: &[Effect]) {
        let by_agent = effects.iter().find_map(|effect| match effect {
            Effect::Answer(_, Answer::Placed(placed)) => placed.as_ref().ok(),
            _ => None,
        });
        for effect in effects {
            match effect {
                Effect::Write(Record::TaskAdded(task)) => {
                    self.metrics.submitted.inc();
                    self.added(task);
                }
                Effect::Write(Record::TaskChanged(task, state)) => self.changed(task, state),
                Effect::Write(Record::Assignment(record)) if record.ended.is_none() => {
                    let is_agents = by_agent == Some(&record.attempt);
                    let by = if is_agents { AGENT } else { self.policy };
                    self.metrics.placements.with_label_values(&[by]).inc();
                }
                Effect::Write(Record::Result(result)) => self.ended(result),
                Effect::Assign(assignment) => {
                    if let Some(given) = self.given.get_mut(&assignment.attempt.task) {
                        given.submitted_at = Some(assignment.submitted_at);
                    }
                }
                Effect::Answer(_, Answer::Submitted(Err(error))) => {
                    self.metrics.submit_refused(SubmitRefused::by(error));
                }
                Effect::Answer(_, Answer::SubmittedMany(Err(error))) => {
                    self.metrics.submit_refused(SubmitRefused::by_many(error));
                }
                Effect::Answer(_, Answer::HeartbeatTaken(taken)) => {
                    let result = if taken.is_ok() { "taken" } else { "refused" };
                    self.metrics.heartbeats.with_label_values(&[result]).inc();
                }
                Effect::Publish(Event::WorkerUpdated { worker, change }) => {
                    if *change == WorkerChange::Heartbeat
                        && let Some(known) = registry.get(worker)
                    {
                        let figures = Figures::of(&known.usage, known.attempts.len());
                        self.history.take(worker, now, figures);
                    }
                }
                Effect::Publish(Event::WorkerRemoved(worker)) => self.history.forget(worker),
                _ => {}
            }
        }
    }

    /// A task is there, and may be with a worker already.
    fn added(&mut self, task: &TaskRecord) {
        let state = &task.state;
        self.count(state.status, 1);
        if matches!(state.status, TaskStatus::Pending | TaskStatus::Running) {
            let given = Given {
                status: state.status,
                failures: state.failures,
                submitted_at: Some(task.submitted_at),
                has_started: state.first_started_at.is_some(),
            };
            self.given.insert(task.task.clone(), given);
        }
    }

    /// A task's state was written anew.
    fn changed(&mut self, task: &TaskId, state: &TaskState) {
        use TaskStatus::{Cancelled, Completed, Failed, Pending, Queued, Running};
        let Some(given) = self.given.get_mut(task) else {
            // It waited until now.
            match state.status {
                Queued => {}
                Pending | Running => {
                    let given = Given {
                        status: state.status,
                        failures: state.failures,
                        submitted_at: None,
                        has_started: state.first_started_at.is_some(),
                    };
                    self.given.insert(task.clone(), given);
                    self.count(Queued, -1);
                    self.count(state.status, 1);
                }
                Completed | Failed | Cancelled => self.count(Queued, -1),
            }
            return;
        };
        if let (false, Some(started), Some(submitted)) = (
            given.has_started,
            state.first_started_at,
            given.submitted_at,
        ) {
            given.has_started = true;
            // The start is of its worker's clock, which may be behind this one.
            let wait = started.since(submitted);
            self.metrics.wait.observe(wait.as_secs_f64());
        }
        let before = std::mem::replace(&mut given.status, state.status);
        let failed = state.failures > given.failures;
        match state.status {
            Pending | Running => {}
            Queued => {
                let cause = if failed { "failure" } else { "machine" };
                self.metrics.retries.with_label_values(&[cause]).inc();
                self.given.remove(task);
            }
            Completed | Failed | Cancelled => {
                self.given.remove(task);
            }
        }
        self.count(before, -1);
        self.count(state.status, 1);
    }

    /// A task has its result.
    fn ended(&self, result: &ResultRecord) {
        let status = result.status.as_str();
        self.metrics.ended.with_label_values(&[status]).inc();
        let end = result.end.as_ref();
        if let Some((end, started)) = end.and_then(|end| Some((end, end.started_at?))) {
            let ran: Duration = end.finished_at.since(started);
            let run = self.metrics.run.with_label_values(&[status]);
            run.observe(ran.as_secs_f64());
        }
    }

    fn count(&self, status: TaskStatus, by: i64) {
        if !status.is_final() {
            self.metrics
                .tasks
                .with_label_values(&[status.as_str()])
                .add(by);
        }
    }
}

#[cfg(test)]
mod tests;
