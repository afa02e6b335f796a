//! Cuts a plan that fails down to the fewest items that still fail: delta debugging (Zeller and
//! Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE Transactions on Software
//! Engineering 28, 2002).

use crate::{
    audit::Kind,
    bugs::Bug,
    plan::{Fault, FaultKind, Item, Plan, What},
    run::{Outcome, run},
};

/// A plan that was cut down.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// What is left.
    pub plan: Plan,
    /// What came of its last run.
    pub outcome: Outcome,
    /// How many runs that took.
    pub runs: u64,
}

struct Shrinker<'a> {
    bug: Option<Bug>,
    kind: Kind,
    runs: u64,
    told: &'a mut dyn FnMut(&Plan, u64),
}

/// Cuts a plan down for as long as it fails with a violation of the same kind. `None` if it doesn't
/// fail. `told` hears of each plan that is smaller than the last.
pub fn shrink(plan: &Plan, bug: Option<Bug>, told: &mut dyn FnMut(&Plan, u64)) -> Option<Shrunk> {
    let kind = run(plan, bug, false).finding?.violation.kind;
    let mut this = Shrinker {
        bug,
        kind,
        runs: 1,
        told,
    };
    let mut plan = plan.clone();
    loop {
        let before = plan.clone();
        plan = this.fewer_items(plan);
        plan = this.simpler_items(plan);
        plan = this.fewer_workers(plan);
        plan = this.sooner_over(plan);
        if plan == before {
            break;
        }
    }
    let outcome = run(&plan, bug, true);
    let runs = this.runs + 1;
    Some(Shrunk {
        plan,
        outcome,
        runs,
    })
}

impl Shrinker<'_> {
    /// Whether a plan is a smaller example of the same: a sound core comes to its end with it. A task
    /// that fits nowhere waits for ever, whoever runs it.
    fn fails(&mut self, plan: &Plan) -> bool {
        if !plan.is_possible() {
            return false;
        }
        self.runs += 1;
        let finding = run(plan, self.bug, false).finding;
        let fails = finding.is_some_and(|finding| finding.violation.kind == self.kind);
        let fails = fails && (self.bug.is_none() || run(plan, None, false).finding.is_none());
        if fails {
            (self.told)(plan, self.runs);
        }
        fails
    }

    /// Leaves out ever smaller parts of the items.
    fn fewer_items(&mut self, mut plan: Plan) -> Plan {
        let mut part = plan.items.len().div_ceil(2).max(1);
        loop {
            let mut cut = false;
            let mut from = 0;
            while from < plan.items.len() {
                let to = (from + part).min(plan.items.len());
                let kept: Vec<Item> = plan.items[..from]
                    .iter()
                    .chain(&plan.items[to..])
                    .cloned()
                    .collect();
                let fewer = plan.with_items(kept);
                if self.fails(&fewer) {
                    plan = fewer;
                    cut = true;
                } else {
                    from = to;
                }
            }
            if part == 1 && !cut {
                return plan;
            }
            part = if cut { part } else { part.div_ceil(2) };
            part = part.min(plan.items.len().max(1));
        }
    }

    /// Takes away what tasks need not have.
    fn simpler_items(&mut self, mut plan: Plan) -> Plan {
        for index in 0..plan.items.len() {
            for simpler in simpler(&plan.items[index]) {
                let mut items = plan.items.clone();
                items[index] = simpler;
                let candidate = plan.with_items(items);
                if candidate != plan && self.fails(&candidate) {
                    plan = candidate;
                }
            }
        }
        plan
    }

    /// Some workers may not be needed.
    fn fewer_workers(&mut self, mut plan: Plan) -> Plan {
        let mut index = plan.workers.len();
        while index > 0 && plan.workers.len() > 1 {
            index -= 1;
            if let Some(fewer) = without_worker(&plan, index)
                && self.fails(&fewer)
            {
                plan = fewer;
            }
        }
        plan
    }

    fn sooner_over(&mut self, plan: Plan) -> Plan {
        let last = plan.items.last().map_or(0, |item| item.at_ms);
        let sooner = Plan {
            horizon_ms: (last + 1_000).min(plan.horizon_ms),
            ..plan.clone()
        };
        if sooner != plan && self.fails(&sooner) {
            return sooner;
        }
        plan
    }
}

/// The plan without a worker, if nothing is about it. Those after it are renumbered.
fn without_worker(plan: &Plan, index: usize) -> Option<Plan> {
    let mut fewer = plan.clone();
    fewer.workers.remove(index);
    let mut unnamed = true;
    for item in &mut fewer.items {
        if let Some(worker) = named(&mut item.what) {
            unnamed &= *worker != index;
            if *worker > index {
                *worker -= 1;
            }
        }
    }
    unnamed.then_some(fewer)
}

/// The worker that an item is about.
fn named(what: &mut What) -> Option<&mut usize> {
    match what {
        What::Register { worker }
        | What::Unregister { worker }
        | What::Drain { worker, .. }
        | What::ShutDown { worker, .. }
        | What::Place { worker, .. } => Some(worker),
        What::Fault(fault) => fault.worker.as_mut(),
        What::Submit(task) => task.target.as_mut(),
        What::Cancel { .. }
        | What::Change { .. }
        | What::SubmitMany { .. }
        | What::Hold { .. }
        | What::Prioritise { .. }
        | What::Limit(_)
        | What::Mend => None,
    }
}

/// The same fault, half as long or half as strong.
fn weaker(item: &Item, fault: &Fault) -> Vec<Item> {
    use FaultKind as K;
    let mut all = Vec::new();
    let mut push = |fault: Fault| {
        all.push(Item {
            at_ms: item.at_ms,
            what: What::Fault(fault),
        });
    };
    if fault.for_ms >= 1_000 {
        push(Fault {
            for_ms: fault.for_ms / 2,
            ..*fault
        });
    }
    // Of the others the strength is no amount.
    let amounts = [
        K::Delay,
        K::Loss,
        K::Duplication,
        K::Reorder,
        K::Slow,
        K::EngineErrors,
        K::StoreFailure,
    ];
    if fault.strength > 1 && amounts.contains(&fault.kind) {
        push(Fault {
            strength: fault.strength / 2,
            ..*fault
        });
    }
    all
}

/// The same item with one thing less.
fn simpler(item: &Item) -> Vec<Item> {
    let task = match &item.what {
        What::Submit(task) => task,
        What::Fault(fault) => return weaker(item, fault),
        _ => return Vec::new(),
    };
    let mut all = Vec::new();
    let mut push = |change: &dyn Fn(&mut crate::plan::TaskPlan)| {
        let mut simpler = task.clone();
        change(&mut simpler);
        if simpler != *task {
            let what = What::Submit(simpler);
            all.push(Item {
                at_ms: item.at_ms,
                what,
            });
        }
    };
    push(&|task| task.timeout_s = None);
    push(&|task| task.pull_timeout_s = None);
    push(&|task| task.queue_timeout_s = None);
    push(&|task| task.target = None);
    push(&|task| task.gpu_milli = 0);
    push(&|task| task.retry_on = None);
    push(&|task| task.max_retries = 0);
    push(&|task| task.priority = 50);
    push(&|task| task.does.failing_attempts = 0);
    push(&|task| task.does.leaves_files = false);
    push(&|task| task.does.ignores_stop = false);
    push(&|task| task.does.overflows_after_ms = None);
    push(&|task| task.does.pull_ms = 0);
    all
}
