//! A backup: the store as of one instant, with the secrets, logs and output files that go with it,
//! in one archive.
//!
//! The store is read first and copied beside the archive. Whatever it then names is on the disk
//! already: a log and files are there before the record that says so. So what is added after it can
//! only be more than the store knows of, and that is left out; or less, where it was dropped
//! meanwhile, and that is said.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use cloudai_files::{
    log::{LogError, LogReader, LogStore, whole_len},
    output::{OutputStore, RelativePath},
};
use cloudai_model::{
    AttemptId, TaskId, Wall,
    record::{AssignmentRecord, FileRecord, FilesRecord, Record, Removed},
};
use cloudai_store::{
    CommitError, DATABASE_FILE, Export, Holdings, OpenError, ReadError, SqliteReader, SqliteStore,
    Store, note_backup,
};

use crate::{
    FILES, LOGS, Progress, TransferError,
    format::{ArchiveError, FORMAT, Header, Manifest, SECRET, SECRETS, STORE, records},
    place::{PlaceError, StorePlace},
    transfer::{self, Sent},
    verify::verify,
    writing::{ArchiveWriter, folder_of},
};

/// How often a store without snapshots is read before that is given up: between two batches of a
/// master that has little to do there is time enough.
const TRIES: usize = 5;

/// What is backed up, and where to.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// The store.
    pub place: StorePlace,
    /// The master's data directory: secrets, logs, files.
    pub data_dir: PathBuf,
    /// The archive, which must not be there.
    pub to: PathBuf,
    /// Whether logs and files are part of it.
    pub logs_and_files: bool,
    /// The version of this program.
    pub program: String,
    /// Now.
    pub at: Wall,
}

