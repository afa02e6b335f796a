//! One run: the plan is brought about, the faults end, everything comes to rest, or something is
//! found amiss.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use cloudai_core::lifecycle;
use cloudai_model::TaskStatus;
use cloudai_worker_core as worker_core;

use crate::{
    audit::{Kind, Seen, Violation},
    bugs::Bug,
    log::Log,
    plan::{Behaviour, FaultKind, Offer, Plan, TaskPlan},
    world::{Finding, World},
};

/// How long everything has to come to rest, once the faults are over: a few times as long as any seed
/// took that was ever run. A worker that was set aside twice is given nothing for four minutes.
const REST_WITHIN_MS: u64 = 1_800_000;
/// How long a task that takes all of a worker at rest may take.
const TRIAL_WITHIN_MS: u64 = 90_000;
/// The numbers of those tasks begin here.
const FIRST_TRIAL: u64 = 1_000_000;

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The first thing amiss.
    pub finding: Option<Finding>,
    /// Steps that cores took.
    pub steps: u64,
    /// How much time passed in it.
    pub simulated_ms: u64,
    /// How long it took to come to rest once the faults were over.
    pub rested_ms: u64,
    /// How often each fault began.
    pub faults: BTreeMap<FaultKind, u64>,
    /// How often each changed what happened.
    pub bites: BTreeMap<FaultKind, u64>,
    /// Messages lost, doubled and delivered.
    pub messages: [u64; 3],
    /// How tasks ended.
    pub ends: BTreeMap<TaskStatus, u64>,
    /// Changes of a task's status that were stored.
    pub task_transitions: BTreeSet<(TaskStatus, TaskStatus)>,
    /// Transitions of attempts in the master's core.
    pub attempt_transitions: BTreeSet<(lifecycle::AttemptState, lifecycle::AttemptEvent)>,
    /// Transitions of attempts in workers' cores.
    pub worker_transitions: BTreeSet<(worker_core::AttemptState, worker_core::AttemptEvent)>,
    /// The log, if one was wanted.
    pub log: Vec<String>,
}

/// Runs a plan, with a bug put in if one is wanted.
#[must_use]
pub fn run(plan: &Plan, bug: Option<Bug>, with_log: bool) -> Outcome {
    let log = if with_log {
        Log::kept()
    } else {
        Log::default()
    };
    // What was noted on this thread before is of another run.
    drop(lifecycle_transitions());
    let world = World::new(plan.clone(), bug, log);
    world.begin();
    let ran = catch_unwind(AssertUnwindSafe(|| world.sim.run()));
    let mut finding = world.finding();
    if let Err(panic) = ran {
        finding.get_or_insert(Finding {
            step: world.steps(),
            at_ms: world.sim.now_ms(),
            violation: Violation::new(Kind::Panicked, words_of(&*panic)),
        });
    }
    let (attempt_transitions, worker_transitions) = lifecycle_transitions();
    let tables = world.store.tables().clone();
    let mut ends = BTreeMap::new();
    for task in tables.tasks.values() {
        *ends.entry(task.state.status).or_default() += 1;
    }
    let network = &world.network;
    let outcome = Outcome {
        finding,
        steps: world.steps(),
        simulated_ms: world.sim.now_ms(),
        rested_ms: world.rested_ms.get(),
        faults: world.faults_begun.borrow().clone(),
        bites: world.faults_bitten(),
        messages: [&network.lost, &network.duplicated, &network.delivered]
            .map(std::cell::Cell::get),
        ends,
        task_transitions: world.status_changes(),
        attempt_transitions,
        worker_transitions,
        log: world.take_log(),
    };
    world.take_apart();
    outcome
}

/// A task that takes all that a worker offers, for a moment.
fn trial(worker: usize, offer: Offer) -> TaskPlan {
    TaskPlan {
        task: FIRST_TRIAL + worker as u64,
        own_id: true,
        cpu_milli: offer.cpu_milli,
        memory_mb: offer.memory_mb,
        storage_mb: offer.storage_mb,
        gpu_milli: 1000 * u64::from(offer.gpus),
        target: Some(worker),
        priority: 50,
        timeout_s: None,
        pull_timeout_s: None,
        queue_timeout_s: None,
        max_retries: 0,
        retry_on: None,
        does: Behaviour::default(),
    }
}

type Transitions = (
    BTreeSet<(lifecycle::AttemptState, lifecycle::AttemptEvent)>,
    BTreeSet<(worker_core::AttemptState, worker_core::AttemptEvent)>,
);

