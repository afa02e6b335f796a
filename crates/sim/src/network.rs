//! The network between master and workers: connections that are made, break and are made anew, and
//! calls over them that arrive late, twice or not at all.
//!
//! It is modelled as the real shells meet it. What matters about a call that failed is whether it may
//! have arrived: where no connection could be made it has not ([`CallError::NotConnected`]), after
//! anything else it may have.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use crate::{
    chance::Chance,
    plan::FaultKind,
    time::{Process, Receiver, Sender, oneshot},
    world::World,
};

/// How long it is tried to make a connection.
const CONNECT_LIMIT_MS: u64 = 5_000;
/// How long a connection lives whose other end doesn't answer: keep-alive of both shells.
const KEEP_ALIVE_MS: u64 = 15_000;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection could be made: nothing was sent.
    #[error("no connection: {0}")]
    NotConnected(&'static str),
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// No answer came in time.
    #[error("no answer came in time")]
    Late,
}

/// Who calls whom, and over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The worker at one end; the master is at the other.
    pub worker: usize,
    /// Whether the master calls.
    pub to_worker: bool,
}

/// Names a message, so that chance is its own: its kind and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageName {
    /// Its kind.
    pub kind: &'static str,
    /// What it is about.
    pub about: String,
}

/// What became of a call's request at the other end.
type Arrive<A> = Rc<dyn Fn(Sender<A>)>;

/// See the module.
pub struct Network {
    /// Never killed: messages under way outlive who sent them.
    process: Process,
    /// Over which start of each end a way has its connection.
    connections: RefCell<BTreeMap<Way, (u64, u64)>>,
    sent: RefCell<BTreeMap<(Way, MessageName), u64>>,
    /// Messages by what became of them.
    pub lost: Cell<u64>,
    /// See [`Self::lost`].
    pub duplicated: Cell<u64>,
    /// See [`Self::lost`].
    pub delivered: Cell<u64>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            process: Process::start(),
            connections: RefCell::default(),
            sent: RefCell::default(),
            lost: Cell::default(),
            duplicated: Cell::default(),
            delivered: Cell::default(),
        }
    }
}

impl Network {
    fn count_lost(&self) {
        self.lost.set(self.lost.get() + 1);
    }
}

/// What becomes of one message.
enum Fate {
    Arrives {
        after_ms: u64,
        again_ms: Option<u64>,
    },
    /// It waits in the sender's machine until the way is open again.
    Held {
        after_ms: u64,
    },
    Lost,
}

