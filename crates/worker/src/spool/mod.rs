//! The spool: one folder an attempt, so that nothing of it is lost when the worker is killed.
//!
//! | file | holds |
//! |---|---|
//! | `order.json` | what to run; written once, before the assignment is answered |
//! | `state.json` | how far it is, and how it ended; written anew at each change, with the order once more |
//! | `log` | what it printed, framed |
//! | `output/` | what it left; the container's `/output` |
//! | `volume` | says that `/output` is a volume of the engine; then `output/` is what was fetched |
//! | `left-out.json` | what could not be fetched of it |
//!
//! Beside them lies `tombstones.json`, the attempts that never shall be started, and `reserve`, room
//! held back for the day when the disk is full. `damaged/` holds the folders of attempts that can't be
//! read any more, the newest hundred.
//!
//! Nothing is decided here.

pub(crate) mod format;
mod found;
pub(crate) mod fuzzing;
mod reserve;
mod volume;
mod write;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use cloudai_files::output::{is_no_room, remove_tree};
use cloudai_model::{AttemptId, TaskId};
use cloudai_worker_core::SpoolRecord;

pub(crate) use self::write::write_whole;
use self::{reserve::Reserve, write::sync_folder};

const ORDER: &str = "order.json";
const STATE: &str = "state.json";
const TOMBSTONES: &str = "tombstones.json";

/// The spool could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// The file system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        path: PathBuf,
        doing: &'static str,
        source: io::Error,
    },
    /// A file is not as this program writes it.
    #[error("{} is not valid: {problem}; expected what worker-node wrote there", path.display())]
    Malformed { path: PathBuf, problem: String },
    /// A later program wrote it.
    #[error("{} is of version {version}, this program knows {known}", path.display())]
    Version {
        path: PathBuf,
        version: u32,
        known: u32,
    },
}

impl SpoolError {
    /// Whether there was no room on the disk: there may be later.
    pub(crate) fn is_no_room(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_no_room(source))
    }
}

/// For `map_err`: the file system refused `doing` on `path`.
fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io {
        path,
        doing,
        source,
    }
}

/// Writes of one attempt, one after the other; an older one never covers a newer one.
#[derive(Debug, Default)]
struct Lane {
    written: u64,
    flushed: u64,
    deleted: bool,
}

/// All attempts on disk. Cheap to clone. Its calls block.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    root: PathBuf,
    lanes: Arc<Mutex<BTreeMap<AttemptId, Arc<Mutex<Lane>>>>>,
    tombstones: Arc<Mutex<u64>>,
    reserve: Reserve,
}

/// The place of one attempt in the spool.
#[derive(Debug, Clone)]
pub(crate) struct SpoolPlace {
    folder: PathBuf,
    lane: Arc<Mutex<Lane>>,
    reserve: Reserve,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Spool {
    /// The spool in this folder, which is made if it isn't there.
    pub(crate) fn open(root: &Path) -> Result<Self, SpoolError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(io_error(root, "make the folder"))?;
        let root = root
            .canonicalize()
            .map_err(io_error(root, "find the folder"))?;
        Ok(Self {
            reserve: Reserve::of(&root),
            root,
            lanes: Arc::default(),
            tombstones: Arc::default(),
        })
    }

    /// The place of an attempt, held from now on until it is deleted.
    pub(crate) fn place(&self, attempt: &AttemptId) -> SpoolPlace {
        let lane = lock(&self.lanes)
            .entry(attempt.clone())
            .or_default()
            .clone();
        SpoolPlace {
            folder: self.root.join(attempt.to_string()),
            lane,
            reserve: self.reserve.clone(),
        }
    }

    /// The place of an attempt that is held.
    pub(crate) fn held(&self, attempt: &AttemptId) -> Option<SpoolPlace> {
        let lane = lock(&self.lanes).get(attempt).cloned()?;
        Some(SpoolPlace {
            folder: self.root.join(attempt.to_string()),
            lane,
            reserve: self.reserve.clone(),
        })
    }

