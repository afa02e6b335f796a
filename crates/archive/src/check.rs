//! Whether a store is sound: what can't be read, what belongs to nothing, what contradicts itself,
//! and what should lie on the disk and doesn't.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use cloudai_files::output::{OutputStore, RelativePath};
use cloudai_model::{
    TaskId, TaskStatus,
    record::{FilesRecord, Record},
};
use cloudai_store::{Export, Holdings, Piece, ReadError};

use crate::{
    FILES, Progress,
    place::{PlaceError, StorePlace},
    transfer,
};

/// Why a store could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It can't be opened.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// It can't be read.
    #[error("{place} can't be read to its end")]
    Read {
        /// Which.
        place: String,
        /// Why.
        #[source]
        cause: ReadError,
    },
}

/// What was found.
#[derive(Debug)]
pub struct Checked {
    /// The store.
    pub place: String,
    /// The version of its schema.
    pub schema: i64,
    /// How much it holds.
    pub holdings: Holdings,
    /// What is wrong, in the order of the records; nothing: it is sound.
    pub findings: Vec<Finding>,
}

/// Something that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What.
    pub problem: String,
    /// What to do.
    pub advice: &'static str,
}

const RESTORE: &str = "restore the newest backup (master-node restore), or copy what can be read";
const HARMLESS: &str = "a master passes over it; a restored backup would be without it";
const RESULT: &str =
    "the task can be submitted anew; a restored backup has it if it was made later";
const FILES_GONE: &str = "put the file back from a backup; a download of it fails until then";
const TAKE_UP: &str = "start a master on it once, which takes them up or names why it can't";

/// Looks at all of a store, also while a master is at work on it. Nothing is changed.
///
/// # Errors
/// If it can't be looked at as a whole; what is wrong with it is no error.
pub async fn check(
    place: &StorePlace,
    data_dir: &Path,
    progress: Progress,
) -> Result<Checked, CheckError> {
    let export = place.read().await?;
    let mut checked = look(&export, data_dir, &progress).await?;
    if !checked.findings.is_empty() {
        // A master may have moved on between the records and the files that they name: what is
        // wrong is wrong a second time.
        let again = look(&export, data_dir, &progress).await?;
        let again_found: BTreeSet<_> = again.findings.into_iter().collect();
        checked.findings.retain(|found| again_found.contains(found));
    }
    Ok(checked)
}

async fn look(
    export: &Arc<dyn Export>,
    data_dir: &Path,
    progress: &Progress,
) -> Result<Checked, CheckError> {
    let failed = |cause| CheckError::Read {
        place: export.describe(),
        cause,
    };
    let faults = export.integrity().await.map_err(failed)?;
    let mut check = Check::new(data_dir.join(FILES));
    for fault in faults {
        check.found(format!("the database is damaged: {fault}"), RESTORE);
    }
    let mut seen = 0;
    let read = transfer::each(export, async |piece| {
        match piece {
            Piece::Records(records) => {
                seen += records.len() as u64;
                check.take(records).await;
            }
            Piece::Unreadable(error) => check.found(error.to_string(), RESTORE),
        }
        progress("records looked at", seen);
        Ok::<(), ReadError>(())
    });
    match read.await {
        Ok(()) => check.conclude(),
        // SQLite has said before what is damaged: that is the finding, not that this ends it.
        Err(error) if !check.findings.is_empty() => {
            let problem = format!("not all can be read: {}", with_causes(&error));
            check.found(problem, RESTORE);
        }
        Err(error) => return Err(failed(error)),
    }
    match export.holdings().await {
        Ok(counted) => check.holdings.not_taken_up = counted.not_taken_up,
        Err(_) if !check.findings.is_empty() => {}
        Err(error) => return Err(failed(error)),
    }
    if check.holdings.not_taken_up > 0 {
        let count = check.holdings.not_taken_up;
        let problem = format!("{count} documents of an earlier program were not taken up");
        check.found(problem, TAKE_UP);
    }
    Ok(Checked {
        place: export.describe(),
        schema: export.schema(),
        holdings: check.holdings,
        findings: check.findings,
    })
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    words
}

/// What is known of a task when what hangs on it comes by.
struct Known {
    status: TaskStatus,
    result: Option<TaskStatus>,
    /// Whether its output files were removed.
    without_files: bool,
}

