//! The master's logs: `<root>/<task>/<attempt>.log`, and those being written right now.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cloudai_model::{AttemptId, TaskId};
use tokio::sync::watch;

use super::{Frame, LogError, LogExtent, LogFollower, LogReader, LogWatch, LogWriter, Repair};

/// A log that is open, or is being opened: whoever needs it meanwhile waits for that, and nobody
/// else does.
type Cell = Arc<Mutex<Option<OpenLog>>>;

/// All logs of a master. Cheap to clone; clones share the open logs.
#[derive(Debug, Clone)]
pub struct LogStore {
    root: PathBuf,
    open: Arc<Mutex<BTreeMap<AttemptId, Cell>>>,
}

impl LogStore {
    /// The logs under the folder `root`, which is made when the first log is.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            open: Arc::default(),
        }
    }

    /// The file of an attempt's log, which need not exist.
    #[must_use]
    pub fn path(&self, attempt: &AttemptId) -> PathBuf {
        self.folder(&attempt.task)
            .join(format!("{}.log", attempt.number))
    }

    /// The attempt's log for writing: the one that is open, or else its file, opened and repaired.
    ///
    /// The repair is given to whoever opened the file, and to nobody who found it open.
    ///
    /// # Errors
    ///
    /// The file can't be made, read or repaired.
    pub fn writer(&self, attempt: &AttemptId) -> Result<(OpenLog, Option<Repair>), LogError> {
        loop {
            let cell = lock(&self.open).entry(attempt.clone()).or_default().clone();
            let mut slot = lock(&cell);
            if let Some(open) = &*slot {
                return Ok((open.clone(), None));
            }
            let known = lock(&self.open).get(attempt).cloned();
            if !known.is_some_and(|known| Arc::ptr_eq(&known, &cell)) {
                // It was closed while this waited for it.
                continue;
            }
            let (writer, repair) = LogWriter::open(&self.path(attempt))?;
            let log = OpenLog {
                watch: writer.watch(),
                writer: Arc::new(Mutex::new(writer)),
            };
            *slot = Some(log.clone());
            return Ok((log, Some(repair)));
        }
    }

    /// Flushes and seals the attempt's log and forgets its writer, if it is open. Its watchers end.
    ///
    /// # Errors
    ///
    /// The disk refuses the flush. The log then stays open and unsealed, to be tried again.
    pub fn close(&self, attempt: &AttemptId) -> Result<(), LogError> {
        let Some(cell) = lock(&self.open).get(attempt).cloned() else {
            return Ok(());
        };
        let mut slot = lock(&cell);
        if let Some(log) = &*slot {
            log.sync()?;
            log.seal();
        }
        *slot = None;
        lock(&self.open).remove(attempt);
        Ok(())
    }

    /// Follows the attempt's log from `offset` on. If no writer is open the log counts as complete;
    /// so open one first, with [`writer`](Self::writer), for an attempt that is still going on.
    ///
    /// # Errors
    ///
    /// There is no such log (an I/O error of kind `NotFound`), or it can't be read.
    pub fn follow(&self, attempt: &AttemptId, offset: u64) -> Result<LogFollower, LogError> {
        let cell = lock(&self.open).get(attempt).cloned();
        let open = cell.and_then(|cell| lock(&cell).as_ref().map(OpenLog::watch));
        let reader = LogReader::open(&self.path(attempt))?;
        let watch = match open {
            Some(watch) => watch,
            None => complete(reader.file_len()?),
        };
        Ok(LogFollower::new(reader, watch, offset))
    }

    fn folder(&self, task: &TaskId) -> PathBuf {
        // An id holds no separator and begins with a letter or digit: it is one plain name.
        self.root.join(Path::new(&task.to_string()))
    }
}

/// A log that is being written, shared by all who hold it.
#[derive(Debug, Clone)]
pub struct OpenLog {
    writer: Arc<Mutex<LogWriter>>,
    watch: LogWatch,
}

impl OpenLog {
    /// Appends frames, as [`LogWriter::append`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn append(&self, frames: &[Frame]) -> Result<u64, LogError> {
        lock(&self.writer).append(frames)
    }

    /// Appends copied bytes, as [`LogWriter::append_at`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn append_at(&self, offset: u64, bytes: &[u8]) -> Result<u64, LogError> {
        lock(&self.writer).append_at(offset, bytes)
    }

    /// Makes what was appended survive the end of the machine, as [`LogWriter::sync`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn sync(&self) -> Result<(), LogError> {
        lock(&self.writer).sync()
    }

    /// The last `limit` bytes that the task printed, as [`LogWriter::tail_text`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn tail_text(&self, limit: usize) -> Result<String, LogError> {
        lock(&self.writer).tail_text(limit)
    }

    /// Where to go on copying: the log's length in framed bytes.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length on disk, not a collection"
    )]
    pub fn len(&self) -> u64 {
        self.watch.now().len
    }

    /// Tells how far the log reaches.
    #[must_use]
    pub fn watch(&self) -> LogWatch {
        self.watch.clone()
    }

    fn seal(&self) {
        lock(&self.writer).seal();
    }
}

fn complete(len: u64) -> LogWatch {
    LogWatch(watch::channel(LogExtent { len, sealed: true }).1)
}

/// A panic elsewhere leaves these values whole: each is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
