//! Watching workers: who draws the pictures, and who looks at them.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::extract::ws::Utf8Bytes;
use cloudai_core::{Event, Snapshot};
use cloudai_model::{Now, WorkerId};
use tokio::{
    sync::{Notify, broadcast, watch},
    time::{Instant, sleep},
};

use super::{
    picture::Picture,
    session::{Ended, Source},
};

/// At most one picture in so long: what changes meanwhile is in the next.
const PACE: Duration = Duration::from_millis(500);

/// Where pictures are drawn from.
pub(super) trait Scene: Send + Sync + 'static {
    /// The cluster as it is.
    fn snapshot(&self) -> Arc<Snapshot>;
    /// What time it is.
    fn now(&self) -> Now;
    /// When to look again.
    fn events(&self) -> broadcast::Receiver<Event>;
}

/// The pictures of one master. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pictures(Arc<Shared>);

struct Shared {
    scene: Arc<dyn Scene>,
    latest: watch::Sender<Arc<Picture>>,
    /// When somebody drew last.
    drawn: Mutex<Option<Instant>>,
    is_drawing: AtomicBool,
    /// Wakes whoever draws: somebody looks, or nobody will any more.
    wanted: Arc<Notify>,
}

impl Pictures {
    /// Nothing is drawn before somebody looks.
    pub(super) fn new(scene: Arc<dyn Scene>) -> Self {
        Self(Arc::new(Shared {
            scene,
            latest: watch::Sender::default(),
            drawn: Mutex::default(),
            is_drawing: AtomicBool::new(false),
            wanted: Arc::default(),
        }))
    }

    /// Somebody looks: at all workers, or at one.
    pub(super) fn watch(&self, of: Option<WorkerId>) -> Watcher {
        let latest = self.0.latest.subscribe();
        if !self.0.is_drawing.swap(true, Ordering::Relaxed) {
            let (shared, wanted) = (Arc::downgrade(&self.0), self.0.wanted.clone());
            tokio::spawn(keep_drawing(shared, wanted));
        }
        // For the first one that looks after a while the last picture is old; and one that was
        // registered in this moment may not be in it yet. Else it is as new as anybody's.
        let lacks = |worker: &WorkerId| latest.borrow().worker(worker).is_none();
        if self.0.rest().is_zero() || of.as_ref().is_some_and(lacks) {
            self.0.draw();
        }
        self.0.wanted.notify_one();
        Watcher {
            latest,
            of,
            seen: None,
        }
    }
}

impl Shared {
    fn draw(&self) {
        self.latest.send_if_modified(|picture| {
            // Looked at here, where one draws at a time: what was seen before somebody else drew would
            // lead back.
            let (snapshot, now) = (self.scene.snapshot(), self.scene.now());
            let next = picture.next(&snapshot, now);
            let is_new = next.is_some();
            if let Some(next) = next {
                *picture = Arc::new(next);
            }
            is_new
        });
        *self.drawn.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long the last picture is new enough.
    fn rest(&self) -> Duration {
        let drawn = *self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.map_or(Duration::ZERO, |drawn| PACE.saturating_sub(drawn.elapsed()))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.wanted.notify_one();
    }
}

/// Draws what has changed while somebody looks, for as long as there are pictures.
async fn keep_drawing(shared: Weak<Shared>, wanted: Arc<Notify>) {
    while let Some(now) = shared.upgrade() {
        if now.latest.receiver_count() == 0 {
            drop(now);
            wanted.notified().await;
            continue;
        }
        let mut events = now.scene.events();
        let rest = now.rest();
        drop(now);
        sleep(rest).await;
        let is_watched = |now: &Arc<Shared>| now.latest.receiver_count() > 0;
        while let Some(now) = shared.upgrade().filter(is_watched) {
            now.draw();
            drop(now);
            sleep(PACE).await;
            // How much was missed does not matter: something has changed.
            if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                return;
            }
        }
    }
}

/// Somebody who looks.
pub(super) struct Watcher {
    latest: watch::Receiver<Arc<Picture>>,
    of: Option<WorkerId>,
    /// Which picture was sent last.
    seen: Option<u64>,
}

impl Watcher {
    /// What is to be sent of the newest picture.
    fn look(&mut self) -> Result<Option<Utf8Bytes>, Ended> {
        let picture = self.latest.borrow_and_update().clone();
        let seen = self.seen.replace(picture.version);
        let Some(worker) = &self.of else {
            return Ok(match seen {
                Some(seen) if seen == picture.version => None,
                Some(seen) if seen + 1 == picture.version => Some(picture.changes()),
                _ => Some(picture.whole()),
            });
        };
        let drawn = picture.worker(worker).ok_or(Ended::Gone)?;
        let is_new = seen.is_none_or(|seen| drawn.version > seen);
        Ok(is_new.then(|| picture.alone(drawn, seen.is_none())))
    }
}

impl Source for Watcher {
    async fn next(&mut self) -> Result<Utf8Bytes, Ended> {
        loop {
            if self.seen.is_some() && self.latest.changed().await.is_err() {
                return Err(Ended::ShuttingDown);
            }
            if let Some(message) = self.look()? {
                return Ok(message);
            }
        }
    }
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