struct Check {
    files: OutputStore,
    holdings: Holdings,
    tasks: BTreeMap<TaskId, Known>,
    findings: Vec<Finding>,
}

impl Check {
    fn new(files: PathBuf) -> Self {
        Self {
            files: OutputStore::of_another(files),
            holdings: Holdings::default(),
            tasks: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    fn found(&mut self, problem: String, advice: &'static str) {
        self.findings.push(Finding { problem, advice });
    }

    async fn take(&mut self, records: Vec<Record>) {
        for record in records {
            self.holdings.add(&record);
            match record {
                Record::TaskAdded(task) => {
                    let known = Known {
                        status: task.state.status,
                        result: None,
                        without_files: false,
                    };
                    self.tasks.insert(task.task, known);
                }
                Record::Removed(record) => match self.tasks.get_mut(&record.task) {
                    Some(known) => known.without_files = record.removed.files.is_some(),
                    None => self.belongs("removal", &record.task),
                },
                Record::Assignment(assignment) => {
                    self.belongs("attempt", &assignment.attempt.task);
                }
                Record::Result(result) => match self.tasks.get_mut(&result.attempt.task) {
                    Some(known) => known.result = Some(result.status),
                    None => self.belongs("result", &result.attempt.task),
                },
                Record::Files(files) => {
                    self.belongs("set of files", &files.attempt.task);
                    // Written down before they go: what is there still goes soon.
                    let known = self.tasks.get(&files.attempt.task);
                    if !known.is_some_and(|known| known.without_files) {
                        self.lie_there(files).await;
                    }
                }
                // Stop orders outlive their tasks.
                Record::Cluster(_)
                | Record::Worker(_)
                | Record::StopOrder(_)
                | Record::WorkerRemoved(_)
                | Record::TaskChanged(..)
                | Record::SpecChanged(..)
                | Record::StopOrderDone(_)
                | Record::TaskForgotten(_)
                | Record::Forgotten(_)
                // A key without its user, which no store takes, lets nobody in.
                | Record::Account(_) => {}
            }
        }
    }

    fn belongs(&mut self, what: &str, task: &TaskId) {
        if !self.tasks.contains_key(task) {
            let problem = format!("a {what} is of task {task}, which is not there");
            self.found(problem, HARMLESS);
        }
    }

    async fn lie_there(&mut self, files: Box<FilesRecord>) {
        let store = self.files.clone();
        let look = tokio::task::spawn_blocking(move || missing(&store, &files));
        let missing = look.await.expect("looking for files does not panic");
        for problem in missing {
            self.found(problem, FILES_GONE);
        }
    }

    /// A task that is over has one result, and one that is not has none.
    fn conclude(&mut self) {
        for (task, known) in std::mem::take(&mut self.tasks) {
            let status = known.status;
            match known.result {
                None if status.is_final() => {
                    self.found(format!("task {task} is {status} and has no result"), RESULT);
                }
                Some(_) if !status.is_final() => {
                    self.found(
                        format!("task {task} is {status} and has a result already"),
                        RESTORE,
                    );
                }
                Some(of_result) if of_result != status => {
                    let problem =
                        format!("task {task} is {status} and its result says {of_result}");
                    self.found(problem, RESTORE);
                }
                Some(_) | None => {}
            }
        }
    }
}

/// The files of a task that don't lie where they should, or are of another size.
fn missing(store: &OutputStore, record: &FilesRecord) -> Vec<String> {
    let mut problems = Vec::new();
    for file in &record.files {
        let name = format!("{}/{}", record.storage_path, file.path);
        let path: RelativePath = match file.path.parse() {
            Ok(path) => path,
            Err(error) => {
                problems.push(format!("file {name} has a name that is none: {error}"));
                continue;
            }
        };
        let opened = store.open_file(&record.user, &record.attempt.task, &path);
        match opened.map(|file| file.metadata()) {
            Ok(Ok(found)) if found.len() == file.size => {}
            Ok(Ok(found)) => problems.push(format!(
                "file {name} has {} bytes: expected {}",
                found.len(),
                file.size
            )),
            Ok(Err(error)) => problems.push(format!("file {name} can't be looked at: {error}")),
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {
                problems.push(format!("file {name} is missing"));
            }
            Err(error) => problems.push(with_causes(&error)),
        }
    }
    problems
}
