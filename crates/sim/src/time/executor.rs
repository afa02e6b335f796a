//! Runs futures on one thread in simulated time.
//!
//! What is ready runs in the order in which it became ready; when nothing is, time jumps to the next
//! timer. There is no other order and no other clock, so a run is the same each time. The shells of
//! the simulation are written as the real ones are, with `async` and `await`, and that a process is
//! killed means that its futures are dropped wherever they stand.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// The executor. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sim(Rc<Inner>);

#[derive(Default)]
struct Inner {
    now_ms: Cell<u64>,
    last_id: Cell<u64>,
    ready: Ready,
    /// By when they are due, then by when they were set.
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    halted: Cell<bool>,
}

/// Nothing needs so many turns at one instant.
const MOST_AT_ONCE: u64 = 1_000_000;

type Ready = Arc<Mutex<VecDeque<u64>>>;
type BoxedFuture = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    /// `None` while it is being polled.
    future: Option<BoxedFuture>,
    process: Process,
    waker: Waker,
    alarm: Arc<Alarm>,
}

/// Puts a task on the list of those that are ready, once.
struct Alarm {
    task: u64,
    rung: AtomicBool,
    ready: Ready,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            lock(&self.ready).push_back(self.task);
        }
    }
}

fn lock(ready: &Ready) -> std::sync::MutexGuard<'_, VecDeque<u64>> {
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tasks that live and die together. Cheap to clone.
#[derive(Clone)]
pub struct Process(Rc<ProcessState>);

struct ProcessState {
    alive: Cell<bool>,
    paused: Cell<bool>,
    tasks: RefCell<BTreeSet<u64>>,
    /// What became ready while it was paused.
    held_back: RefCell<Vec<u64>>,
}

impl Process {
    /// One that runs.
    #[must_use]
    pub fn start() -> Self {
        Self(Rc::new(ProcessState {
            alive: Cell::new(true),
            paused: Cell::new(false),
            tasks: RefCell::default(),
            held_back: RefCell::default(),
        }))
    }

    /// Whether it was not killed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.alive.get()
    }
}

impl Sim {
    /// Milliseconds since the run began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.0.now_ms.get()
    }

    /// Runs a future as a part of a process.
    pub fn spawn(&self, process: &Process, future: impl Future<Output = ()> + 'static) {
        if !process.is_alive() {
            return;
        }
        let id = self.fresh_id();
        let alarm = Arc::new(Alarm {
            task: id,
            rung: AtomicBool::new(false),
            ready: self.0.ready.clone(),
        });
        let task = Task {
            future: Some(Box::pin(future)),
            process: process.clone(),
            waker: alarm.clone().into(),
            alarm,
        };
        process.0.tasks.borrow_mut().insert(id);
        task.waker.wake_by_ref();
        self.0.tasks.borrow_mut().insert(id, task);
    }

    /// Kills a process: its futures are dropped where they stand.
    pub fn kill(&self, process: &Process) {
        process.0.alive.set(false);
        let ids = std::mem::take(&mut *process.0.tasks.borrow_mut());
        let mut dropped = Vec::new();
        for id in ids {
            dropped.extend(self.0.tasks.borrow_mut().remove(&id));
        }
        // Here, when nothing is borrowed: what they held may wake others.
        drop(dropped);
    }

    /// Stops a process as SIGSTOP does: time goes on without it.
    pub fn pause(&self, process: &Process) {
        process.0.paused.set(true);
    }

    /// Lets a paused process go on.
    pub fn resume(&self, process: &Process) {
        process.0.paused.set(false);
        let held_back = std::mem::take(&mut *process.0.held_back.borrow_mut());
        lock(&self.0.ready).extend(held_back);
    }

    /// Waits so long.
    #[must_use]
    pub fn sleep(&self, span_ms: u64) -> Sleep {
        self.sleep_until(self.now_ms().saturating_add(span_ms))
    }

    /// Waits until then; not at all if that is past.
    #[must_use]
    pub fn sleep_until(&self, at_ms: u64) -> Sleep {
        Sleep {
            sim: self.clone(),
            at_ms,
            timer: None,
        }
    }

    /// The future's outcome if it has one within this time.
    pub async fn within<T>(&self, span_ms: u64, future: impl Future<Output = T>) -> Option<T> {
        match first(future, self.sleep(span_ms)).await {
            First::One(value) => Some(value),
            First::Other(()) => None,
        }
    }

    /// Ends the run after what is being polled just now.
    pub fn halt(&self) {
        self.0.halted.set(true);
    }

    /// Runs until it is halted, or nothing is left to wait for.
    ///
    /// # Panics
    /// If so much happens at one instant that it never seems to pass.
    pub fn run(&self) {
        let mut at_this_instant = (0, 0);
        while !self.0.halted.get() {
            let next = lock(&self.0.ready).pop_front();
            match next {
                Some(id) => self.poll(id),
                None if !self.jump() => return,
                None => {}
            }
            let now_ms = self.now_ms();
            at_this_instant = match at_this_instant {
                (instant, count) if instant == now_ms => (instant, count + 1),
                _ => (now_ms, 0),
            };
            let (_, count) = at_this_instant;
            assert!(count < MOST_AT_ONCE, "time stands still at {now_ms} ms");
        }
    }

    /// Drops everything that is left. What is left refers to each other in circles.
    pub fn clear(&self) {
        let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
        drop(tasks);
        let timers = std::mem::take(&mut *self.0.timers.borrow_mut());
        drop(timers);
    }

    /// Goes to the next timer; whether there was one.
    fn jump(&self) -> bool {
        let due = self.0.timers.borrow_mut().pop_first();
        let Some(((at_ms, _), waker)) = due else {
            return false;
        };
        self.0.now_ms.set(at_ms.max(self.now_ms()));
        waker.wake();
        true
    }

    fn poll(&self, id: u64) {
        let taken = {
            let mut tasks = self.0.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(&id) else {
                return;
            };
            if task.process.0.paused.get() {
                task.process.0.held_back.borrow_mut().push(id);
                return;
            }
            task.alarm.rung.store(false, Ordering::Relaxed);
            (task.future.take(), task.waker.clone())
        };
        let (Some(mut future), waker) = taken else {
            return;
        };
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let over = {
            let mut tasks = self.0.tasks.borrow_mut();
            match (polled, tasks.get_mut(&id)) {
                (Poll::Pending, Some(task)) => {
                    task.future = Some(future);
                    return;
                }
                // It was killed over its own doing.
                (_, None) => None,
                (Poll::Ready(()), Some(_)) => tasks.remove(&id),
            }
        };
        if let Some(task) = over {
            task.process.0.tasks.borrow_mut().remove(&id);
        }
    }

    fn fresh_id(&self) -> u64 {
        let id = self.0.last_id.get() + 1;
        self.0.last_id.set(id);
        id
    }
}

