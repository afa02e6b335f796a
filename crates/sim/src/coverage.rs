//! Which transitions of the tables were taken, and why those that were not can't be.

use std::{collections::BTreeSet, fmt::Debug};

use cloudai_core::lifecycle::{
    ATTEMPT_TRANSITIONS, AttemptEvent as E, AttemptState as S, TASK_TRANSITIONS,
};
use cloudai_model::TaskStatus;
use cloudai_worker_core::{AttemptEvent as WorkerEvent, AttemptState as WorkerState, TRANSITIONS};

use crate::run::Outcome;

/// Transitions of attempts in the master that the simulation can't take, and why.
const OUT_OF_REACH: &[(S, E, &str)] = &[];

/// The same in the worker.
const OUT_OF_REACH_ON_WORKERS: &[(WorkerState, WorkerEvent, &str)] = &[];

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    tasks: BTreeSet<(TaskStatus, TaskStatus)>,
    attempts: BTreeSet<(S, E)>,
    workers: BTreeSet<(WorkerState, WorkerEvent)>,
}

/// How much of one table was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCoverage {
    /// Of what.
    pub table: &'static str,
    /// How many transitions it has.
    pub all: usize,
    /// Those that were not taken and can be.
    pub missing: Vec<String>,
    /// Those that can't be taken here, and why.
    pub out_of_reach: Vec<String>,
}

impl Coverage {
    /// Adds what a run took.
    pub fn add(&mut self, outcome: &Outcome) {
        self.tasks.extend(&outcome.task_transitions);
        self.attempts.extend(&outcome.attempt_transitions);
        self.workers.extend(&outcome.worker_transitions);
    }

    /// How much of each table was taken.
    #[must_use]
    pub fn tables(&self) -> [TableCoverage; 3] {
        let tasks = TASK_TRANSITIONS.iter().map(|(from, event, to)| {
            let taken = self.tasks.contains(&(*from, *to));
            (words(from, event), taken, None)
        });
        let attempts = ATTEMPT_TRANSITIONS.iter().map(|(from, event, _)| {
            let taken = self.attempts.contains(&(*from, *event));
            (
                words(from, event),
                taken,
                reason(OUT_OF_REACH, *from, *event),
            )
        });
        let workers = TRANSITIONS.iter().map(|(from, event, _)| {
            let taken = self.workers.contains(&(*from, *event));
            let reason = reason(OUT_OF_REACH_ON_WORKERS, *from, *event);
            (words(from, event), taken, reason)
        });
        [
            table("tasks", tasks),
            table("attempts in the master", attempts),
            table("attempts on workers", workers),
        ]
    }
}

fn words(from: &impl Debug, event: &impl Debug) -> String {
    format!("{from:?} {event:?}")
}

fn reason<State: PartialEq, Event: PartialEq>(
    known: &[(State, Event, &'static str)],
    from: State,
    event: Event,
) -> Option<&'static str> {
    let found = known
        .iter()
        .find(|(state, on, _)| *state == from && *on == event);
    found.map(|(_, _, why)| *why)
}

fn table(
    table: &'static str,
    transitions: impl Iterator<Item = (String, bool, Option<&'static str>)>,
) -> TableCoverage {
    let mut coverage = TableCoverage {
        table,
        all: 0,
        missing: Vec::new(),
        out_of_reach: Vec::new(),
    };
    for (words, taken, reason) in transitions {
        coverage.all += 1;
        match (taken, reason) {
            (true, _) => {}
            (false, Some(why)) => coverage.out_of_reach.push(format!("{words}: {why}")),
            (false, None) => coverage.missing.push(words),
        }
    }
    coverage
}