    /// The last attempt of a task that is held.
    pub(crate) fn last_of(&self, task: &TaskId) -> Option<AttemptId> {
        let all = AttemptId::new(task.clone(), 0)..=AttemptId::new(task.clone(), u32::MAX);
        let lanes = lock(&self.lanes);
        lanes
            .range(all)
            .next_back()
            .map(|(attempt, _)| attempt.clone())
    }

    /// The place is no longer held: what follows is its deletion.
    pub(crate) fn let_go(&self, attempt: &AttemptId) {
        lock(&self.lanes).remove(attempt);
    }

    /// Writes and flushes the list of attempts that never shall be started.
    pub(crate) fn save_tombstones(
        &self,
        revision: u64,
        attempts: &[AttemptId],
    ) -> Result<(), SpoolError> {
        let mut written = lock(&self.tombstones);
        if *written < revision {
            let text = format::tombstones_to_json(attempts);
            write_whole(&self.root, TOMBSTONES, &text, true)?;
            *written = revision;
        }
        Ok(())
    }
}

impl SpoolPlace {
    /// The file of its log.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Its folder that becomes the container's `/output`, as an absolute path.
    pub(crate) fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// Makes the output folder, writable by whichever user the container runs as.
    pub(crate) fn make_output(&self) -> Result<PathBuf, SpoolError> {
        let path = self.output();
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error(&path, "make the folder")(error)),
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))
            .map_err(io_error(&path, "open up"))?;
        Ok(path)
    }

    /// Makes what a task left in its output folder survive the machine's end.
    pub(crate) fn sync_output(&self) -> Result<(), SpoolError> {
        let path = self.output();
        let folder = match fs::File::open(&path) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io_error(&path, "open")(error)),
        };
        // That flushes what others wrote, too: not for nothing.
        let mut entries = fs::read_dir(&path).map_err(io_error(&path, "list"))?;
        if entries.next().is_none() {
            return Ok(());
        }
        // One call for the file system, however many files there are.
        rustix::fs::syncfs(&folder).map_err(|error| io_error(&path, "flush")(error.into()))
    }

    /// Writes a record, unless a newer one is there; with `flush` it survives the machine's end.
    pub(crate) fn save(&self, record: &SpoolRecord, flush: bool) -> Result<(), SpoolError> {
        let mut lane = lock(&self.lane);
        let done = if flush { lane.flushed } else { lane.written };
        if lane.deleted || record.revision <= done {
            return Ok(());
        }
        if lane.written == 0 {
            self.save_order(record)?;
        }
        // An order without a state is one that was accepted, and nothing more.
        if record.revision > 1 && record.revision >= lane.written {
            let text = format::state_to_json(record);
            let write = || write_whole(&self.folder, STATE, &text, flush);
            match record.end {
                Some(_) => self.reserve.back(SpoolError::is_no_room, write)?,
                None => write()?,
            }
        }
        lane.written = lane.written.max(record.revision);
        if flush {
            lane.flushed = lane.flushed.max(record.revision);
        }
        Ok(())
    }

    fn save_order(&self, record: &SpoolRecord) -> Result<(), SpoolError> {
        // A container gets `output` as a mount of its own and need not reach it from here.
        match fs::DirBuilder::new().mode(0o700).create(&self.folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error(&self.folder, "make the folder")(error)),
        }
        write_whole(
            &self.folder,
            ORDER,
            &format::order_to_json(&record.order),
            true,
        )?;
        let root = self.folder.parent().unwrap_or(&self.folder);
        sync_folder(root)
    }

    /// Deletes all of it.
    pub(crate) fn delete(&self) -> Result<(), SpoolError> {
        let mut lane = lock(&self.lane);
        lane.deleted = true;
        // First what makes it an attempt, so that half a deletion is not taken up again.
        for name in [ORDER, STATE] {
            let path = self.folder.join(name);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error(&path, "remove")(error)),
            }
        }
        remove_tree(&self.folder).map_err(io_error(&self.folder, "remove"))?;
        self.reserve.take();
        Ok(())
    }
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;