fn lifecycle_transitions() -> Transitions {
    (
        cloudai_core::simulation::transitions_taken(),
        worker_core::simulation::transitions_taken(),
    )
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

impl World {
    fn begin(self: &Rc<Self>) {
        self.start_master();
        for worker in 0..self.workers.len() {
            self.start_worker(worker);
        }
        self.schedule();
        let world = self.clone();
        self.sim.spawn(&self.supervisor, async move {
            world.sim.sleep_until(world.plan.horizon_ms + 1).await;
            world.heal().await;
            world.come_to_rest().await;
            world.sim.halt();
        });
    }

    /// All faults are over: what was down runs, and admins undo what they did.
    async fn heal(self: &Rc<Self>) {
        self.note("world", || "all faults are over".to_owned());
        self.start_master();
        for worker in 0..self.workers.len() {
            self.start_worker(worker);
        }
        // What admins asked for before comes first.
        while self.users.admins_busy.get() > 0 {
            self.sim.sleep(1_000).await;
        }
        for worker in 0..self.workers.len() {
            self.register(worker).await;
            self.drain(worker, false).await;
        }
        self.grant_all_wishes().await;
        while self.users.busy.get() > 0 {
            self.sim.sleep(1_000).await;
        }
        self.cancel_endless().await;
    }

    async fn come_to_rest(self: &Rc<Self>) {
        let began_ms = self.sim.now_ms();
        if !self.rest_within(REST_WITHIN_MS).await {
            return;
        }
        self.rested_ms.set(self.sim.now_ms() - began_ms);
        self.note("world", || "everything is at rest".to_owned());
        // What is free must be free for others: each worker is asked for all that it offers.
        for (index, node) in self.workers.iter().enumerate() {
            // Not set aside for what failed there.
            self.drain(index, false).await;
            self.submit(&trial(index, node.offer)).await;
        }
        if self.rest_within(TRIAL_WITHIN_MS).await {
            self.note("world", || "each worker can be given all of it".to_owned());
        }
    }

    /// Waits until everything is at rest; what is not by then is amiss.
    async fn rest_within(self: &Rc<Self>, span_ms: u64) -> bool {
        let deadline_ms = self.sim.now_ms() + span_ms;
        loop {
            self.sim.sleep(5_000).await;
            let Some(restless) = self.restless() else {
                return true;
            };
            if self.sim.now_ms() > deadline_ms {
                self.see(&Seen::Restless(&restless));
                return false;
            }
        }
    }

    /// The first thing that has not come to rest.
    fn restless(&self) -> Option<Violation> {
        let in_store = self.restless_in_store();
        if in_store.is_some() {
            return in_store;
        }
        let owed = |what: String| Some(Violation::new(Kind::StillOwed, what));
        for node in &self.workers {
            if let Some(container) = node.engine.containers().first() {
                let what = format!("{} on {}", container.id.attempt, node.id);
                return Some(Violation::new(Kind::ContainerLeft, what));
            }
            if let Some(attempt) = node.spool.attempts().first() {
                return owed(format!("{} keeps {attempt} on its disk", node.id));
            }
            let unanswered = node.unanswered();
            if unanswered > 0 {
                return owed(format!("{} owes {unanswered} answers", node.id));
            }
        }
        if self.users.busy.get() > 0 {
            return owed(format!(
                "{} users wait for an answer",
                self.users.busy.get()
            ));
        }
        match self.master_shell() {
            None => owed("the master is gone".to_owned()),
            Some(shell) if shell.unanswered.get() > 0 => owed(format!(
                "the master owes {} answers",
                shell.unanswered.get()
            )),
            Some(_) => None,
        }
    }

    fn restless_in_store(&self) -> Option<Violation> {
        let tables = self.store.tables();
        let mut tasks = tables.tasks.values();
        if let Some(task) = tasks.find(|task| !task.state.status.is_final()) {
            let (id, state) = (&task.task, &task.state);
            let what = format!("{id} is {}: {}", state.status, state.reason);
            return Some(Violation::new(Kind::NeverFinal, what));
        }
        let mut open = tables.assignments.values();
        if let Some(open) = open.find(|assignment| assignment.ended.is_none()) {
            let what = format!("{} is open in the store", open.attempt);
            return Some(Violation::new(Kind::StillOwed, what));
        }
        let order = tables.stop_orders.keys().next()?;
        let what = format!("{order} is to be stopped still");
        Some(Violation::new(Kind::StillOwed, what))
    }

    /// Breaks the circles in which everything refers to each other.
    fn take_apart(&self) {
        self.sim.clear();
        self.master.shell.borrow_mut().take();
        for node in &self.workers {
            node.shell.borrow_mut().take();
        }
    }
}
