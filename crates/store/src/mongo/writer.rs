//! The one task that writes: it owns the committer and takes whole batches. A batch that it has
//! begun it brings to an end, whether or not the caller still waits.

use std::sync::{Arc, Mutex, PoisonError};

use cloudai_model::record::Record;
use tokio::sync::{mpsc, oneshot};

use super::commit::Committer;
use crate::CommitError;

/// Batches that may wait; the caller normally has one under way.
const WAITING_BATCHES: usize = 16;

type Reply = oneshot::Sender<Result<(), CommitError>>;
type Request = (Arc<Vec<Record>>, Reply);

/// The way to the writing task. It ends when this is dropped, after what was sent to it.
pub(super) struct Writer {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    ended: tokio::sync::watch::Receiver<()>,
}

impl Writer {
    pub(super) fn start(mut committer: Committer) -> Self {
        let (requests, mut waiting) = mpsc::channel::<Request>(WAITING_BATCHES);
        let (ends, ended) = tokio::sync::watch::channel(());
        tokio::spawn(async move {
            while let Some((batch, reply)) = waiting.recv().await {
                let outcome = committer.commit(&batch).await;
                // Whoever stopped waiting has no use for the answer.
                let _ = reply.send(outcome);
            }
            drop(ends);
        });
        Self {
            requests: Mutex::new(Some(requests)),
            ended,
        }
    }

    pub(super) async fn commit(&self, batch: Arc<Vec<Record>>) -> Result<(), CommitError> {
        let requests = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or(CommitError::Closed)?;
        let (reply, answer) = oneshot::channel();
        requests
            .send((batch, reply))
            .await
            .map_err(|_| CommitError::Closed)?;
        answer.await.map_err(|_| CommitError::Closed)?
    }

    /// Takes nothing more, and waits for what was sent before.
    pub(super) async fn close(&self) {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // It never sends: this returns when the other end is dropped.
        let _ = self.ended.clone().changed().await;
    }
}
