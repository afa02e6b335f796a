//! The one loop that owns the core.
//!
//! It steps through whatever inputs have piled up, hands all their records to the store as one
//! commit, and steps on while that commit is under way. Every effect leaves only after the flush
//! of the records written before it, so load makes batches larger, not waits longer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cloudai_core::{Answer, Call, Core, Effect, Input, Snapshot, registry::Registry};
use cloudai_model::{
    Mono, Now, TaskId, UserLimits, UserName,
    account::{AccountChange, UserRecord},
    record::{Record, TaskRecord},
};
use cloudai_store::{CommitError, ReadError, Store};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{error, warn};

use crate::{room::Room, snapshot::Snapshots};

/// How often the core is told that time has passed.
const TICK: Duration = Duration::from_millis(250);
/// A commit that takes longer keeps everybody waiting.
const STUCK: Duration = Duration::from_secs(1);
/// Inputs that may wait for the loop; a caller beyond waits to hand its input in.
const INBOX: usize = 16_384;
/// Inputs stepped through before the loop looks at its commit again.
const STRIDE: usize = 512;
/// Effects that may pile up behind a commit before inputs must wait.
const MOST_HELD_BACK: usize = 200_000;
/// How long one batch is tried before the process gives up: the core has run ahead of the store
/// and can't be rolled back. For room on a disk it waits as long as it takes: an end of the process
/// would make none, and take away from people what can still be read.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// After a database that has just been there is away.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a batch still waits for room once the master is to end.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The loop has ended: the master is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the master is shutting down")]
pub struct Stopped;

/// Why records of the shell's own were not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// Nothing is written before the store has been read.
    #[error("the store is still being read: try again in a moment")]
    NotReady,
    /// The loop has ended. It is not known whether they were kept.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

type MakeInput = Box<dyn FnOnce(Call) -> Input + Send>;

enum Message {
    Input(Input),
    Call(MakeInput, oneshot::Sender<Answer>),
    Keep(Vec<Record>, oneshot::Sender<Result<(), KeepError>>),
    Stop,
}

/// The way to the core, for everybody else.
#[derive(Clone)]
pub struct CoreHandle {
    inbox: mpsc::Sender<Message>,
}

impl CoreHandle {
    /// Hands in what needs no answer.
    ///
    /// # Errors
    /// If the loop has ended.
    pub async fn tell(&self, input: Input) -> Result<(), Stopped> {
        self.inbox
            .send(Message::Input(input))
            .await
            .map_err(|_| Stopped)
    }

    /// Hands in a call and waits for its answer, which comes when what it rests on is flushed.
    ///
    /// # Errors
    /// If the loop ended before it answered.
    pub async fn call(
        &self,
        input: impl FnOnce(Call) -> Input + Send + 'static,
    ) -> Result<Answer, Stopped> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Call(Box::new(input), reply);
        self.inbox.send(message).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Has records of the shell's own committed, behind what the core has written so far and in the
    /// order of these calls; returns when they are flushed. All of one call are in one batch, beside
    /// what else is in it. They are nothing that the core knows of, such as accounts, and nothing that
    /// a store refuses: what it refuses for good ends the master.
    ///
    /// # Errors
    /// See [`KeepError`].
    pub async fn keep(&self, records: Vec<Record>) -> Result<(), KeepError> {
        debug_assert!(
            records.iter().all(|it| matches!(it, Record::Account(_))),
            "all else is the core's"
        );
        let (reply, kept) = oneshot::channel();
        let message = Message::Keep(records, reply);
        self.inbox.send(message).await.map_err(|_| Stopped)?;
        kept.await.map_err(|_| Stopped)?
    }

    /// Asks the loop to flush what it has and end.
    pub async fn stop(&self) {
        // If it has ended already, that is what was wanted.
        let _ = self.inbox.send(Message::Stop).await;
    }
}

