//! The one loop that owns the core: `crates/master/src/core_loop.rs`, in simulated time.

use std::{collections::BTreeMap, rc::Rc};

use cloudai_core::{Answer, Call, Core, Effect, Input, Snapshot};
use cloudai_model::record::Record;

use super::{MasterShell, Message};
use crate::{
    audit::Seen,
    bugs::Bug,
    plan::FaultKind,
    store::CommitError,
    time::{First, Gone, Receiver, Sender, Sleep, first, oneshot},
};

const TICK_MS: u64 = 250;
/// A commit that takes longer keeps everybody waiting.
const STUCK_MS: u64 = 1_000;
/// Effects that may pile up behind a commit before inputs must wait: fewer than in the real program,
/// as there are fewer tasks.
const MOST_HELD_BACK: usize = 500;
/// Inputs stepped through before the loop looks at its commit again.
const STRIDE: usize = 512;
/// How long one batch is tried before the process gives up.
const GIVE_UP_AFTER_MS: u64 = 60_000;
/// Records that a start reads in one go.
const LOAD_CHUNK: usize = 8;
/// After how long whoever watches over the program starts it again.
const SUPERVISOR_MS: u64 = 5_000;

#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    effects: Vec<Effect>,
}

struct Commit {
    done: Receiver<Result<(), CommitError>>,
    effects: Vec<Effect>,
    snapshot: Snapshot,
    /// When it began.
    since_ms: u64,
}

struct Loop {
    shell: Rc<MasterShell>,
    core: Core,
    waiting: BTreeMap<Call, Sender<Answer>>,
    last_call: u64,
    gathering: Batch,
    commit: Option<Commit>,
    held_up: bool,
}

/// Runs the core until the process is killed, or its store can't be written.
pub(super) async fn run(shell: Rc<MasterShell>, core: Core) {
    let mut this = Loop {
        shell: shell.clone(),
        core,
        waiting: BTreeMap::new(),
        last_call: 0,
        gathering: Batch::default(),
        commit: None,
        held_up: false,
    };
    this.read_store().await;
    let failure = this.run().await;
    let world = shell.world.clone();
    let process = world.supervisor.clone();
    let there = world.clone();
    world.sim.spawn(&process, async move {
        there.kill_master(&format!("the store can't be written: {failure}"));
        there.sim.sleep(SUPERVISOR_MS).await;
        if there.master_may_run() {
            there.start_master();
        }
    });
}

impl Loop {
    async fn read_store(&mut self) {
        let world = self.shell.world.clone();
        let mut chance = world.chance.of("load").nth(world.sim.now_ms());
        world
            .conditions
            .wait_until(|now| !now.is(FaultKind::StoreStall, None))
            .await;
        for (user, limits) in world.users.limits.borrow().clone() {
            self.step(Input::Limits { user, limits });
        }
        // As of one instant, whatever is written while it is read.
        let (records, highest) = world.store.tables().load();
        for chunk in records.chunks(LOAD_CHUNK) {
            for record in chunk {
                if let Record::TaskAdded(task) = record {
                    let spec = std::sync::Arc::new(task.spec.clone());
                    self.shell
                        .specs
                        .borrow_mut()
                        .insert(task.task.clone(), spec);
                }
                self.step(Input::Restore(Box::new(record.clone())));
            }
            let pause = world.sim.sleep(chance.between(1, 20));
            self.take_all_until(pause).await;
        }
        world.see(&Seen::MasterReady);
        self.step(Input::Restored {
            highest_task_number: highest.task_number,
            highest_order: highest.order,
        });
    }

    /// While the store is being read, everybody is answered that it is.
    async fn take_all_until(&mut self, pause: Sleep) {
        let mut pause = std::pin::pin!(pause);
        let inbox = self.shell.inbox.clone();
        while let First::Other(message) = first(pause.as_mut(), inbox.recv()).await {
            self.take(message);
            self.start_commit();
        }
    }

    async fn run(&mut self) -> CommitError {
        let world = self.shell.world.clone();
        let inbox = self.shell.inbox.clone();
        let mut tick = Box::pin(world.sim.sleep(0));
        loop {
            self.start_commit();
            let open = self.gathering.effects.len() < MOST_HELD_BACK;
            let ticks = open && !self.is_stuck();
            let commit = finished(&mut self.commit);
            // Who takes nothing in must not find that everybody is silent, either: the core forgives
            // a gap.
            let ticks = when(ticks, tick.as_mut());
            let others = first(ticks, when(open, inbox.recv()));
            match first(commit, others).await {
                First::One(Ok(())) => self.release(),
                First::One(Err(failure)) => return failure,
                First::Other(First::One(())) => {
                    tick = Box::pin(world.sim.sleep(TICK_MS));
                    self.look_at_the_disk();
                    self.step(Input::Tick);
                }
                First::Other(First::Other(message)) => {
                    self.take(message);
                    for _ in 0..STRIDE {
                        let Some(message) = inbox.try_recv() else {
                            break;
                        };
                        self.take(message);
                    }
                }
            }
        }
    }

