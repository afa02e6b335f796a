//! The shell around the real worker core: what `crates/worker` is in the real program, over a
//! simulated engine, disk and network.
//!
//! Each wish of the core becomes a task that tells the core what came of it, as in the real one. A
//! task ends with its process, wherever it stands. Not here: the contents of logs and files, images
//! that are removed to make room, volumes, damaged records of the spool, and old masters.

mod backoff;
mod container;
mod core_loop;
mod keeper;
mod runner;
mod service;
mod sweep;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use cloudai_model::{AttemptId, Capacity, ClusterId, Mono, Now, WorkerId};
use cloudai_worker_core::{Input, Outcome, Settings, StopCause, WorkerCore};

use crate::{
    audit::Seen,
    engine::{ContainerId, Engine},
    life::Life,
    plan::{FaultKind, Offer},
    spool::{Lane, Spool},
    time::{Inbox, Process, Sender, Watch},
    world::World,
};

pub(crate) use core_loop::Message;

/// A worker's machine.
pub struct WorkerNode {
    /// The worker's id.
    pub id: WorkerId,
    /// What it offers.
    pub offer: Offer,
    /// Of its program.
    pub life: Life,
    /// Its Docker Engine.
    pub engine: Engine,
    /// Its disk.
    pub spool: Spool,
    /// Which disk it is: rises when one is lost.
    pub disk: Cell<u64>,
    /// How many faults keep its program down.
    pub held_down: Cell<u32>,
    /// How many faults keep its machine down.
    pub machine_down: Cell<u32>,
    /// What runs there.
    pub(crate) shell: RefCell<Option<Rc<WorkerShell>>>,
}

/// A running worker.
pub(crate) struct WorkerShell {
    pub(crate) world: Rc<World>,
    pub(crate) index: usize,
    process: Process,
    started_at_ms: u64,
    /// Which start of the program this is.
    incarnation: String,
    /// Which data directory it works from.
    home: String,
    capacity: Capacity,
    pub(crate) inbox: Inbox<Message>,
    /// How many calls have no answer yet.
    pub(crate) unanswered: Cell<usize>,
    /// Whether the engine answered when it was last asked.
    engine: Watch<bool>,
    /// Whether a master has let it in, and still answers.
    master: Watch<bool>,
    cluster: Watch<Option<ClusterId>>,
    /// A master calls.
    pub(crate) contacts: Inbox<()>,
    /// Somebody waits until the master has been told that this worker ends.
    farewells: Inbox<Sender<()>>,
    stops: RefCell<BTreeMap<AttemptId, Sender<StopCause>>>,
    pulls: RefCell<BTreeMap<AttemptId, Process>>,
    /// Containers that this process has made or found.
    made: RefCell<BTreeMap<AttemptId, ContainerId>>,
    /// Containers whose log this process takes in.
    pumped: RefCell<BTreeSet<AttemptId>>,
    lanes: RefCell<BTreeMap<AttemptId, Lane>>,
}

impl WorkerNode {
    /// A machine on which nothing runs.
    #[must_use]
    pub fn new(id: WorkerId, offer: Offer) -> Self {
        Self {
            id,
            offer,
            life: Life::default(),
            engine: Engine::default(),
            spool: Spool::default(),
            disk: Cell::new(1),
            held_down: Cell::new(0),
            machine_down: Cell::new(0),
            shell: RefCell::new(None),
        }
    }
}

impl WorkerNode {
    /// The pulls that are under way.
    pub(crate) fn pulls(&self) -> Vec<Process> {
        let shell = self.shell.borrow();
        let pulls = shell.as_ref().map(|shell| shell.pulls.borrow().clone());
        pulls.unwrap_or_default().into_values().collect()
    }

    /// How many calls its core has not answered.
    pub(crate) fn unanswered(&self) -> usize {
        let shell = self.shell.borrow();
        shell.as_ref().map_or(0, |shell| shell.unanswered.get())
    }
}

impl World {
    /// Starts a worker's program, and its machine if need be, unless something keeps it down.
    pub fn start_worker(self: &Rc<Self>, index: usize) {
        let node = &self.workers[index];
        if node.machine_down.get() > 0 {
            return;
        }
        node.engine.life.begin();
        if node.held_down.get() > 0 || node.life.is_running() {
            return;
        }
        let process = node.life.begin();
        let smaller = self.conditions.is(FaultKind::Smaller, Some(index));
        let percent = match smaller {
            true => self.conditions.strength(FaultKind::Smaller, Some(index)),
            false => 100,
        };
        let offer = Offer {
            cpu_milli: node.offer.cpu_milli * percent / 100,
            memory_mb: node.offer.memory_mb * percent / 100,
            storage_mb: node.offer.storage_mb * percent / 100,
            gpus: if smaller { 0 } else { node.offer.gpus },
        };
        let shell = Rc::new(WorkerShell {
            world: self.clone(),
            index,
            process: process.clone(),
            started_at_ms: self.sim.now_ms(),
            incarnation: format!("{}-{}", node.id, node.life.start()),
            home: format!("{}-disk-{}", node.id, node.disk.get()),
            capacity: offer.capacity(),
            inbox: Inbox::default(),
            unanswered: Cell::default(),
            engine: Watch::new(self.engine_answers(index)),
            master: Watch::new(false),
            cluster: Watch::new(None),
            contacts: Inbox::default(),
            farewells: Inbox::default(),
            stops: RefCell::default(),
            pulls: RefCell::default(),
            made: RefCell::default(),
            pumped: RefCell::default(),
            lanes: RefCell::default(),
        });
        *node.shell.borrow_mut() = Some(shell.clone());
        self.see(&Seen::WorkerStarts {
            worker: index,
            capacity: &shell.capacity,
        });
        self.note(node.id.as_str(), || format!("starts ({percent} %)"));
        shell.begin();
    }

