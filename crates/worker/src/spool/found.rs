//! What a start finds in the spool, also where the disk has damaged it.
//!
//! Each file is written beside its place and renamed into it, so that a crash leaves none cut short.
//! A disk that fails, or a hand that slips, may. Then all is kept that can be: an order is there
//! twice once its attempt has a state, an attempt without a state is told apart by its container,
//! and what can't be read at all is put aside, to be looked at by people. Each time it is said so.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use cloudai_files::{log::LogWriter, output::remove_tree};
use cloudai_model::{AttemptId, Whole};
use cloudai_worker_core::{HostRun, Order, SpoolRecord};

use super::{
    ORDER, STATE, Spool, SpoolError, TOMBSTONES, format, io_error, lock, write::write_whole,
};

/// Where folders are put that can't be read.
const DAMAGED: &str = "damaged";
/// How many of them are kept, the newest.
const KEPT_DAMAGED: usize = 100;

/// What a start finds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) records: Vec<SpoolRecord>,
    /// Attempts whose state can't be read, and why.
    pub(crate) stateless: Vec<(Order, String)>,
    /// Attempts of which nothing can be read.
    pub(crate) lost: Vec<AttemptId>,
    pub(crate) tombstones: Vec<AttemptId>,
    /// What was not as it should be, and what became of it.
    pub(crate) notes: Vec<String>,
}

/// What is in the folder of an attempt.
enum Reading {
    Record(Box<SpoolRecord>),
    /// The order alone can be read, though there is a state.
    Stateless(Box<Order>, SpoolError),
    /// It was never answered to anybody, or is half deleted.
    Nothing,
}

impl Reading {
    /// The same, unless it is another attempt's than the folder is named after: then two folders could
    /// be of one attempt, and what is done to it would be done to the other.
    fn in_its_folder(self, folder: &Path) -> Result<Self, SpoolError> {
        let attempt = match &self {
            Self::Record(record) => record.attempt(),
            Self::Stateless(order, _) => &order.attempt,
            Self::Nothing => return Ok(self),
        };
        let name = attempt.to_string();
        if folder.file_name().is_some_and(|it| it == name.as_str()) {
            return Ok(self);
        }
        Err(SpoolError::Malformed {
            path: folder.join(ORDER),
            problem: format!("it is the order of attempt {name}"),
        })
    }
}

impl Spool {
    /// Reads everything that an earlier process left.
    pub(crate) fn read(&self) -> Result<Found, SpoolError> {
        let mut found = Found::default();
        let entries = fs::read_dir(&self.root).map_err(io_error(&self.root, "list"))?;
        for entry in entries {
            let path = entry.map_err(io_error(&self.root, "list"))?.path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != DAMAGED) {
                self.read_folder(&path, &mut found);
            }
        }
        found.records.sort_by(|a, b| a.attempt().cmp(b.attempt()));
        found
            .stateless
            .sort_by(|a, b| a.0.attempt.cmp(&b.0.attempt));
        found.lost.sort();
        if !found.lost.is_empty() {
            let removed = forget_oldest(&self.root.join(DAMAGED));
            found.notes.extend(removed);
        }
        self.read_tombstones(&mut found);
        Ok(found)
    }

    fn read_folder(&self, path: &Path, found: &mut Found) {
        let read = read_attempt(path, &mut found.notes);
        match read.and_then(|reading| reading.in_its_folder(path)) {
            Ok(Reading::Record(mut record)) => {
                check_log(path, &mut record, &mut found.notes);
                self.holds(record.attempt(), record.revision);
                found.records.push(*record);
            }
            Ok(Reading::Stateless(order, error)) => {
                found.notes.push(format!(
                    "{error}; how attempt {} stands is asked of its container",
                    order.attempt
                ));
                self.holds(&order.attempt, 1);
                found.stateless.push((*order, error.to_string()));
            }
            Ok(Reading::Nothing) => {
                if let Err(error) = remove_tree(path) {
                    let error = io_error(path, "remove")(error);
                    found.notes.push(format!("left as it is: {error}"));
                }
            }
            Err(error @ SpoolError::Malformed { .. }) => self.put_aside(path, &error, found),
            Err(error) => found.notes.push(format!("left as it is: {error}")),
        }
    }

    /// What is written from now on is newer than what was found.
    fn holds(&self, attempt: &AttemptId, revision: u64) {
        let place = self.place(attempt);
        let mut lane = lock(&place.lane);
        lane.written = revision;
        lane.flushed = revision;
    }

    fn put_aside(&self, path: &Path, error: &SpoolError, found: &mut Found) {
        let name = path.file_name().unwrap_or_default();
        let aside = free_name(&self.root.join(DAMAGED).join(name));
        let moved = fs::create_dir_all(self.root.join(DAMAGED))
            .and_then(|()| fs::rename(path, &aside))
            .map_err(io_error(path, "put aside"));
        found.notes.push(match moved {
            Ok(()) => format!(
                "{error}; its attempt is given up, and what is left of it is kept in {}",
                aside.display()
            ),
            Err(refused) => format!("{error}; its attempt is given up: {refused}"),
        });
        let attempt = name.to_str().and_then(format::attempt_of_folder);
        found.lost.extend(attempt);
    }

    fn read_tombstones(&self, found: &mut Found) {
        let path = self.root.join(TOMBSTONES);
        let read = match fs::read(&path) {
            Ok(text) => format::tombstones_from_json(&path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => Err(io_error(&path, "read")(error)),
        };
        match read {
            Ok(tombstones) => found.tombstones = tombstones,
            // The master says it again of those that come after all.
            Err(error) => found.notes.push(format!(
                "{error}; cancels of attempts that have not come yet are forgotten"
            )),
        }
    }
}