    /// `master/src/room.rs` watches the disks.
    fn look_at_the_disk(&mut self) {
        let conditions = &self.shell.world.conditions;
        let full = conditions.is(FaultKind::MasterDiskFull, None);
        if full != self.held_up {
            self.held_up = full;
            let why = full.then(|| "the master's disk is full".into());
            let world = self.shell.world.clone();
            // From the step on that tells of it, and until the one that tells that it is over.
            if !full {
                world.see(&Seen::DiskIsFull(false));
            }
            self.step(Input::HoldUp(why));
            if full {
                world.bites(FaultKind::MasterDiskFull);
                world.see(&Seen::DiskIsFull(true));
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Input(input) => self.step(input),
            Message::Call(make, reply) => {
                self.last_call += 1;
                let call = Call(self.last_call);
                self.waiting.insert(call, reply);
                self.shell.unanswered.set(self.waiting.len());
                self.step(make(call));
            }
        }
    }

    fn step(&mut self, input: Input) {
        let world = self.shell.world.clone();
        world.count_step();
        let mut effects = Vec::new();
        self.core.step(self.shell.now(), input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Write(record) => {
                    world.see(&Seen::Decided(&record));
                    self.remember_spec(&record);
                    self.gathering.records.push(record);
                }
                effect => self.gathering.effects.push(effect),
            }
        }
    }

    fn remember_spec(&self, record: &Record) {
        let mut specs = self.shell.specs.borrow_mut();
        match record {
            Record::TaskAdded(task) => {
                let spec = std::sync::Arc::new(task.spec.clone());
                specs.insert(task.task.clone(), spec);
            }
            Record::SpecChanged(task, _) => drop(specs.remove(task)),
            _ => {}
        }
    }

    /// Sends what has gathered to the store, unless a commit is under way.
    fn start_commit(&mut self) {
        let is_empty = self.gathering.records.is_empty() && self.gathering.effects.is_empty();
        if self.commit.is_some() || is_empty {
            return;
        }
        let Batch {
            records,
            mut effects,
        } = std::mem::take(&mut self.gathering);
        let snapshot = self.core.snapshot(self.shell.now());
        if records.is_empty() {
            return self.publish(effects, snapshot);
        }
        if self.shell.world.bug == Some(Bug::SendBeforePersist) {
            self.publish(std::mem::take(&mut effects), snapshot.clone());
        }
        let (told, done) = oneshot();
        let shell = self.shell.clone();
        let since_ms = shell.world.sim.now_ms();
        shell.world.see(&Seen::CommitBegins);
        self.shell.spawn(async move {
            told.send(commit(&shell, Rc::new(records)).await);
        });
        self.commit = Some(Commit {
            done,
            effects,
            snapshot,
            since_ms,
        });
    }

    /// Whether the store has kept everybody waiting: see the real loop.
    fn is_stuck(&self) -> bool {
        let now_ms = self.shell.world.sim.now_ms();
        let commit = self.commit.as_ref();
        commit.is_some_and(|commit| now_ms - commit.since_ms > STUCK_MS)
    }

    fn release(&mut self) {
        if let Some(commit) = self.commit.take() {
            self.shell.world.see(&Seen::CommitIsOver);
            self.publish(commit.effects, commit.snapshot);
        }
    }

    fn publish(&mut self, effects: Vec<Effect>, snapshot: Snapshot) {
        *self.shell.snapshot.borrow_mut() = snapshot;
        for effect in effects {
            match effect {
                Effect::Answer(call, answer) => {
                    let waits = self.waiting.remove(&call);
                    self.shell.unanswered.set(self.waiting.len());
                    match waits {
                        Some(reply) => reply.send(answer),
                        None => self.shell.world.see(&Seen::AnsweredTwice),
                    }
                }
                effect => self.shell.carry_out(effect),
            }
        }
    }
}

/// The future's outcome if it is wanted just now; never, if not.
async fn when<T>(wanted: bool, future: impl Future<Output = T>) -> T {
    match wanted {
        true => future.await,
        false => std::future::pending().await,
    }
}

/// Waits for the commit under way; for ever if there is none.
async fn finished(commit: &mut Option<Commit>) -> Result<(), CommitError> {
    match commit {
        Some(commit) => match (&mut commit.done).await {
            Ok(outcome) => outcome,
            Err(Gone) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Commits a batch; the identical batch again for a while if that fails.
async fn commit(shell: &Rc<MasterShell>, records: Rc<Vec<Record>>) -> Result<(), CommitError> {
    let world = &shell.world;
    let began_ms = world.sim.now_ms();
    let mut pause_ms = 50;
    loop {
        let failure = match world.commit(&records).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let may_retry = failure == CommitError::Failed;
        if !may_retry || world.sim.now_ms() - began_ms > GIVE_UP_AFTER_MS {
            return Err(failure);
        }
        world.sim.sleep(pause_ms).await;
        pause_ms = (pause_ms * 2).min(2_000);
    }
}
