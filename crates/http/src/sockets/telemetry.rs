//! Watching workers: who draws the pictures, and who looks at them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::extract::ws::Utf8Bytes;
use cloudai_core::{Event, Snapshot};
use cloudai_model::{Now, WorkerId};
use tokio::{
    sync::{Notify, broadcast, watch},
    time::sleep,
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
    is_drawing: AtomicBool,
    wanted: Notify,
}

impl Pictures {
    /// Nothing is drawn before somebody looks.
    pub(super) fn new(scene: Arc<dyn Scene>) -> Self {
        Self(Arc::new(Shared {
            scene,
            latest: watch::Sender::default(),
            is_drawing: AtomicBool::new(false),
            wanted: Notify::new(),
        }))
    }

    /// Somebody looks: at all workers, or at one.
    pub(super) fn watch(&self, of: Option<WorkerId>) -> Watcher {
        let latest = self.0.latest.subscribe();
        if !self.0.is_drawing.swap(true, Ordering::Relaxed) {
            let shared = self.0.clone();
            tokio::spawn(async move { shared.keep_drawing().await });
        }
        // For the first one that looks after a while the last picture is old.
        self.0.draw();
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
        let (snapshot, now) = (self.scene.snapshot(), self.scene.now());
        self.latest.send_if_modified(|picture| {
            let next = picture.next(&snapshot, now);
            let is_new = next.is_some();
            if let Some(next) = next {
                *picture = Arc::new(next);
            }
            is_new
        });
    }

    async fn keep_drawing(&self) {
        let mut events = self.scene.events();
        loop {
            if self.latest.receiver_count() == 0 {
                self.wanted.notified().await;
                events = self.scene.events();
            }
            // How much was missed does not matter: something has changed.
            if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                return;
            }
            self.draw();
            sleep(PACE).await;
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
