//! What a run was, in figures, and every broken promise with what led to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    Settings, Store,
    audit::{Compared, Left, Violation},
    chronicle::Chronicle,
    listed::Listed,
    plan::{Fault, Planned, counts},
    witness::Runs,
    workload::{Answer, Order},
};

/// See the module.
#[derive(Debug)]
pub struct Report {
    store: Store,
    seed: u64,
    replay: String,
    /// The faults that happened.
    pub faults: Vec<Planned>,
    /// Those of the plan that had no effect, and why.
    pub without_effect: Vec<String>,
    /// How long they went on.
    pub faults_lasted_s: f64,
    /// How long it took afterwards until all was at rest.
    pub rest_took_s: f64,
    /// How long all of it took.
    pub took_s: f64,
    /// Submits by answer.
    answers: BTreeMap<&'static str, usize>,
    /// Submits without an answer that are there.
    found_later: usize,
    /// Tasks by status.
    ends: BTreeMap<String, usize>,
    attempts: u32,
    containers: usize,
    most_attempts: u32,
    retries: u32,
    /// Tasks of which the whole log and all files were compared.
    whole: usize,
    /// And of which anything was.
    looked_at: usize,
    /// What tasks said of what they lack, and how many did.
    incomplete: BTreeMap<String, usize>,
    /// The first of each task with its timeline.
    violations: Vec<(Violation, Vec<String>)>,
}

impl Report {
    /// An empty one.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            store: settings.store,
            seed: settings.seed,
            replay: settings.replay(),
            faults: Vec::new(),
            without_effect: Vec::new(),
            faults_lasted_s: 0.0,
            rest_took_s: 0.0,
            took_s: 0.0,
            answers: BTreeMap::new(),
            found_later: 0,
            ends: BTreeMap::new(),
            attempts: 0,
            containers: 0,
            most_attempts: 0,
            retries: 0,
            whole: 0,
            looked_at: 0,
            incomplete: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    /// Takes in what became of the tasks.
    pub fn tasks(
        &mut self,
        orders: &[Order],
        listed: &[Listed],
        left: &BTreeMap<String, Left>,
        runs: &Runs,
    ) {
        for order in orders {
            let answer = match &order.answer {
                Answer::Accepted(_) => "accepted",
                Answer::Refused(_) => "refused",
                Answer::None => "without an answer",
                Answer::Wrong(_) => "answered wrongly",
            };
            *self.answers.entry(answer).or_default() += 1;
            let is_there = || listed.iter().any(|task| task.name == order.name);
            self.found_later += usize::from(order.answer == Answer::None && is_there());
        }
        for task in listed {
            *self.ends.entry(task.status.clone()).or_default() += 1;
            self.attempts += task.attempt;
            self.most_attempts = self.most_attempts.max(task.attempt);
            self.retries += task.retries_used;
            for (what, complete, reason) in [
                ("log", task.log_complete, &task.log_reason),
                ("files", task.files_complete, &task.files_reason),
            ] {
                if complete == Some(false) && task.status == "completed" {
                    let said = format!("{what}: {reason}");
                    *self.incomplete.entry(said).or_default() += 1;
                }
            }
        }
        let is_whole = |it: &&Left| it.log == Compared::Whole && it.files == Compared::Whole;
        self.looked_at = left.len();
        self.whole = left.values().filter(is_whole).count();
        self.containers = runs.values().map(|run| run.starts).sum();
    }

    /// Takes in what was found wrong.
    pub fn violations(&mut self, found: Vec<Violation>, chronicle: &Chronicle) {
        let mut told = BTreeSet::new();
        for violation in found {
            // Once for each task.
            let task = violation.task.clone();
            let task = task.filter(|task| told.insert(task.clone()));
            let timeline = task.map_or_else(Vec::new, |task| chronicle.timeline(&task));
            self.violations.push((violation, timeline));
        }
    }

    /// How many promises were broken.
    #[must_use]
    pub fn violation_count(&self) -> usize {
        self.violations.len()
    }

    /// How many tasks ended.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.ends.values().sum()
    }

    /// How many completed.
    #[must_use]
    pub fn completed(&self) -> usize {
        self.ends.get("completed").copied().unwrap_or_default()
    }

    /// Of how many tasks the whole log and all files were compared, and of how many anything was.
    #[must_use]
    pub fn whole(&self) -> (usize, usize) {
        (self.whole, self.looked_at)
    }

    fn count(&self, wanted: impl Fn(&Fault) -> bool) -> usize {
        self.faults.iter().filter(|it| wanted(&it.fault)).count()
    }
}

/// The most lines of a timeline that are shown; the file has all.
const MOST_SHOWN: usize = 60;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |counts: &mut dyn Iterator<Item = (String, usize)>| {
            let all: Vec<_> = counts
                .map(|(what, count)| format!("{count} {what}"))
                .collect();
            all.join(", ")
        };
        let owned = |(what, count): (&String, &usize)| (what.clone(), *count);
        writeln!(f, "Chaos on {}, seed {}", self.store.as_str(), self.seed)?;
        writeln!(
            f,
            "  duration     {:.0} s of faults, at rest {:.0} s later, {:.0} s in all",
            self.faults_lasted_s, self.rest_took_s, self.took_s
        )?;
        let answers = self
            .answers
            .iter()
            .map(|(what, count)| ((*what).to_owned(), *count));
        writeln!(
            f,
            "  submits      {}; {} of the latter are there",
            join(&mut answers.into_iter()),
            self.found_later
        )?;
        let ends = join(&mut self.ends.iter().map(owned));
        writeln!(f, "  tasks        {}: {ends}", self.ended())?;
        writeln!(
            f,
            "  attempts     {}, of one task {} at most; {} containers; {} retries taken",
            self.attempts, self.most_attempts, self.containers, self.retries
        )?;
        writeln!(
            f,
            "  logs, files  {} of {} tasks whole, byte for byte",
            self.whole, self.looked_at
        )?;
        for (said, count) in &self.incomplete {
            writeln!(f, "               {count} said so: {said}")?;
        }
        writeln!(f, "  faults       {}", self.faults.len())?;
        for (kind, count) in counts(&self.faults) {
            writeln!(f, "               {count:4} {kind}")?;
        }
        for lost in &self.without_effect {
            writeln!(f, "               without effect: {lost}")?;
        }
        writeln!(
            f,
            "  kills        {}",
            self.count(|it| *it == Fault::Killed)
        )?;
        writeln!(f, "  partitions   {}", self.count(Fault::is_partition))?;
        writeln!(
            f,
            "  step-downs   {}",
            self.count(|it| *it == Fault::SteppedDown)
        )?;
        writeln!(f, "  violations   {}", self.violations.len())?;
        for (violation, timeline) in &self.violations {
            let task = violation.task.as_deref().unwrap_or("the cluster");
            writeln!(f, "\n✗ {task}: {}", violation.what)?;
            let hidden = timeline.len().saturating_sub(MOST_SHOWN);
            if hidden > 0 {
                writeln!(f, "    ... {hidden} lines before")?;
            }
            for line in &timeline[hidden..] {
                writeln!(f, "    {line}")?;
            }
        }
        if !self.violations.is_empty() {
            writeln!(f, "\n{}", self.replay)?;
        }
        Ok(())
    }
}
