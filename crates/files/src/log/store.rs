//! The master's logs: `<root>/<task>/<attempt>.log`, and those being written right now.
//!
//! `.removed` beside the tasks' folders holds what is being removed; no task's id begins with a dot.

use std::{
    collections::BTreeMap,
    fs::{self, ReadDir},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cloudai_model::{AttemptId, TaskId};
use tokio::sync::watch;

use super::{Frame, LogError, LogExtent, LogFollower, LogReader, LogWatch, LogWriter, Repair};
use crate::output::{disk_usage, remove_tree};

const REMOVED: &str = ".removed";

/// A log that is open, or is being opened: whoever needs it meanwhile waits for that, and nobody
/// else does.
type Cell = Arc<Mutex<Option<OpenLog>>>;

/// All logs of a master. Cheap to clone; clones share the open logs.
#[derive(Debug, Clone)]
pub struct LogStore {
    root: PathBuf,
    open: Arc<Mutex<BTreeMap<AttemptId, Cell>>>,
    removals: Arc<AtomicU64>,
}

/// The tasks that have a log, and what those take on disk.
#[derive(Debug)]
pub struct KeptLogs(Option<ReadDir>);

impl Iterator for KeptLogs {
    /// A task, and the bytes that the logs of all its attempts take.
    type Item = io::Result<(TaskId, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.0.as_mut()?.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            // What has another name is none of a task's.
            let name = entry.file_name();
            if let Some(task) = name.to_str().and_then(|name| name.parse().ok()) {
                return Some(Ok((task, disk_usage(&entry.path()).unwrap_or(0))));
            }
        }
    }
}

impl LogStore {
    /// The logs under the folder `root`, which is made when the first log is.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            open: Arc::default(),
            removals: Arc::default(),
        }
    }

    /// The folder that holds them.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Goes over the tasks that have a log, in no order. What is written meanwhile may be missed.
    ///
    /// # Errors
    ///
    /// The folder can't be read.
    pub fn kept(&self) -> Result<KeptLogs, LogError> {
        match fs::read_dir(&self.root) {
            Ok(entries) => Ok(KeptLogs(Some(entries))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KeptLogs(None)),
            Err(error) => Err(LogError::io(&self.root, "list the logs in it")(error)),
        }
    }

    /// What the logs of a task take on disk.
    #[must_use]
    pub fn disk_bytes(&self, task: &TaskId) -> u64 {
        disk_usage(&self.folder(task)).unwrap_or(0)
    }

    /// Whether there is a log of the task.
    #[must_use]
    pub fn has_any(&self, task: &TaskId) -> bool {
        self.folder(task).exists()
    }

    /// Removes the logs of all attempts of a task, unless one is being written: `false`. Whoever is
    /// reading one reads on to its end.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn remove(&self, task: &TaskId) -> Result<bool, LogError> {
        let folder = self.folder(task);
        let away = self.root.join(REMOVED);
        let number = self.removals.fetch_add(1, Ordering::Relaxed);
        let away = away.join(format!("{}-{number}", std::process::id()));
        {
            // No log is opened meanwhile.
            let open = lock(&self.open);
            let first = AttemptId::new(task.clone(), 0);
            let next = open.range(first..).next();
            if next.is_some_and(|(attempt, _)| attempt.task == *task) {
                return Ok(false);
            }
            if !folder.exists() {
                return Ok(true);
            }
            fs::create_dir_all(self.root.join(REMOVED))
                .and_then(|()| fs::rename(&folder, &away))
                .map_err(LogError::io(&folder, "remove it"))?;
        }
        remove_tree(&away).map_err(LogError::io(&away, "remove it"))?;
        Ok(true)
    }

    /// Removes what the last process was removing when it ended.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn finish_removals(&self) -> Result<(), LogError> {
        let away = self.root.join(REMOVED);
        remove_tree(&away).map_err(LogError::io(&away, "remove it"))
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