/// What was backed up.
#[derive(Debug)]
pub struct Backup {
    /// What it holds.
    pub manifest: Manifest,
    /// Its records.
    pub holdings: Holdings,
    /// Its size in bytes.
    pub size: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something has its name.
    #[error("{path:?} is there already: expected a new name; a backup never replaces another")]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// The store can't be read.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// There is nothing.
    #[error("{place} holds nothing that could be backed up")]
    Empty {
        /// The store.
        place: String,
    },
    /// The copy of the store can't be made.
    #[error("the store can't be copied to {path:?}, beside the backup")]
    Copy {
        /// Where to.
        path: PathBuf,
        /// Why.
        #[source]
        cause: CopyFailure,
    },
    /// The records can't be copied.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A part of the data directory can't be read.
    #[error("{path:?} can't be read")]
    Part {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A log can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The archive can't be written, or is not what was written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Why the copy of a store can't be made.
#[derive(Debug, thiserror::Error)]
pub enum CopyFailure {
    /// Its folder can't be made.
    #[error("its folder can't be made")]
    Folder(#[from] io::Error),
    /// It can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It can't be closed.
    #[error(transparent)]
    Close(#[from] CommitError),
}

/// Backs everything up, also while a master is at work on it, and reads the archive back.
///
/// # Errors
/// See [`BackupError`]. Then there is no archive of that name.
pub async fn backup(request: BackupRequest, progress: Progress) -> Result<Backup, BackupError> {
    if request.to.symlink_metadata().is_ok() {
        let path = request.to;
        return Err(BackupError::Exists { path });
    }
    // As of before the records: what goes from here on was taken away meanwhile.
    let logs = match request.logs_and_files {
        true => logs_there(&request.data_dir.join(LOGS)).await?,
        false => BTreeSet::new(),
    };
    let from = request.place.read().await?;
    let beside = folder_of(&request.to).to_owned();
    let failed = |cause: CopyFailure| BackupError::Copy {
        path: beside.clone(),
        cause,
    };
    let folder = tempfile::Builder::new()
        .prefix(".cloudai-backup-")
        .tempdir_in(&beside)
        .map_err(|error| failed(error.into()))?;
    let (copy, sent) = copied(&from, folder.path(), &progress).await?;
    if sent.holdings.is_empty() {
        let place = from.describe();
        return Err(BackupError::Empty { place });
    }
    let reader = SqliteReader::open(&copy).map_err(|error| failed(error.into()))?;
    let (mut attempts, mut files) = (Vec::new(), Vec::new());
    // Written down before it goes: what is there still goes soon, and is no part of a backup.
    let mut removed = BTreeMap::<TaskId, Removed>::new();
    let reader: Arc<dyn Export> = Arc::new(reader);
    transfer::compare(&sent, &reader, &progress, |record| match record {
        Record::Removed(record) => drop(removed.insert(record.task, record.removed)),
        Record::Assignment(AssignmentRecord { attempt, .. })
            if removed
                .get(&attempt.task)
                .is_none_or(|removed| removed.log.is_none()) =>
        {
            attempts.push(attempt);
        }
        Record::Files(record)
            if removed
                .get(&record.attempt.task)
                .is_none_or(|removed| removed.files.is_none()) =>
        {
            files.push(*record);
        }
        _ => {}
    })
    .await?;
    drop(reader);
    if !request.logs_and_files {
        (attempts, files) = (Vec::new(), Vec::new());
    }
    let header = Header {
        format: FORMAT,
        program: request.program.clone(),
        cluster: sent.holdings.cluster_id().map(ToString::to_string),
        made_at: request.at.to_string(),
        made_at_ms: request.at.0,
        store: from.describe(),
        schema: i64::from(SqliteStore::SCHEMA),
        logs_and_files: request.logs_and_files,
    };
    let parts = Parts {
        store: copy.join(DATABASE_FILE),
        data_dir: request.data_dir.clone(),
        attempts,
        logs,
        files,
    };
    let (to, records) = (request.to.clone(), records(&sent.holdings));
    let archived = tokio::task::spawn_blocking(move || {
        let written = parts.write(&to, header, records, &progress);
        // What is not whole is nobody's backup.
        written.inspect_err(|_| remove_unfinished(&to))
    });
    let (manifest, size) = archived.await.expect("archiving does not panic")?;
    // Without the note it is as good a backup.
    let named =
        fs::canonicalize(&request.to).and_then(|path| note_backup(&request.data_dir, &path));
    let _ = named.is_ok();
    Ok(Backup {
        manifest,
        holdings: sent.holdings,
        size,
    })
}

/// A copy of the store as of one instant, as a SQLite store in a folder of its own.
async fn copied(
    from: &Arc<dyn Export>,
    within: &Path,
    progress: &Progress,
) -> Result<(PathBuf, Sent), BackupError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let folder = within.join(tries.to_string());
        let failed = |cause: CopyFailure| BackupError::Copy {
            path: folder.clone(),
            cause,
        };
        let store = SqliteStore::open(&folder).map_err(|error| failed(error.into()))?;
        let store: Arc<dyn Store> = Arc::new(store);
        let sent = transfer::transfer(from, &store, |_| {}, progress).await;
        store.close().await.map_err(|error| failed(error.into()))?;
        match sent {
            Ok(sent) => return Ok((folder, sent)),
            Err(TransferError::Read {
                cause: ReadError::WrittenMeanwhile { .. },
                ..
            }) if tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes what an interrupted backup of that name left.
pub fn remove_unfinished(to: &Path) {
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".unfinished");
    // It is in nobody's way, and the next backup of that name removes it.
    let _ = fs::remove_file(unfinished).is_ok();
}

/// What goes into the archive.
struct Parts {
    store: PathBuf,
    data_dir: PathBuf,
    attempts: Vec<AttemptId>,
    /// The logs that were there at the beginning.
    logs: BTreeSet<PathBuf>,
    files: Vec<FilesRecord>,
}

impl Parts {
    fn write(
        self,
        to: &Path,
        header: Header,
        records: BTreeMap<String, u64>,
        progress: &Progress,
    ) -> Result<(Manifest, u64), BackupError> {
        let mut archive = ArchiveWriter::begin(to, header)?;
        let mut missing = Vec::new();
        add_file(&mut archive, STORE, &self.store)?;
        for (name, path) in self.secrets()? {
            add_file(&mut archive, &format!("{SECRETS}/{name}"), &path)?;
        }
        let mut done = 0;
        let logs = LogStore::new(self.data_dir.join(LOGS));
        for attempt in &self.attempts {
            let is_there = add_log(&mut archive, &logs, attempt)?;
            // Many an attempt has none.
            if !is_there && self.logs.contains(&logs.path(attempt)) {
                let name = log_name(attempt);
                missing.push(format!("{name}: it was removed while the backup was made"));
            }
            done += 1;
            progress("logs and files added", done);
        }
        let files = OutputStore::of_another(self.data_dir.join(FILES));
        for record in &self.files {
            for file in &record.files {
                if let Err(why) = add_output(&mut archive, &files, record, file)? {
                    missing.push(why);
                }
                done += 1;
                progress("logs and files added", done);
            }
        }
        let whole = archive.finish(records, missing)?;
        let read_back = verify(&whole.path)?;
        if read_back != whole.manifest {
            return Err(BackupError::Archive(ArchiveError::Damaged {
                path: whole.path,
                problem: "it reads otherwise than it was written".to_owned(),
            }));
        }
        let size =
            fs::metadata(&whole.path).map_err(ArchiveError::io(&whole.path, "look at it"))?;
        whole.name(to)?;
        Ok((read_back, size.len()))
    }

    /// The secrets of the data directory, by name.
    fn secrets(&self) -> Result<Vec<(String, PathBuf)>, BackupError> {
        let unreadable = |source| BackupError::Part {
            path: self.data_dir.clone(),
            source,
        };
        let mut secrets = Vec::new();
        for entry in fs::read_dir(&self.data_dir).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(SECRET) && entry.path().is_file() {
                secrets.push((name, entry.path()));
            }
        }
        secrets.sort();
        Ok(secrets)
    }
}

fn add_file(archive: &mut ArchiveWriter, name: &str, path: &Path) -> Result<(), BackupError> {
    let unreadable = |source| BackupError::Part {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    archive.add(name, size, file)?;
    Ok(())
}

/// All logs below this folder.
async fn logs_there(folder: &Path) -> Result<BTreeSet<PathBuf>, BackupError> {
    let folder = folder.to_owned();
    let list = tokio::task::spawn_blocking(move || {
        let mut logs = BTreeSet::new();
        for task in entries(&folder)? {
            if task.is_dir() {
                logs.extend(entries(&task)?);
            }
        }
        Ok(logs)
    });
    list.await.expect("listing does not panic")
}

/// The paths in a folder; none if it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries,
    };
    let paths = entries.and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    paths.map_err(|source| BackupError::Part {
        path: folder.to_owned(),
        source,
    })
}

fn log_name(attempt: &AttemptId) -> String {
    format!("{LOGS}/{}/{}.log", attempt.task, attempt.number)
}

/// Adds an attempt's log up to its last whole frame; `false` if it is not there.
fn add_log(
    archive: &mut ArchiveWriter,
    logs: &LogStore,
    attempt: &AttemptId,
) -> Result<bool, BackupError> {
    let path = logs.path(attempt);
    let open = || -> Result<_, LogError> { Ok((whole_len(&path)?, LogReader::open(&path)?)) };
    let (size, reader) = match open() {
        Ok(there) => there,
        Err(error) if error.is_not_found() => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let source = Log { reader, offset: 0 };
    archive.add(&log_name(attempt), size, source)?;
    Ok(true)
}

struct Log {
    reader: LogReader,
    offset: u64,
}

impl io::Read for Log {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.read_at(self.offset, buffer.len());
        let bytes = bytes.map_err(io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }
}

/// Adds an output file, or says why it is missing.
fn add_output(
    archive: &mut ArchiveWriter,
    store: &OutputStore,
    record: &FilesRecord,
    file: &FileRecord,
) -> Result<Result<(), String>, BackupError> {
    let name = format!(
        "{FILES}/{}/{}/{}",
        record.user, record.attempt.task, file.path
    );
    let path: RelativePath = match file.path.parse() {
        Ok(path) => path,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let opened = match store.open_file(&record.user, &record.attempt.task, &path) {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(format!("{name}: {}", error.source))),
    };
    let unreadable = |source| BackupError::Part {
        path: PathBuf::from(&name),
        source,
    };
    let size = opened.metadata().map_err(unreadable)?.len();
    let sha256 = archive.add(&name, size, opened)?;
    // The Go master kept no sums.
    if size != file.size || !(file.sha256.is_empty() || file.sha256.eq_ignore_ascii_case(&sha256)) {
        return Ok(Err(format!(
            "{name}: it is there with {size} bytes and SHA-256 {sha256}, which is not what came from \
             the worker"
        )));
    }
    Ok(Ok(()))
}
