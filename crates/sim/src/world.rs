//! Everything that a run consists of: machines, network, store, what is amiss just now, and whoever
//! watches.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use cloudai_model::{AttemptId, TaskId, TaskStatus, Wall, WorkerId};

use crate::{
    audit::{Auditor, Seen, Violation},
    bugs::Bug,
    chance::Chance,
    conditions::Conditions,
    log::Log,
    master::MasterNode,
    network::{CallError, MessageName, Network, Way},
    plan::{Behaviour, FaultKind, Plan},
    store::Store,
    time::{Process, Sim},
    users::Users,
    wire::{FromMaster, FromWorker, ToMaster, ToWorker},
    worker::WorkerNode,
};

/// The wall clocks' time when a run begins.
const BEGINNING: Wall = Wall(1_700_000_000_000);

/// What was found amiss, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// After so many steps of cores.
    pub step: u64,
    /// At this simulated time.
    pub at_ms: u64,
    /// What.
    pub violation: Violation,
}

/// See the module.
pub struct World {
    /// Runs everything.
    pub sim: Sim,
    /// What everything's chance follows from.
    pub chance: Chance,
    /// What is going to happen.
    pub plan: Plan,
    /// The bug that was put in.
    pub bug: Option<Bug>,
    /// Which faults are active.
    pub conditions: Conditions,
    /// The network.
    pub network: Network,
    /// The master's store.
    pub store: Store,
    /// The master's machine.
    pub master: MasterNode,
    /// The workers' machines.
    pub workers: Vec<WorkerNode>,
    /// Users and admins.
    pub(crate) users: Users,
    /// Never killed: what happens from outside.
    pub supervisor: Process,
    /// How many faults keep the master down.
    pub master_held_down: Cell<u32>,
    /// How often each fault began.
    pub faults_begun: RefCell<BTreeMap<FaultKind, u64>>,
    /// How often each changed what happened.
    faults_bitten: RefCell<BTreeMap<FaultKind, u64>>,
    /// How long it took to come to rest.
    pub rested_ms: Cell<u64>,
    auditor: RefCell<Auditor>,
    finding: RefCell<Option<Finding>>,
    steps: Cell<u64>,
    log: Log,
    task_numbers: RefCell<BTreeMap<TaskId, u64>>,
}

impl World {
    /// The world of a plan, before anything has happened.
    #[must_use]
    pub fn new(plan: Plan, bug: Option<Bug>, log: Log) -> Rc<Self> {
        let named = |(index, offer): (usize, &crate::plan::Offer)| {
            let id: WorkerId = Plan::worker_name(index)
                .parse()
                .expect("a letter and a number are a valid id");
            WorkerNode::new(id, *offer)
        };
        Rc::new(Self {
            sim: Sim::default(),
            chance: Chance::new(plan.seed),
            bug,
            conditions: Conditions::default(),
            network: Network::default(),
            store: Store::default(),
            master: MasterNode::default(),
            workers: plan.workers.iter().enumerate().map(named).collect(),
            users: Users::default(),
            supervisor: Process::start(),
            master_held_down: Cell::new(0),
            faults_begun: RefCell::default(),
            faults_bitten: RefCell::default(),
            rested_ms: Cell::default(),
            auditor: RefCell::new(Auditor::new(&plan)),
            finding: RefCell::new(None),
            steps: Cell::new(0),
            log,
            task_numbers: RefCell::default(),
            plan,
        })
    }

    /// What was found amiss.
    #[must_use]
    pub fn finding(&self) -> Option<Finding> {
        self.finding.borrow().clone()
    }

    /// Steps of cores so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// A core takes a step.
    pub fn count_step(&self) {
        self.steps.set(self.steps.get() + 1);
    }

    /// The auditor sees something. The first thing amiss ends the run.
    pub fn see(&self, seen: &Seen<'_>) {
        if self.finding.borrow().is_some() {
            return;
        }
        self.log_seen(seen);
        let now_ms = self.sim.now_ms();
        let amiss = self.auditor.borrow_mut().see(now_ms, seen).err();
        if let Some(violation) = amiss {
            self.note("auditor", || format!("AMISS: {violation}"));
            *self.finding.borrow_mut() = Some(Finding {
                step: self.steps(),
                at_ms: now_ms,
                violation,
            });
            self.sim.halt();
        }
    }

    fn log_seen(&self, seen: &Seen<'_>) {
        match seen {
            Seen::Flushed(batch) => self.log.records(self.sim.now_ms(), self.steps(), batch),
            Seen::ContainerStarted { worker, attempt } => {
                self.note(&Plan::worker_name(*worker), || {
                    format!("container of {attempt} runs")
                });
            }
            Seen::ContainerEnded {
                worker,
                attempt,
                end,
            } => self.note(&Plan::worker_name(*worker), || {
                format!(
                    "container of {attempt} has ended: {} ({:?})",
                    end.exit_code, end.cause
                )
            }),
            Seen::ContainerRemoved {
                worker, attempt, ..
            } => {
                self.note(&Plan::worker_name(*worker), || {
                    format!("container of {attempt} is removed")
                });
            }
            Seen::UserTold(told) => self.note("user", || format!("is told: {told:?}")),
            _ => {}
        }
    }

