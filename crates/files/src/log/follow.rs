//! Following a log while it grows.
//!
//! The writer publishes how far the log reaches; watchers read the file at their own pace. So any
//! number of them cost the writer one store of two words, and a slow one delays nobody.

use tokio::sync::watch;

use super::{LogError, LogReader};

/// How far a log reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogExtent {
    /// Framed bytes that can be read. They may end within a frame.
    pub len: u64,
    /// Whether no more will come.
    pub sealed: bool,
}

/// Tells how far a log reaches, and when that changes.
#[derive(Debug, Clone)]
pub struct LogWatch(pub(super) watch::Receiver<LogExtent>);

impl LogWatch {
    /// How far the log reaches now.
    #[must_use]
    pub fn now(&self) -> LogExtent {
        let extent = *self.0.borrow();
        // A writer that went away without sealing adds nothing either.
        let gone = self.0.has_changed().is_err();
        LogExtent {
            len: extent.len,
            sealed: extent.sealed || gone,
        }
    }

    /// Waits until the log reaches beyond `offset`, or no more will come.
    pub async fn beyond(&mut self, offset: u64) -> LogExtent {
        // An error says that the writer is gone, which `now` reports.
        let _ = self
            .0
            .wait_for(|extent| extent.len > offset || extent.sealed)
            .await
            .is_ok();
        self.now()
    }
}

/// Reads a log from an offset on, to its end, waiting for what is yet to be written.
///
/// ```
/// # use cloudai_files::log::{LogError, LogFollower};
/// async fn copy(mut log: LogFollower, copy: &mut Vec<u8>) -> Result<(), LogError> {
///     while log.wait().await {
///         copy.extend(log.read(64 * 1024)?);
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct LogFollower {
    reader: LogReader,
    watch: LogWatch,
    offset: u64,
}

impl LogFollower {
    pub(super) fn new(reader: LogReader, watch: LogWatch, offset: u64) -> Self {
        Self {
            reader,
            watch,
            offset,
        }
    }

    /// Waits until there is something to read. `false`: the log is sealed and read to its end.
    ///
    /// May be dropped and called again without loss.
    pub async fn wait(&mut self) -> bool {
        self.watch.beyond(self.offset).await.len > self.offset
    }

    /// The next framed bytes, at most `limit` of them and none if there are none yet.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub fn read(&mut self, limit: usize) -> Result<Vec<u8>, LogError> {
        // Never beyond what the writer published: behind it may lie a write that failed halfway.
        let published = self.watch.now().len.saturating_sub(self.offset);
        let limit = usize::try_from(published).unwrap_or(usize::MAX).min(limit);
        let bytes = self.reader.read_at(self.offset, limit)?;
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    /// Where in the log the next bytes begin.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}