/// See [`Sim::sleep`].
pub struct Sleep {
    sim: Sim,
    at_ms: u64,
    timer: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.sim.now_ms() >= self.at_ms {
            return Poll::Ready(());
        }
        let key = match self.timer {
            Some(key) => key,
            None => (self.at_ms, self.sim.fresh_id()),
        };
        self.timer = Some(key);
        let mut timers = self.sim.0.timers.borrow_mut();
        timers.insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.timer
            && let Ok(mut timers) = self.sim.0.timers.try_borrow_mut()
        {
            timers.remove(&key);
        }
    }
}

/// Whichever of two futures came first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First<A, B> {
    /// The one.
    One(A),
    /// The other.
    Other(B),
}

/// Waits for the first of two; if both are there, it is the one.
pub async fn first<A, B>(
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> First<A, B> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| {
        if let Poll::Ready(value) = one.as_mut().poll(context) {
            return Poll::Ready(First::One(value));
        }
        other.as_mut().poll(context).map(First::Other)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(said: &Rc<RefCell<Vec<(u64, &'static str)>>>, sim: &Sim, what: &'static str) {
        said.borrow_mut().push((sim.now_ms(), what));
    }

    #[test]
    fn time_jumps_to_whoever_is_due_next() {
        let (sim, said) = (Sim::default(), Rc::default());
        let process = Process::start();
        for (span_ms, what) in [(20, "late"), (5, "early"), (5, "early, set later")] {
            let (sim_there, said) = (sim.clone(), Rc::clone(&said));
            sim.spawn(&process, async move {
                sim_there.sleep(span_ms).await;
                note(&said, &sim_there, what);
            });
        }
        sim.run();
        let expected = [(5, "early"), (5, "early, set later"), (20, "late")];
        assert_eq!(*said.borrow(), expected);
    }

    #[test]
    fn what_is_killed_does_nothing_more_and_what_is_paused_does_it_later() {
        let (sim, said) = (Sim::default(), Rc::default());
        let (killed, paused, world) = (Process::start(), Process::start(), Process::start());
        for (process, what) in [(&killed, "killed"), (&paused, "paused")] {
            let (sim_there, said) = (sim.clone(), Rc::clone(&said));
            sim.spawn(process, async move {
                sim_there.sleep(10).await;
                note(&said, &sim_there, what);
            });
        }
        let sim_there = sim.clone();
        sim.spawn(&world, async move {
            sim_there.sleep(5).await;
            sim_there.kill(&killed);
            sim_there.pause(&paused);
            sim_there.sleep(95).await;
            sim_there.resume(&paused);
        });
        sim.run();
        assert_eq!(*said.borrow(), [(100, "paused")]);
    }

    #[test]
    fn of_two_that_are_there_the_one_comes_first() {
        let (sim, said) = (Sim::default(), Rc::new(RefCell::default()));
        let (sim_there, said_there) = (sim.clone(), Rc::clone(&said));
        sim.spawn(&Process::start(), async move {
            let came = first(sim_there.sleep(5), sim_there.sleep(5)).await;
            assert_eq!(came, First::One(()));
            let came = sim_there.within(5, sim_there.sleep(6)).await;
            assert_eq!(came, None);
            note(&said_there, &sim_there, "over");
        });
        sim.run();
        assert_eq!(*said.borrow(), [(10, "over")]);
    }
}
