//! A restore: all of an archive is verified, then the data directory and the store are filled from
//! it. Until that has come to its end, a mark keeps every master off.
//!
//! The cluster keeps its id, and so its workers: some of them hold what was begun after the backup
//! was made. They compare what the master says with what they hold by numbers that rise, so those of
//! a restored master begin above all that were ever sent.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use cloudai_files::{
    log::LogStore,
    output::{OutputStore, RelativePath, StageError, Staging, StoreError, remove_tree},
};
use cloudai_model::{AttemptId, TaskId, UserName, Wall, account::AccountChange, record::Record};
use cloudai_store::{
    DATABASE_FILE, DataDirLock, Export, Holdings, LOCK_FILE, OpenError, SqliteReader, SqliteStore,
    Store as _, Unfinished,
};

use crate::{
    FILES, LOGS, Progress, TransferError,
    format::{ArchiveError, Header, Manifest, SECRET, SECRETS, STORE, records},
    place::{PlaceError, StorePlace},
    transfer,
    verify::walk,
    writing::folder_of,
};

/// The folder of a data directory in which the archive's store lies while it is read.
const STAGE: &str = "cloudai.restoring";

/// What the mark of a data directory begins with while it is restored to.
const MARK: &str = "a restore of ";

/// A master raises its epoch by one at each start. So many starts are allowed for, and
const STARTS: u64 = 4096;
/// one more for each such span since the backup was made,
const MS_A_START: i64 = 10_000;
/// but never more than in a year: a clock may stand anywhere.
const MOST_STARTS: u64 = 365 * 24 * 360;
/// What the core numbers assignments with has 24 bits for it.
const EPOCHS: u64 = 1 << 24;
/// Tokens that were ended since the backup was made must not count again: no user has ended all of
/// theirs as often as this since.
const GENERATIONS: u64 = 1 << 32;

/// What is restored, and where to.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The archive.
    pub from: PathBuf,
    /// Where the store shall be.
    pub place: StorePlace,
    /// The data directory, which must be empty or not there.
    pub data_dir: PathBuf,
    /// Now.
    pub at: Wall,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the archive holds.
    pub manifest: Manifest,
    /// The store that was filled.
    pub to: String,
    /// Its records.
    pub holdings: Holdings,
}

