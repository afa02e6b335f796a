//! Which transitions of the tables were taken, and which were not.

use std::{collections::BTreeSet, fmt::Debug};

use cloudai_core::lifecycle::{
    ATTEMPT_TRANSITIONS, AttemptEvent as E, AttemptState as S, TASK_TRANSITIONS,
};
use cloudai_model::TaskStatus;
use cloudai_worker_core::{AttemptEvent as WorkerEvent, AttemptState as WorkerState, TRANSITIONS};

use crate::run::Outcome;

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
    /// Those that were not taken.
    pub missing: Vec<String>,
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
            (words(from, event), taken)
        });
        let attempts = ATTEMPT_TRANSITIONS.iter().map(|(from, event, _)| {
            let taken = self.attempts.contains(&(*from, *event));
            (words(from, event), taken)
        });
        let workers = TRANSITIONS.iter().map(|(from, event, _)| {
            let taken = self.workers.contains(&(*from, *event));
            (words(from, event), taken)
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

fn table(table: &'static str, transitions: impl Iterator<Item = (String, bool)>) -> TableCoverage {
    let mut coverage = TableCoverage {
        table,
        all: 0,
        missing: Vec::new(),
    };
    for (words, taken) in transitions {
        coverage.all += 1;
        if !taken {
            coverage.missing.push(words);
        }
    }
    coverage
}