fn read_attempt(folder: &Path, notes: &mut Vec<String>) -> Result<Reading, SpoolError> {
    let path = folder.join(ORDER);
    let order = match fs::read(&path) {
        Ok(text) => format::order_from_json(&path, &text),
        // A deletion begins with it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::Nothing),
        Err(error) => return Err(io_error(&path, "read")(error)),
    };
    let state_path = folder.join(STATE);
    let state = match fs::read(&state_path) {
        Ok(text) => Some(format::state_from_json(&state_path, &text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(io_error(&state_path, "read")(error)),
    };
    match (order, state) {
        (Ok(order), None) => Ok(Reading::Record(Box::new(SpoolRecord {
            revision: 1,
            order,
            started: false,
            host_run: HostRun::default(),
            image_digest: None,
            stop: None,
            end: None,
        }))),
        (Ok(order), Some(Ok(state))) => Ok(Reading::Record(Box::new(state.with(order)))),
        (Ok(order), Some(Err(error @ SpoolError::Malformed { .. }))) => {
            Ok(Reading::Stateless(Box::new(order), error))
        }
        (Err(error @ SpoolError::Malformed { .. }), Some(Ok(mut state))) => {
            let Some(order) = state.order.take() else {
                return Err(error);
            };
            let text = format::order_to_json(&order);
            let mended = write_whole(folder, ORDER, &text, true);
            let mended = mended.err().map(|error| format!(" ({error})"));
            notes.push(format!(
                "{error}; it is mended from its copy{}",
                mended.unwrap_or_default()
            ));
            Ok(Reading::Record(Box::new(state.with(order))))
        }
        (Err(error), _) | (Ok(_), Some(Err(error))) => Err(error),
    }
}

/// A log that ends before the end that its attempt's record knows is not what the task wrote.
fn check_log(folder: &Path, record: &mut SpoolRecord, notes: &mut Vec<String>) {
    let Some(end) = &mut record.end else { return };
    let path = folder.join("log");
    let length = fs::metadata(&path).map_or(0, |log| log.len());
    if length >= end.log.length_bytes {
        return;
    }
    let lacks = end.log.length_bytes - length;
    let whole = match LogWriter::open(&path) {
        Ok((writer, _)) => writer.whole_len(),
        Err(_) => 0,
    };
    let reason = format!("its end was lost on its worker's disk: {lacks} bytes");
    notes.push(format!("{} is cut short by {lacks} bytes", path.display()));
    end.log.length_bytes = whole;
    end.log.whole = Whole::Incomplete(reason);
}

/// Removes what is more than is kept of what was put aside, the oldest first; a note if there was any.
fn forget_oldest(damaged: &Path) -> Option<String> {
    let entries = fs::read_dir(damaged).ok()?;
    let mut kept: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let put_aside = entry.metadata().ok()?;
            // When it came to lie there. What it holds is older.
            let since = (put_aside.ctime(), put_aside.ctime_nsec());
            Some((since, entry.path()))
        })
        .collect();
    kept.sort();
    let surplus = kept.len().checked_sub(KEPT_DAMAGED).filter(|n| *n > 0)?;
    let mut failed = None;
    for (_, path) in &kept[..surplus] {
        if let Err(error) = remove_tree(path) {
            failed = Some(format!(" ({error})"));
        }
    }
    Some(format!(
        "of what is kept in {} the oldest {surplus} had to go: expected {KEPT_DAMAGED} at most{}",
        damaged.display(),
        failed.unwrap_or_default()
    ))
}

/// The path, or one beside it that nothing has.
fn free_name(path: &Path) -> PathBuf {
    let others = (2_u32..).map(|n| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    });
    let mut names = std::iter::once(path.to_owned()).chain(others);
    names
        .find(|name| !name.exists())
        .unwrap_or_else(|| path.to_owned())
}