    /// Kills a worker's program, if it runs. Its containers go on.
    pub fn kill_worker(self: &Rc<Self>, index: usize, why: &str) {
        let node = &self.workers[index];
        if node.life.end(&self.sim) {
            self.note(node.id.as_str(), || format!("is gone: {why}"));
            let shell = node.shell.borrow_mut().take();
            let Some(shell) = shell else { return };
            shell.inbox.close();
            // Each pull is a process of its own.
            for pull in shell.pulls.take().values() {
                self.sim.kill(pull);
            }
        }
    }

    /// Ends a worker in order.
    pub(crate) async fn shut_down_worker(self: &Rc<Self>, index: usize, stop_tasks: bool) {
        let shell = self.workers[index].shell.borrow().clone();
        let Some(shell) = shell else { return };
        let process = shell.process.clone();
        let (told, ended) = crate::time::oneshot::<()>();
        let there = shell.clone();
        self.sim.spawn(&process, async move {
            there.end(stop_tasks).await;
            told.send(());
        });
        // One that is killed over it has ended, too.
        let _ = ended.await.is_ok();
        if process.is_alive() {
            self.kill_worker(index, "it was shut down");
        }
    }
}

impl WorkerShell {
    pub(crate) fn now(&self) -> Now {
        Now {
            mono: Mono(self.world.sim.now_ms() - self.started_at_ms),
            wall: self.world.wall(Some(self.index)),
        }
    }

    fn node(&self) -> &WorkerNode {
        &self.world.workers[self.index]
    }

    fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.world.sim.spawn(&self.process, future);
    }

    fn tell(&self, input: Input) {
        self.inbox.send(Message::Input(input));
    }

    fn outcome(&self, attempt: &AttemptId, outcome: Outcome) {
        self.tell(Input::Outcome(attempt.clone(), outcome));
    }

    fn lane(&self, attempt: &AttemptId) -> Lane {
        let mut lanes = self.lanes.borrow_mut();
        lanes.entry(attempt.clone()).or_default().clone()
    }

    fn known(&self, attempt: &AttemptId) -> Option<ContainerId> {
        self.made.borrow().get(attempt).cloned()
    }

    /// `worker.rs`: what the spool holds first, then everything at once.
    fn begin(self: &Rc<Self>) {
        let (records, tombstones) = self.node().spool.read();
        for record in records {
            self.tell(Input::Adopt(Box::new(record)));
        }
        self.tell(Input::AdoptTombstones(tombstones));
        self.tell(Input::AdoptionDone);
        if !self.engine.get() {
            self.tell(Input::EngineUnwell("the engine doesn't answer".to_owned()));
        }
        let mut core = WorkerCore::new(Settings::new(self.capacity));
        core.sabotage(self.world.worker_sabotage());
        self.spawn(core_loop::run(self.clone(), core));
        self.spawn(tick(self.clone()));
        self.spawn(keep_engine(self.clone()));
        self.spawn(sweep::keep(self.clone()));
        self.spawn(keeper::keep(self.clone()));
    }

    /// Takes nothing new; with `stop_tasks` stops what runs and waits until that is reported.
    async fn end(self: Rc<Self>, stop_tasks: bool) {
        const FAREWELL_LIMIT_MS: u64 = 2_000;
        const REPORTS_GRACE_MS: u64 = 40_000;
        self.tell(Input::Shutdown { stop_tasks });
        let (said, heard) = crate::time::oneshot();
        self.farewells.send(said);
        let sim = &self.world.sim;
        // It has been told, or can't be.
        let _ = sim.within(FAREWELL_LIMIT_MS, heard).await.is_some();
        if !stop_tasks {
            return;
        }
        let deadline_ms = sim.now_ms() + REPORTS_GRACE_MS;
        while sim.now_ms() < deadline_ms {
            if self.look().await.is_none_or(|view| view.held.is_empty()) {
                return;
            }
            sim.sleep(100).await;
        }
    }
}

async fn tick(shell: Rc<WorkerShell>) {
    loop {
        shell.world.sim.sleep(1_000).await;
        shell.tell(Input::Tick);
    }
}

/// `engine_link.rs`: asks the engine whether it still works, and looks for one that is away.
async fn keep_engine(shell: Rc<WorkerShell>) {
    let mut tries = 0;
    loop {
        let answered = shell.engine.get();
        match answered {
            true => {
                tries = 0;
                shell.world.sim.sleep(5_000).await;
            }
            false => {
                tries += 1;
                backoff::wait(&shell, "engine", tries).await;
            }
        }
        let answers = shell.world.engine_answers(shell.index);
        let is_away = |kind| shell.world.conditions.is(kind, Some(shell.index));
        if !answers && is_away(FaultKind::EngineAway) {
            shell.world.bites(FaultKind::EngineAway);
        }
        shell.engine.set(answers);
        match (answered, answers) {
            (false, true) => shell.tell(Input::EngineWell),
            (_, false) => {
                shell.tell(Input::EngineUnwell("the engine doesn't answer".to_owned()));
            }
            (true, true) => {}
        }
    }
}
