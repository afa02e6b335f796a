//! What many runs came to, for people.

use std::{collections::BTreeMap, fmt};

use cloudai_model::TaskStatus;

use crate::{coverage::Coverage, plan::FaultKind, run::Outcome, world::Finding};

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// Steps that cores took.
    pub steps: u64,
    /// Time that passed in them.
    pub simulated_ms: u64,
    /// How often each fault began.
    pub faults: BTreeMap<FaultKind, u64>,
    /// How often each changed what happened.
    pub bites: BTreeMap<FaultKind, u64>,
    /// The longest that anything took to come to rest, and at which seed.
    pub longest_rest: (u64, u64),
    /// Messages lost, doubled and delivered.
    pub messages: [u64; 3],
    /// How tasks ended.
    pub ends: BTreeMap<TaskStatus, u64>,
    /// Transitions taken.
    pub coverage: Coverage,
    /// What was found amiss, by seed.
    pub findings: BTreeMap<u64, Finding>,
}

impl Summary {
    /// Adds what came of a seed.
    pub fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        self.simulated_ms += outcome.simulated_ms;
        self.coverage.add(&outcome);
        for (kind, count) in outcome.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (kind, count) in outcome.bites {
            *self.bites.entry(kind).or_default() += count;
        }
        self.longest_rest = self.longest_rest.max((outcome.rested_ms, seed));
        for (sum, count) in self.messages.iter_mut().zip(outcome.messages) {
            *sum += count;
        }
        for (status, count) in outcome.ends {
            *self.ends.entry(status).or_default() += count;
        }
        if let Some(finding) = outcome.finding {
            self.findings.insert(seed, finding);
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, milli) = (self.at_ms / 1000, self.at_ms % 1000);
        write!(
            f,
            "step {} at {seconds}.{milli:03} s: {}",
            self.step, self.violation
        )
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.simulated_ms as f64 / 3_600_000.0;
        let [lost, doubled, delivered] = self.messages;
        writeln!(
            f,
            "{} seeds, {} steps, {hours:.1} simulated hours",
            self.seeds, self.steps
        )?;
        writeln!(
            f,
            "messages: {delivered} delivered, {lost} lost, {doubled} doubled"
        )?;
        let counted = |counts: Vec<String>| counts.join(", ");
        let ends = self.ends.iter().map(|(status, n)| format!("{n} {status}"));
        writeln!(f, "tasks: {}", counted(ends.collect()))?;
        let faults = self.faults.iter().map(|(kind, n)| {
            let bites = self.bites.get(kind).copied().unwrap_or(0);
            format!("{n} {kind} ({bites})")
        });
        let faults = counted(faults.collect());
        writeln!(f, "faults (and what they changed): {faults}")?;
        let (rest_ms, seed) = self.longest_rest;
        writeln!(f, "longest way to rest: {} s, seed {seed}", rest_ms / 1000)?;
        for table in self.coverage.tables() {
            let taken = table.all - table.missing.len();
            writeln!(
                f,
                "transitions of {}: {taken} of {} taken",
                table.table, table.all
            )?;
            for missing in table.missing {
                writeln!(f, "    not taken: {missing}")?;
            }
        }
        match self.findings.len() {
            0 => write!(f, "nothing amiss"),
            amiss => write!(f, "{amiss} seeds found something amiss"),
        }
    }
}