    /// Writes a line into the log, if there is one.
    pub fn note(&self, who: &str, what: impl FnOnce() -> String) {
        self.log.note(self.sim.now_ms(), self.steps(), who, what);
    }

    /// Because of a fault of this kind something happens otherwise than it would.
    pub fn bites(&self, kind: FaultKind) {
        let mut bitten = self.faults_bitten.borrow_mut();
        *bitten.entry(kind).or_default() += 1;
    }

    /// How often faults of each kind changed what happened.
    #[must_use]
    pub fn faults_bitten(&self) -> BTreeMap<FaultKind, u64> {
        self.faults_bitten.borrow().clone()
    }

    /// Takes the log out.
    #[must_use]
    pub fn take_log(&self) -> Vec<String> {
        self.log.take()
    }

    /// The changes of tasks' statuses that were stored.
    #[must_use]
    pub fn status_changes(&self) -> BTreeSet<(TaskStatus, TaskStatus)> {
        self.auditor.borrow().status_changes()
    }

    /// What the wall clock of the master (`None`) or of a worker shows.
    #[must_use]
    pub fn wall(&self, worker: Option<usize>) -> Wall {
        let now_ms = i64::try_from(self.sim.now_ms()).unwrap_or(i64::MAX);
        let offset_ms = self.conditions.clock_offset_ms(worker);
        if offset_ms != 0 {
            self.bites(FaultKind::Clock);
        }
        Wall(BEGINNING.0 + now_ms + offset_ms)
    }

    /// Whether nothing keeps the master down.
    #[must_use]
    pub fn master_may_run(&self) -> bool {
        self.master_held_down.get() == 0
    }

    /// The index of a worker.
    #[must_use]
    pub fn index_of(&self, worker: &WorkerId) -> Option<usize> {
        self.workers.iter().position(|node| node.id == *worker)
    }

    /// The plan's number of an attempt's task.
    #[must_use]
    pub fn task_number(&self, attempt: &AttemptId) -> u64 {
        let task = &attempt.task;
        let known = self.task_numbers.borrow().get(task).copied();
        if let Some(number) = known {
            return number;
        }
        // Its name says it.
        let stored = self.store.task(task);
        let number = stored.and_then(|task| task.spec.name.strip_prefix('t')?.parse().ok());
        let Some(number) = number else {
            return u64::MAX;
        };
        let mut numbers = self.task_numbers.borrow_mut();
        numbers.insert(task.clone(), number);
        number
    }

    /// What the containers of an attempt do.
    #[must_use]
    pub fn behaviour(&self, attempt: &AttemptId) -> Behaviour {
        let number = self.task_number(attempt);
        let planned = self.plan.tasks().find(|task| task.task == number);
        // Of no plan is the trial at the end, and what was sent before it was stored, by a bug that
        // was put in.
        planned.map(|task| task.does.clone()).unwrap_or_default()
    }

    /// A worker calls the master.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(crate) async fn call_master(
        self: &Rc<Self>,
        worker: usize,
        request: ToMaster,
        limit_ms: u64,
    ) -> Result<FromMaster, CallError> {
        let way = Way {
            worker,
            to_worker: false,
        };
        let who = Plan::worker_name(worker);
        let name = message_name(request.kind(), request.attempt());
        self.note(&who, || format!("-> master: {request}"));
        let seen = Seen::SentToMaster {
            worker,
            request: &request,
        };
        self.see(&seen);
        let (world, sent) = (self.clone(), request.clone());
        let arrive = Rc::new(move |reply| world.arrive_at_master(worker, sent.clone(), reply));
        let answer = self.call(way, name, limit_ms, arrive).await;
        self.note(&who, || match &answer {
            Ok(answer) => format!("<- master on {}: {answer:?}", request.kind()),
            Err(error) => format!("<- master on {}: {error}", request.kind()),
        });
        answer
    }

    /// The master calls a worker.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(crate) async fn call_worker(
        self: &Rc<Self>,
        worker: usize,
        request: ToWorker,
        limit_ms: u64,
    ) -> Result<FromWorker, CallError> {
        let way = Way {
            worker,
            to_worker: true,
        };
        let name = message_name(request.kind(), request.attempt());
        let (world, sent) = (self.clone(), request);
        let arrive = Rc::new(move |reply| world.arrive_at_worker(worker, sent.clone(), reply));
        self.call(way, name, limit_ms, arrive).await
    }
}

fn message_name(kind: &'static str, attempt: Option<&AttemptId>) -> MessageName {
    MessageName {
        kind,
        about: attempt.map_or_else(String::new, ToString::to_string),
    }
}