/// Why nothing was restored, or not all.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It isn't a backup, or not a whole one.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A newer program's store is in it.
    #[error(
        "{path:?} holds a store of schema version {found}, made by version {program}, and this \
         program knows versions up to {known}: restore it with a master-node at least as new"
    )]
    NewerStore {
        /// The archive.
        path: PathBuf,
        /// Its store's version.
        found: i64,
        /// The program that made it.
        program: String,
        /// The highest known.
        known: i64,
    },
    /// The data directory holds something.
    #[error(
        "data directory {path:?} is not empty: it holds {holds}; expected an empty one, or one that \
         is not there. Move it away, or choose another with -data-dir"
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// Some of it.
        holds: String,
    },
    /// Its cluster has had too many starts and restores.
    #[error(
        "{path:?} is of a cluster that was started and restored too often: its epoch {epoch} would \
         become {wanted}, expected less than {EPOCHS}. Start a new cluster, and register its \
         workers there"
    )]
    TooManyStarts {
        /// The archive.
        path: PathBuf,
        /// The cluster's epoch when it was made.
        epoch: u64,
        /// What it would have to be.
        wanted: u64,
    },
    /// The store can't be filled.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The data directory can't be written.
    #[error("{path:?} can't be written")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Output files can't be put in their place.
    #[error(transparent)]
    Files(#[from] StageError),
    /// The folder of output files can't be made.
    #[error(transparent)]
    FilesFolder(#[from] StoreError),
    /// The archive's store can't be opened.
    #[error("the store in the backup can't be opened")]
    Store(#[source] OpenError),
    /// Its records can't be written to their place.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The store in the archive holds something else than the archive says.
    #[error("the store in the backup does not hold what its manifest says: {found}")]
    Counts {
        /// What it holds.
        found: Box<Holdings>,
    },
}

/// Where a part of an archive goes. Made of the model's own types: a name that would leave the data
/// directory is none.
pub(crate) enum Goes {
    Store,
    Secret(String),
    Log(AttemptId),
    Output(UserName, TaskId, RelativePath),
}

impl Goes {
    /// `None`: to no place that there is.
    pub(crate) fn of(name: &str) -> Option<Self> {
        if name == STORE {
            return Some(Self::Store);
        }
        let (folder, rest) = name.split_once('/')?;
        match folder {
            SECRETS => {
                let plain = rest.parse::<RelativePath>().is_ok() && !rest.contains('/');
                (plain && rest.ends_with(SECRET)).then(|| Self::Secret(rest.to_owned()))
            }
            LOGS => {
                let (task, file) = rest.split_once('/')?;
                let number = file.strip_suffix(".log")?.parse().ok()?;
                Some(Self::Log(AttemptId::new(task.parse().ok()?, number)))
            }
            FILES => {
                let (user, rest) = rest.split_once('/')?;
                let (task, path) = rest.split_once('/')?;
                let (user, task) = (user.parse().ok()?, task.parse().ok()?);
                Some(Self::Output(user, task, path.parse().ok()?))
            }
            _ => None,
        }
    }
}

/// Restores a backup.
///
/// # Errors
/// See [`RestoreError`]. Nothing is written before all of the archive is verified. What was half
/// restored is refused by every master and begun anew by the next restore.
pub async fn restore(
    request: RestoreRequest,
    progress: Progress,
) -> Result<Restored, RestoreError> {
    let (from, told) = (request.from.clone(), progress.clone());
    let manifest = blocking(move || verified(&from, &told)).await?;
    let what = format!("{MARK}{}", request.from.display());
    make_empty(&request.data_dir)?;
    // SQLite's filling holds and marks the data directory itself.
    let (lock, mark) = match &request.place {
        StorePlace::Sqlite(_) => (None, None),
        StorePlace::Mongo(_) => {
            let lock = DataDirLock::hold(&request.data_dir).map_err(PlaceError::from)?;
            let mark = Unfinished::begin(&request.data_dir, &what);
            (
                Some(Arc::new(lock)),
                Some(mark.map_err(io_at(&request.data_dir))?),
            )
        }
    };
    let filling = match request.place.fill(&what).await {
        Ok(filling) => filling,
        Err(error) => {
            // Nothing was begun. A mark that can't be taken away only asks for the same once more.
            let _ = mark.map(Unfinished::done);
            return Err(error.into());
        }
    };

    let stage = request.data_dir.join(STAGE);
    let (unpack, told) = (Unpack::new(&request, &stage), progress.clone());
    // Held to the end of what goes on where nobody waits for it any more.
    let held = (filling.store(), lock.clone());
    blocking(move || unpack.all(&told).map(|()| drop(held))).await?;

    let source = staged_store(&stage).await?;
    let held = source.holdings().await;
    let held = held.map_err(|cause| {
        let place = source.describe();
        RestoreError::Transfer(TransferError::Read { place, cause })
    })?;
    if records(&held) != manifest.records {
        return Err(RestoreError::Counts {
            found: Box::new(held),
        });
    }
    let (header, at) = (manifest.header.clone(), request.at);
    if let Some(epoch) = held.cluster.as_ref().map(|cluster| cluster.epoch) {
        let wanted = above_all_sent(epoch, &header, at);
        if wanted >= EPOCHS {
            let path = request.from.clone();
            return Err(RestoreError::TooManyStarts {
                path,
                epoch,
                wanted,
            });
        }
    }
    let raise = |record: &mut Record| match record {
        Record::Cluster(cluster) => {
            cluster.epoch = above_all_sent(cluster.epoch, &header, at);
        }
        Record::Account(AccountChange::User(user)) => {
            user.generation = user.generation.saturating_add(GENERATIONS);
        }
        _ => {}
    };
    let target = filling.store();
    let sent = transfer::transfer(&source, &target, raise, &progress).await?;
    let back = filling.reader()?;
    transfer::compare(&sent, &back, &progress, drop).await?;
    let to = target.describe();
    drop((target, back, source));
    let data_dir = request.data_dir.clone();
    let held = (filling.store(), lock.clone());
    blocking(move || {
        let _held = held;
        remove_tree(&stage).map_err(io_at(&stage))?;
        let folder = File::open(&data_dir).map_err(io_at(&data_dir))?;
        rustix::fs::syncfs(&folder).map_err(|error| io_at(&data_dir)(error.into()))
    })
    .await?;
    filling.finish(mark).await?;
    drop(lock);
    Ok(Restored {
        manifest,
        to,
        holdings: sent.holdings,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RestoreError> + Send + 'static,
) -> Result<T, RestoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .expect("restoring does not panic")
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Io { path, source }
}

/// Looks at all of the archive, its parts' names and its versions.
fn verified(path: &Path, progress: &Progress) -> Result<Manifest, RestoreError> {
    let mut parts = 0;
    let manifest = walk(path, |name, _| {
        parts += 1;
        progress("parts verified", parts);
        match Goes::of(name) {
            Some(_) => Ok(()),
            None => Err(unknown_part(path, name)),
        }
    })?;
    if !manifest.parts.iter().any(|part| part.path == STORE) {
        return Err(unknown_part(path, "its store, which is missing,").into());
    }
    let known = i64::from(SqliteStore::SCHEMA);
    let header = &manifest.header;
    if header.schema > known {
        return Err(RestoreError::NewerStore {
            path: path.to_owned(),
            found: header.schema,
            program: header.program.clone(),
            known,
        });
    }
    Ok(manifest)
}

fn unknown_part(path: &Path, name: &str) -> ArchiveError {
    ArchiveError::Damaged {
        path: path.to_owned(),
        problem: format!("{name:?} in it is no part of a backup"),
    }
}

/// Makes the data directory if it is not there, and removes what an earlier restore that was broken
/// off left in it. Whatever else it holds is refused.
fn make_empty(data_dir: &Path) -> Result<(), RestoreError> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir);
    made.map_err(io_at(data_dir))?;
    let broken_off = Unfinished::find(data_dir).map_err(PlaceError::from)?;
    if broken_off.is_some_and(|what| what.starts_with(MARK)) {
        // Nobody may be at it still. The mark stays until the next one takes its place.
        let _lock = DataDirLock::hold(data_dir).map_err(PlaceError::from)?;
        for folder in [STAGE, LOGS, FILES] {
            let path = data_dir.join(folder);
            remove_tree(&path).map_err(io_at(&path))?;
        }
        for name in names(data_dir)? {
            if name.ends_with(SECRET) {
                let path = data_dir.join(name);
                fs::remove_file(&path).map_err(io_at(&path))?;
            }
        }
        return Ok(());
    }
    let holds: Vec<_> = names(data_dir)?
        .into_iter()
        .filter(|name| name != LOCK_FILE)
        .collect();
    if holds.is_empty() {
        return Ok(());
    }
    let more = if holds.len() > 5 { " and more" } else { "" };
    Err(RestoreError::NotEmpty {
        path: data_dir.to_owned(),
        holds: format!("{}{more}", holds[..holds.len().min(5)].join(", ")),
    })
}

fn names(folder: &Path) -> Result<Vec<String>, RestoreError> {
    let entries = fs::read_dir(folder).map_err(io_at(folder))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<_> = names.collect::<io::Result<_>>().map_err(io_at(folder))?;
    names.sort();
    Ok(names)
}

/// The store that was unpacked, brought to this program's version.
async fn staged_store(stage: &Path) -> Result<Arc<dyn Export>, RestoreError> {
    let folder = stage.to_owned();
    let opened = blocking(move || SqliteStore::open(&folder).map_err(RestoreError::Store));
    let store = opened.await?;
    let place = store.describe();
    let closed = store.close().await;
    closed.map_err(|cause| TransferError::Write { place, cause })?;
    let reader = SqliteReader::open(stage).map_err(RestoreError::Store)?;
    Ok(Arc::new(reader))
}

/// An epoch that no master of this cluster has had since the backup was made: it rises by one with
/// each start. A clock that was stepped back counts as no time.
fn above_all_sent(epoch: u64, made: &Header, now: Wall) -> u64 {
    let since = now.0.saturating_sub(made.made_at_ms).max(0) / MS_A_START;
    epoch
        .saturating_add(STARTS)
        .saturating_add(since.unsigned_abs().min(MOST_STARTS))
}

/// What unpacks an archive into a data directory.
struct Unpack {
    from: PathBuf,
    data_dir: PathBuf,
    stage: PathBuf,
    logs: LogStore,
}

impl Unpack {
    fn new(request: &RestoreRequest, stage: &Path) -> Self {
        Self {
            from: request.from.clone(),
            data_dir: request.data_dir.clone(),
            stage: stage.to_owned(),
            logs: LogStore::new(request.data_dir.join(LOGS)),
        }
    }

    fn all(&self, progress: &Progress) -> Result<(), RestoreError> {
        let mut files = Outputs {
            store: OutputStore::open(self.data_dir.join(FILES))?,
            arriving: None,
        };
        let mut parts = 0;
        walk(&self.from, |name, source| {
            match Goes::of(name) {
                Some(Goes::Store) => make_file(&self.stage.join(DATABASE_FILE), source)?,
                Some(Goes::Secret(name)) => make_file(&self.data_dir.join(name), source)?,
                Some(Goes::Log(attempt)) => make_file(&self.logs.path(&attempt), source)?,
                Some(Goes::Output(user, task, path)) => files.add(user, task, &path, source)?,
                None => return Err(unknown_part(&self.from, name).into()),
            }
            parts += 1;
            progress("parts unpacked", parts);
            Ok::<(), RestoreError>(())
        })?;
        files.publish()
    }
}

/// Makes a file that is not there, with its folder, for its owner alone.
fn make_file(path: &Path, source: &mut dyn Read) -> Result<(), RestoreError> {
    let mut make = || -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder_of(path))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        io::copy(source, &mut file).map(drop)
    };
    make().map_err(io_at(path))
}