/// Why the loop ended before it was asked to. The process must end with it.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The store can't be read: nothing was changed.
    #[error("the store can't be read")]
    Read(#[from] ReadError),
    /// A batch can't be written.
    #[error(
        "the store can't be written; what was answered is safe, and a start goes on from there"
    )]
    Commit(#[from] CommitError),
}

/// A loop that runs.
pub struct Started {
    /// The way to its core.
    pub core: CoreHandle,
    /// Its end.
    pub ended: JoinHandle<Result<(), LoopError>>,
    /// Resolves when the store has been read; with an error if the loop ended before.
    pub ready: oneshot::Receiver<()>,
}

/// Whoever carries the effects out.
pub trait Effects: Send + 'static {
    /// A task is about to be stored: its assignment may follow.
    fn added(&mut self, task: &TaskRecord);

    /// What was asked for of a task is about to be stored anew.
    fn changed(&mut self, task: &TaskId);

    /// Carries out one effect that is neither a write nor an answer; must not wait.
    fn run(&mut self, effect: Effect);

    /// The core is about to take this in.
    fn takes(&mut self, _input: &Input) {}

    /// The core has decided all of this at one input, its workers stand so, and nothing of it has
    /// left yet. Whatever is counted is counted here, since here nothing is lost.
    fn decided(&mut self, _now: Now, _workers: &Registry, _effects: &[Effect]) {}

    /// The store has written so many records as one batch.
    fn committed(&mut self, _records: usize, _took: Duration) {}
}

/// Steps whose effects wait for their records to be flushed.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    effects: Vec<Effect>,
    /// Who waits for records of the shell's own.
    keeping: Vec<Keeping>,
}

type Keeping = oneshot::Sender<Result<(), KeepError>>;

impl Batch {
    fn take_in(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write(record) => self.records.push(record),
                effect => self.effects.push(effect),
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.effects.is_empty() && self.keeping.is_empty()
    }
}

struct Commit {
    done: JoinHandle<Result<(), CommitError>>,
    /// How many records it writes.
    records: usize,
    effects: Vec<Effect>,
    keeping: Vec<Keeping>,
    snapshot: Snapshot,
    /// When it began.
    since: Mono,
    /// The same, finer than a millisecond.
    began: Instant,
}

struct Loop<E> {
    core: Core,
    store: Arc<dyn Store>,
    effects: E,
    snapshots: Snapshots,
    room: Room,
    /// Whether the master is to end.
    ending: watch::Sender<bool>,
    waiting: BTreeMap<Call, oneshot::Sender<Answer>>,
    last_call: u64,
    gathering: Batch,
    commit: Option<Commit>,
    /// Whether the store has been read.
    is_read: bool,
    stopping: bool,
}

/// Starts the loop. It reads the store into the core first; until then every call is answered with
/// [`cloudai_core::NotReady`].
pub fn start<E: Effects>(
    core: Core,
    store: Arc<dyn Store>,
    effects: E,
    snapshots: Snapshots,
    room: Room,
) -> Started {
    let (sender, receiver) = mpsc::channel(INBOX);
    let (told, ready) = oneshot::channel();
    let this = Loop {
        core,
        store,
        effects,
        snapshots,
        room,
        ending: watch::Sender::new(false),
        waiting: BTreeMap::new(),
        last_call: 0,
        gathering: Batch::default(),
        commit: None,
        is_read: false,
        stopping: false,
    };
    Started {
        core: CoreHandle { inbox: sender },
        ended: tokio::spawn(this.run(receiver, told)),
        ready,
    }
}

