//! What tasks hand to each other: one value once, many in a row, or the latest.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Whoever was to answer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("whoever was to answer is gone")]
pub struct Gone;

struct Once<T> {
    value: Option<T>,
    waker: Option<Waker>,
    gone: bool,
}

/// Sends one value.
pub struct Sender<T>(Rc<RefCell<Once<T>>>);

/// Waits for one value.
pub struct Receiver<T>(Rc<RefCell<Once<T>>>);

/// A way for one value.
#[must_use]
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let once = Rc::new(RefCell::new(Once {
        value: None,
        waker: None,
        gone: false,
    }));
    (Sender(once.clone()), Receiver(once))
}

impl<T> Sender<T> {
    /// Sends it. Nobody may want it any more.
    pub fn send(self, value: T) {
        self.0.borrow_mut().value = Some(value);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut once = self.0.borrow_mut();
            once.gone = true;
            once.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The value, if it is there already.
    #[must_use]
    pub fn try_take(&self) -> Option<T> {
        self.0.borrow_mut().value.take()
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Gone>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut once = self.0.borrow_mut();
        match once.value.take() {
            Some(value) => Poll::Ready(Ok(value)),
            None if once.gone => Poll::Ready(Err(Gone)),
            None => {
                once.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

struct Queue<T> {
    waiting: VecDeque<T>,
    waker: Option<Waker>,
    closed: bool,
}

/// Many values in a row, for one that takes them. Cheap to clone.
pub struct Inbox<T>(Rc<RefCell<Queue<T>>>);

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Queue {
            waiting: VecDeque::new(),
            waker: None,
            closed: false,
        })))
    }
}

impl<T> Inbox<T> {
    /// Puts one in, unless it is closed.
    pub fn send(&self, value: T) {
        let waker = {
            let mut queue = self.0.borrow_mut();
            if queue.closed {
                return;
            }
            queue.waiting.push_back(value);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nobody takes anything out any more: what is in it is dropped, and what comes later, too.
    pub fn close(&self) {
        let dropped = {
            let mut queue = self.0.borrow_mut();
            queue.closed = true;
            std::mem::take(&mut queue.waiting)
        };
        drop(dropped);
    }

    /// Takes the next out, if it is there.
    #[must_use]
    pub fn try_recv(&self) -> Option<T> {
        self.0.borrow_mut().waiting.pop_front()
    }

    /// Takes the next out.
    pub async fn recv(&self) -> T {
        poll_fn(|context| {
            let mut queue = self.0.borrow_mut();
            match queue.waiting.pop_front() {
                Some(value) => Poll::Ready(value),
                None => {
                    queue.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

struct Latest<T> {
    value: T,
    wakers: Vec<Waker>,
}

/// The latest value, for any number that wait for what they want to see. Cheap to clone.
pub struct Watch<T>(Rc<RefCell<Latest<T>>>);

impl<T> Clone for Watch<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> Watch<T> {
    /// One with this value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Rc::new(RefCell::new(Latest {
            value,
            wakers: Vec::new(),
        })))
    }

    /// The latest.
    #[must_use]
    pub fn get(&self) -> T {
        self.0.borrow().value.clone()
    }

    /// Puts another in its place.
    pub fn set(&self, value: T) {
        let wakers = {
            let mut latest = self.0.borrow_mut();
            latest.value = value;
            std::mem::take(&mut latest.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until the latest is one of which `wanted` makes something.
    pub async fn wait_for<R>(&self, wanted: impl Fn(&T) -> Option<R>) -> R {
        poll_fn(|context| {
            let mut latest = self.0.borrow_mut();
            match wanted(&latest.value) {
                Some(found) => Poll::Ready(found),
                None => {
                    let waker = context.waker();
                    if !latest.wakers.iter().any(|known| known.will_wake(waker)) {
                        latest.wakers.push(waker.clone());
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Process, Sim};

    #[test]
    fn what_was_sent_arrives_and_what_is_not_sent_any_more_is_gone() {
        let sim = Sim::default();
        let inbox = Inbox::default();
        let (sender, receiver) = oneshot::<u8>();
        let (dropped, never) = oneshot::<u8>();
        let watch = Watch::new(0);
        let (there, sim_there, seen) = (inbox.clone(), sim.clone(), watch.clone());
        sim.spawn(&Process::start(), async move {
            there.send(seen.wait_for(|value| (*value > 1).then_some("two")).await);
            assert_eq!(receiver.await, Ok(7));
            assert_eq!(never.await, Err(Gone));
            there.send("both");
        });
        sim.spawn(&Process::start(), async move {
            sim_there.sleep(1).await;
            watch.set(1);
            watch.set(2);
            sim_there.sleep(1).await;
            sender.send(7);
            drop(dropped);
        });
        sim.run();
        assert_eq!(inbox.try_recv(), Some("two"));
        assert_eq!(inbox.try_recv(), Some("both"));
        assert_eq!(inbox.try_recv(), None);
    }
}