/// Output files on their way to their place, task by task.
struct Outputs {
    store: OutputStore,
    arriving: Option<(UserName, TaskId, Staging)>,
}

impl Outputs {
    fn add(
        &mut self,
        user: UserName,
        task: TaskId,
        path: &RelativePath,
        source: &mut dyn Read,
    ) -> Result<(), RestoreError> {
        let same = |(of, to, _): &(UserName, TaskId, Staging)| *of == user && *to == task;
        if !self.arriving.as_ref().is_some_and(same) {
            self.publish()?;
        }
        let staging = match &mut self.arriving {
            Some((_, _, staging)) => staging,
            none => {
                // Which attempt left them is in the store.
                let staging = self.store.begin(&AttemptId::new(task.clone(), 0))?;
                &mut none.insert((user, task, staging)).2
            }
        };
        let mut buffer = vec![0; 256 << 10];
        let mut offset = 0;
        loop {
            let read = source.read(&mut buffer).map_err(io_at(&path.to_os()))?;
            staging.write(path, offset, &buffer[..read])?;
            offset += read as u64;
            if read == 0 {
                break;
            }
        }
        staging.finish_file(path, None)?;
        Ok(())
    }

    fn publish(&mut self) -> Result<(), RestoreError> {
        if let Some((user, _, staging)) = self.arriving.take() {
            staging.publish(&user)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