impl<E: Effects> Loop<E> {
    /// Reads the store; whether it came to its end before the loop was asked to end. That may take
    /// long: a database may be out of reach.
    async fn read_store(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Result<bool, ReadError> {
        let (sink, mut chunks) = mpsc::channel::<Vec<Record>>(4);
        let store = self.store.clone();
        let load = tokio::spawn(async move {
            // Until it is dropped there may be more to come.
            let open = sink.clone();
            let highest = store.load(sink).await?;
            let users = read_users(&*store).await?;
            drop(open);
            Ok::<_, ReadError>((highest, users))
        });
        loop {
            tokio::select! {
                records = chunks.recv() => match records {
                    Some(records) => for record in records {
                        self.step(Input::Restore(Box::new(record)));
                    },
                    None => break,
                },
                Some(message) = inbox.recv() => self.take(message),
            }
            if self.stopping {
                load.abort();
                return Ok(false);
            }
            // Nothing is written before all has been read: these are answers alone.
            self.start_commit();
        }
        let (highest, users) = load.await.expect("reading the store does not panic")?;
        for UserRecord { user, limits, .. } in users {
            if limits != UserLimits::default() {
                self.step(Input::Limits { user, limits });
            }
        }
        self.step(Input::Restored {
            highest_task_number: highest.task_number,
            highest_order: highest.order,
        });
        self.is_read = true;
        // All of it is stored, but for the epoch, which no reader asks for.
        self.snapshots
            .publish(self.core.snapshot(cloudai_clock::now()));
        Ok(true)
    }

    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        ready: oneshot::Sender<()>,
    ) -> Result<(), LoopError> {
        if !self.read_store(&mut inbox).await? {
            return Ok(());
        }
        // Nobody may wait for it.
        let _ = ready.send(());
        let mut tick = ticker();
        loop {
            self.start_commit();
            if self.stopping && self.commit.is_none() {
                return Ok(());
            }
            let held_back = self.gathering.effects.len() + self.gathering.keeping.len();
            let open = !self.stopping && held_back < MOST_HELD_BACK;
            tokio::select! {
                biased;
                flushed = finished(&mut self.commit) => {
                    flushed?;
                    self.release();
                }
                // Who takes nothing in must not find that everybody is silent, either: the core
                // forgives a gap.
                _ = tick.tick(), if open && !self.is_stuck() => self.step(Input::Tick),
                message = inbox.recv(), if open => match message {
                    Some(message) => {
                        self.take(message);
                        for _ in 0..STRIDE {
                            let Ok(message) = inbox.try_recv() else { break };
                            self.take(message);
                        }
                    }
                    None => self.stop(),
                },
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
                self.step(make(call));
            }
            Message::Keep(records, reply) if self.is_read => {
                // With the record, so that what holds is what is kept last.
                for (user, limits) in records.iter().filter_map(limits_of) {
                    self.step(Input::Limits { user, limits });
                }
                self.gathering.records.extend(records);
                self.gathering.keeping.push(reply);
            }
            // Who asked may have gone away.
            Message::Keep(_, reply) => drop(reply.send(Err(KeepError::NotReady))),
            Message::Stop => self.stop(),
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.ending.send_replace(true);
    }

    fn step(&mut self, input: Input) {
        let (now, mut effects) = (cloudai_clock::now(), Vec::new());
        self.effects.takes(&input);
        self.core.step(now, input, &mut effects);
        self.effects.decided(now, self.core.registry(), &effects);
        for effect in &effects {
            match effect {
                Effect::Write(Record::TaskAdded(task)) => self.effects.added(task),
                Effect::Write(Record::SpecChanged(task, _)) => self.effects.changed(task),
                _ => {}
            }
        }
        self.gathering.take_in(effects);
    }

    /// Sends what has gathered to the store, unless a commit is under way.
    fn start_commit(&mut self) {
        if self.commit.is_some() || self.gathering.is_empty() {
            return;
        }
        let Batch {
            records,
            effects,
            keeping,
        } = std::mem::take(&mut self.gathering);
        let snapshot = self.core.snapshot(cloudai_clock::now());
        if records.is_empty() {
            // Nothing before it waits to be flushed, either: no commit is under way.
            self.publish(effects, keeping, snapshot);
            return;
        }
        let (store, count) = (self.store.clone(), records.len());
        let records = Arc::new(records);
        let (room, ending) = (self.room.clone(), self.ending.subscribe());
        let done = tokio::spawn(commit(store, records, room, ending));
        self.commit = Some(Commit {
            done,
            records: count,
            began: Instant::now(),
            since: cloudai_clock::now().mono,
            effects,
            keeping,
            snapshot,
        });
    }

    /// Whether the store has kept everybody waiting. Workers' calls are answered when it has written,
    /// and who gets no answer calls less often: that is no silence of theirs. Without ticks none is
    /// noticed, and the gap is forgiven.
    fn is_stuck(&self) -> bool {
        let commit = self.commit.as_ref();
        commit.is_some_and(|commit| cloudai_clock::now().mono.since(commit.since) > STUCK)
    }

    fn release(&mut self) {
        if let Some(commit) = self.commit.take() {
            let took = commit.began.elapsed();
            self.effects.committed(commit.records, took);
            self.publish(commit.effects, commit.keeping, commit.snapshot);
        }
    }

    fn publish(&mut self, effects: Vec<Effect>, keeping: Vec<Keeping>, snapshot: Snapshot) {
        self.snapshots.publish(snapshot);
        for reply in keeping {
            // Whoever went away doesn't want it.
            let _ = reply.send(Ok(()));
        }
        for effect in effects {
            match effect {
                Effect::Answer(call, answer) => {
                    if let Some(reply) = self.waiting.remove(&call) {
                        // A caller that went away doesn't want it.
                        let _ = reply.send(answer);
                    }
                }
                effect => self.effects.run(effect),
            }
        }
    }
}

/// What a user may have from now on, where a record says so.
fn limits_of(record: &Record) -> Option<(UserName, UserLimits)> {
    match record {
        Record::Account(AccountChange::User(user)) => Some((user.user.clone(), user.limits)),
        Record::Account(AccountChange::UserRemoved(user)) => {
            Some((user.clone(), UserLimits::default()))
        }
        _ => None,
    }
}

/// Who there is: before anything is placed it must be known what each may have.
async fn read_users(store: &dyn Store) -> Result<Vec<UserRecord>, ReadError> {
    loop {
        match store.accounts().await {
            Ok(accounts) => return Ok(accounts.users),
            // It was here a moment ago.
            Err(ReadError::OutOfReach { .. }) => sleep(AGAIN).await,
            Err(error) => return Err(error),
        }
    }
}

fn ticker() -> Interval {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// Waits for the commit under way; for ever if there is none.
async fn finished(commit: &mut Option<Commit>) -> Result<(), CommitError> {
    match commit {
        Some(commit) => (&mut commit.done).await.expect("a commit does not panic"),
        None => std::future::pending().await,
    }
}

/// Commits a batch; the identical batch again for a while if that fails, and for as long as it takes
/// if it is room that is missing.
async fn commit(
    store: Arc<dyn Store>,
    records: Arc<Vec<Record>>,
    room: Room,
    mut ending: watch::Receiver<bool>,
) -> Result<(), CommitError> {
    let mut began = cloudai_clock::now().mono;
    let mut pause = Duration::from_millis(50);
    loop {
        let failure = match store.commit(records.clone()).await {
            Ok(()) => {
                room.store_wrote();
                return Ok(());
            }
            Err(failure) => failure,
        };
        let is_here = failure.is_full_here() || (failure.may_retry() && room.store_disk_is_full());
        if is_here || failure.is_full() {
            // What this machine holds back makes no room on a database's own disk.
            if room.store_found_none(&failure, is_here) {
                continue;
            }
            began = cloudai_clock::now().mono;
            if *ending.borrow_and_update() || ending.has_changed().is_err() {
                sleep(LAST_WAIT).await;
                return store.commit(records).await;
            }
            // Either is a reason to look again.
            let _ = timeout(pause, ending.changed()).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            continue;
        }
        if !failure.may_retry() || cloudai_clock::now().mono.since(began) > GIVE_UP_AFTER {
            error!(
                error = &failure as &dyn std::error::Error,
                "the store can't be written"
            );
            return Err(failure);
        }
        warn!(
            error = &failure as &dyn std::error::Error,
            "the store can't be written, trying again"
        );
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

#[cfg(test)]
pub(crate) mod tests;