impl World {
    /// Makes a call. `arrive` hands the request to whoever serves it, each time that it arrives.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<A: 'static>(
        self: &Rc<Self>,
        way: Way,
        name: MessageName,
        limit_ms: u64,
        arrive: Arrive<A>,
    ) -> Result<A, CallError> {
        let chance = self.message_chance(way, &name);
        self.connect(way, chance.of("connect")).await?;
        let (answer, answered) = oneshot();
        self.spawn_exchange(way, chance, arrive, answer);
        let outcome = self.sim.within(limit_ms, answered).await;
        match outcome {
            Some(Ok(Ok(answer))) => Ok(answer),
            Some(Ok(Err(error))) => {
                self.network.connections.borrow_mut().remove(&way);
                Err(error)
            }
            Some(Err(_)) | None => {
                self.network.connections.borrow_mut().remove(&way);
                Err(CallError::Late)
            }
        }
    }

    fn message_chance(&self, way: Way, name: &MessageName) -> Chance {
        let mut sent = self.network.sent.borrow_mut();
        let count = sent.entry((way, name.clone())).or_default();
        *count += 1;
        let chance = self.chance.of("message").nth(way.worker as u64);
        let chance = chance.nth(u64::from(way.to_worker));
        chance.of(name.kind).of(&name.about).nth(*count)
    }

    /// The starts of both ends of a way, the caller's first; `None` where one is down.
    fn ends(&self, way: Way) -> (u64, Option<u64>) {
        let worker = &self.workers[way.worker].life;
        let (caller, called) = match way.to_worker {
            true => (&self.master.life, worker),
            false => (worker, &self.master.life),
        };
        let called_runs = called.is_running().then(|| called.start());
        (caller.start(), called_runs)
    }

    async fn connect(&self, way: Way, mut chance: Chance) -> Result<(), CallError> {
        let (caller, _) = self.ends(way);
        let known = self.network.connections.borrow().get(&way).copied();
        if known.is_some_and(|(of_caller, _)| of_caller == caller) {
            return Ok(());
        }
        let open = |conditions: &crate::conditions::Conditions| {
            !conditions.is_cut(way.worker, true) && !conditions.is_cut(way.worker, false)
        };
        let opened = self.conditions.wait_until(open);
        if self.sim.within(CONNECT_LIMIT_MS, opened).await.is_none() {
            self.cut_bites(way.worker);
            return Err(CallError::NotConnected("no route"));
        }
        self.sim.sleep(chance.between(1, 3)).await;
        let (caller, called) = self.ends(way);
        let called = called.ok_or(CallError::NotConnected("connection refused"))?;
        let mut connections = self.network.connections.borrow_mut();
        connections.insert(way, (caller, called));
        Ok(())
    }

    /// Takes the request there and the answer back, whoever of the two ends dies meanwhile.
    fn spawn_exchange<A: 'static>(
        self: &Rc<Self>,
        way: Way,
        chance: Chance,
        arrive: Arrive<A>,
        answer: Sender<Result<A, CallError>>,
    ) {
        let called = self
            .network
            .connections
            .borrow()
            .get(&way)
            .map(|(_, to)| *to);
        let answer = Rc::new(RefCell::new(Some(answer)));
        let there = self.fate(way.worker, way.to_worker, chance.of("there"));
        let (first_ms, again_ms) = match there {
            Fate::Lost => {
                self.network.count_lost();
                // The caller learns of it by waiting in vain.
                self.keep_waiting(answer);
                return;
            }
            Fate::Held { after_ms } => (after_ms, None),
            Fate::Arrives { after_ms, again_ms } => (after_ms, again_ms),
        };
        let held = matches!(there, Fate::Held { .. });
        for (copy, after_ms) in (0..).zip([Some(first_ms), again_ms]) {
            let Some(after_ms) = after_ms else { continue };
            if copy > 0 {
                self.network
                    .duplicated
                    .set(self.network.duplicated.get() + 1);
            }
            let (world, arrive, answer) = (self.clone(), arrive.clone(), answer.clone());
            let back = chance.of("back").nth(copy);
            self.sim.spawn(&self.network.process, async move {
                if held && !world.opens(way.worker, way.to_worker).await {
                    world.network.count_lost();
                    return world.keep_waiting(answer);
                }
                world.sim.sleep(after_ms).await;
                let outcome = match world.ends(way).1 == called {
                    true => {
                        world
                            .network
                            .delivered
                            .set(world.network.delivered.get() + 1);
                        let (reply, replied) = oneshot();
                        arrive(reply);
                        world.come_back(way, back, replied).await
                    }
                    // Another program listens there now, or none: it knows nothing of the call.
                    false => world.broken(way).await,
                };
                let Some(outcome) = outcome else {
                    // The answer to another copy of it may come still.
                    return world.keep_waiting(answer);
                };
                let waiting = answer.borrow_mut().take();
                if let Some(waiting) = waiting {
                    waiting.send(outcome);
                }
            });
        }
    }

    /// Waits for the answer at the called end and takes it back; `None`: it never comes.
    async fn come_back<A>(
        &self,
        way: Way,
        chance: Chance,
        replied: Receiver<A>,
    ) -> Option<Result<A, CallError>> {
        let Ok(reply) = replied.await else {
            return self.broken(way).await;
        };
        match self.fate(way.worker, !way.to_worker, chance) {
            Fate::Arrives { after_ms, .. } => self.sim.sleep(after_ms).await,
            Fate::Held { after_ms } => {
                if !self.opens(way.worker, !way.to_worker).await {
                    self.network.count_lost();
                    return None;
                }
                self.sim.sleep(after_ms).await;
            }
            Fate::Lost => {
                self.network.count_lost();
                return None;
            }
        }
        Some(Ok(reply))
    }

    /// The called end has died: its machine says so, if it is heard.
    async fn broken<A>(&self, way: Way) -> Option<Result<A, CallError>> {
        if self.conditions.is_cut(way.worker, !way.to_worker) {
            return None;
        }
        self.sim.sleep(2).await;
        Some(Err(CallError::Broken))
    }

    async fn opens(&self, worker: usize, to_worker: bool) -> bool {
        let open = self
            .conditions
            .wait_until(|conditions| !conditions.is_cut(worker, to_worker));
        self.sim.within(KEEP_ALIVE_MS, open).await.is_some()
    }

    /// Holds on to the way back for as long as anybody could wait for it: dropping it would tell.
    fn keep_waiting<A: 'static>(&self, answer: Rc<RefCell<Option<Sender<A>>>>) {
        let sim = self.sim.clone();
        self.sim.spawn(&self.network.process, async move {
            sim.sleep(120_000).await;
            drop(answer);
        });
    }

    fn cut_bites(&self, worker: usize) {
        let kinds = [FaultKind::Partition, FaultKind::PartitionOneWay];
        for kind in kinds {
            if self.conditions.is(kind, Some(worker)) {
                self.bites(kind);
            }
        }
    }

    fn fate(&self, worker: usize, to_worker: bool, mut chance: Chance) -> Fate {
        let conditions = &self.conditions;
        let strength = |kind| conditions.strength(kind, Some(worker));
        let mut after_ms = chance.between(1, 4) + chance.between(0, strength(FaultKind::Delay));
        let overtaken = chance.percent(30);
        let late_ms = chance.between(0, strength(FaultKind::Reorder));
        if overtaken {
            after_ms += late_ms;
        }
        let lost = chance.percent(conditions.percent(FaultKind::Loss, Some(worker)));
        let twice = chance.percent(conditions.percent(FaultKind::Duplication, Some(worker)));
        let most_ms = chance.pick(&[500, 2_000, 9_000]);
        let again_ms = after_ms + chance.between(0, most_ms);
        let kept = chance.percent(50);
        if after_ms > 4 && strength(FaultKind::Delay) > 0 {
            self.bites(FaultKind::Delay);
        }
        if overtaken && late_ms > 0 {
            self.bites(FaultKind::Reorder);
        }
        if conditions.is_cut(worker, to_worker) {
            self.cut_bites(worker);
            return if kept {
                Fate::Held { after_ms }
            } else {
                Fate::Lost
            };
        }
        if lost {
            self.bites(FaultKind::Loss);
            return Fate::Lost;
        }
        if twice {
            self.bites(FaultKind::Duplication);
        }
        Fate::Arrives {
            after_ms,
            again_ms: twice.then_some(again_ms),
        }
    }
}
