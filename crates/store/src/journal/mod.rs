//! A store whose database may be out of reach: what it doesn't take for a while goes into a journal
//! in the data directory, flushed before it is answered, and reaches the database later, in order.
//!
//! `file` and `frame` are the journal itself, `entry` and `content` what stands in it. [`Turn`] says
//! who writes to the database: commits as long as all is well, else `keeper` alone, which tries to
//! reach it, carries the journal over and only then hands the turn back. `reads` answers from the
//! journal meanwhile. Tasks that are accepted before the store has been read once are in the journal
//! on their own ([`JournaledStore::take_in`]).

mod content;
mod database;
mod disk;
mod entry;
mod error;
#[cfg(any(test, feature = "fakes"))]
mod fake;
mod file;
mod frame;
pub(crate) mod fuzzing;
mod intake;
mod keeper;
mod pace;
mod reads;
mod shared;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use cloudai_model::{
    Degraded, TaskId, TaskStatus, UserName, Wall,
    account::AuditRecord,
    record::{AssignmentRecord, FilesRecord, Record, Removed, ResultRecord, TaskRecord},
};
use tokio::{
    sync::{Mutex, RwLock, mpsc, watch},
    task::JoinHandle,
};

#[cfg(any(test, feature = "fakes"))]
pub use self::fake::FakeDatabase;
pub use self::{
    content::Submitted,
    error::{JournalError, JournaledOpenError},
    file::AppendError,
    intake::TakeInError,
};
use self::{
    database::{Database, MongoDatabase, NotOpened, in_words},
    file::Journal,
    pace::Pace,
    shared::{Condition, Shared, Turn},
};
use crate::{
    AuditQuery, CommitError, EndedQuery, EndedTask, FilesOfTask, FilesQuery, Highest,
    MongoSettings, ReadError, Store, StoredAccounts, SubmittedUnder, TaskQuery,
    sqlite::lock::{DataDirLock, LOCK_FILE, LockError},
};

/// What a store behind a journal needs to know.
#[derive(Debug, Clone)]
pub struct JournalSettings {
    /// Where the journal lies; held against other masters.
    pub data_dir: PathBuf,
    /// Whether the database must be there: then nothing is ever journaled.
    pub required: bool,
    /// How long a commit may wait for the database before it goes into the journal.
    pub journal_after: Duration,
}

/// See the module.
pub struct JournaledStore {
    shared: Arc<Shared>,
    /// Until it is closed.
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl JournaledStore {
    /// Opens MongoDB behind a journal in the data directory, or, unless it is required, goes on
    /// without it until it is there. Within a tokio runtime.
    ///
    /// # Errors
    /// See [`JournaledOpenError`]; none of them says a password.
    pub async fn open(
        settings: JournalSettings,
        mongodb: MongoSettings,
    ) -> Result<Self, JournaledOpenError> {
        Self::open_over(settings, Arc::new(MongoDatabase::new(mongodb))).await
    }

    /// The same over a database that is away as told.
    ///
    /// # Errors
    /// As of [`Self::open`].
    #[cfg(feature = "fakes")]
    pub async fn open_over_fake(
        settings: JournalSettings,
        database: &FakeDatabase,
    ) -> Result<Self, JournaledOpenError> {
        Self::open_over(settings, Arc::new(database.clone())).await
    }

    /// Whether the journal can't be written from here on.
    #[cfg(feature = "fakes")]
    pub fn journal_fails(&self, fails: bool) {
        let fault = &self.shared.journal.faults().no_write;
        fault.store(fails, std::sync::atomic::Ordering::Relaxed);
    }

    async fn open_over(
        settings: JournalSettings,
        database: Arc<dyn Database>,
    ) -> Result<Self, JournaledOpenError> {
        let (lock, journal) = hold(&settings.data_dir)?;
        let shared = Arc::new(Shared {
            owner: database.fresh_owner(),
            settings,
            database,
            journal,
            reached: OnceLock::new(),
            turn: Mutex::new(Turn::Keeper),
            pace: Pace::default(),
            intake: RwLock::new(true),
            condition: watch::Sender::new(Condition::default()),
            lock: std::sync::Mutex::new(Some(lock)),
        });
        match shared.reach().await {
            Ok(()) if shared.journal.content().batches.is_empty() => {
                *shared.turn.lock().await = Turn::Commits;
            }
            Ok(()) => shared.lose("what the journal holds is being carried over"),
            Err(NotOpened::OutOfReach(cause)) if shared.settings.required => {
                return Err(JournaledOpenError::OutOfReach {
                    place: shared.database.describe(),
                    cause,
                });
            }
            Err(NotOpened::OutOfReach(cause)) => shared.lose(&in_words(&*cause)),
            Err(NotOpened::Refused(cause)) => {
                return Err(JournaledOpenError::Refused(in_words(&*cause)));
            }
            Err(NotOpened::TakenOver) => return Err(shared.not_the_same()),
        }
        let keeper = tokio::spawn(keeper::keep(Arc::clone(&shared)));
        let keeper = Mutex::new(Some(keeper));
        Ok(Self { shared, keeper })
    }

    /// The journal that lies in this data directory, if one does: what it holds, another kind of
    /// store lacks.
    #[must_use]
    pub fn left_in(data_dir: &Path) -> Option<PathBuf> {
        let path = data_dir.join(file::FILE);
        path.exists().then_some(path)
    }

    /// How the database is out of reach; `None` while it is there and lacks nothing.
    #[must_use]
    pub fn degraded(&self) -> Option<Degraded> {
        self.shared.degraded()
    }

    /// Tells when that may have changed, from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(self.shared.condition.subscribe())
    }

    /// Ends the keeper, wherever it stands: what it has not written down it does again.
    async fn end_keeper(&self) {
        if let Some(keeper) = self.keeper.lock().await.take() {
            keeper.abort();
            // It has let go of everything when this returns; how it ended is no news.
            let _ = keeper.await;
        }
    }

    /// Returns when the database can't be used for good, and says why.
    pub async fn broken(&self) -> String {
        let mut condition = self.shared.condition.subscribe();
        match condition.wait_for(|it| it.broken.is_some()).await {
            Ok(condition) => condition.broken.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }
}

/// See [`JournaledStore::changes`].
#[derive(Debug)]
pub struct Changes(watch::Receiver<Condition>);

impl Changes {
    /// Waits for the next; `false` when there will be none.
    pub async fn next(&mut self) -> bool {
        let changed = self.0.changed().await.is_ok();
        changed && !self.0.borrow().closed
    }
}

/// Takes the data directory, and what an earlier process left in its journal.
fn hold(data_dir: &Path) -> Result<(DataDirLock, Journal), JournalError> {
    let unreadable = |path: PathBuf| move |cause| JournalError::Unreadable { path, cause };
    std::fs::create_dir_all(data_dir).map_err(unreadable(data_dir.to_owned()))?;
    let lock = DataDirLock::take(data_dir).map_err(|error| match error {
        LockError::Held(in_use) => in_use.into(),
        LockError::Io(cause) => unreadable(data_dir.join(LOCK_FILE))(cause),
    })?;
    Ok((lock, Journal::open(data_dir)?))
}

#[async_trait]
impl Store for JournaledStore {
    fn describe(&self) -> String {
        self.shared.database.describe()
    }

    async fn commit(&self, batch: Arc<Vec<Record>>) -> Result<(), CommitError> {
        self.shared.commit(batch).await
    }

    async fn load(&self, sink: mpsc::Sender<Vec<Record>>) -> Result<Highest, ReadError> {
        self.shared.load(sink).await
    }

    async fn task(&self, task: &TaskId) -> Result<Option<TaskRecord>, ReadError> {
        self.shared.task(task).await
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskRecord>, ReadError> {
        self.shared.of_database()?.tasks(query).await
    }

    async fn count_by_status(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadError> {
        self.shared.of_database()?.count_by_status().await
    }

    async fn assignments(&self, task: &TaskId) -> Result<Vec<AssignmentRecord>, ReadError> {
        self.shared.assignments(task).await
    }

    async fn result(&self, task: &TaskId) -> Result<Option<ResultRecord>, ReadError> {
        self.shared.result(task).await
    }

    async fn files(&self, task: &TaskId) -> Result<Option<FilesRecord>, ReadError> {
        self.shared.files(task).await
    }

    async fn files_of_user(&self, user: &UserName) -> Result<Vec<FilesRecord>, ReadError> {
        self.shared.of_database()?.files_of_user(user).await
    }

    async fn files_page(&self, query: &FilesQuery) -> Result<Vec<FilesOfTask>, ReadError> {
        self.shared.of_database()?.files_page(query).await
    }

    async fn files_bytes_of_user(&self, user: &UserName) -> Result<u64, ReadError> {
        self.shared.of_database()?.files_bytes_of_user(user).await
    }

    async fn submitted(
        &self,
        user: &UserName,
        key: &str,
    ) -> Result<Vec<SubmittedUnder>, ReadError> {
        self.shared.submitted(user, key).await
    }

    async fn accounts(&self) -> Result<StoredAccounts, ReadError> {
        self.shared.of_database()?.accounts().await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, ReadError> {
        self.shared.of_database()?.audit(query).await
    }

    async fn oldest_audit(&self, before: Wall, limit: usize) -> Result<Vec<Wall>, ReadError> {
        self.shared.of_database()?.oldest_audit(before, limit).await
    }

    async fn ended(&self, query: &EndedQuery) -> Result<Vec<EndedTask>, ReadError> {
        self.shared.of_database()?.ended(query).await
    }

    async fn removed(&self, tasks: &[TaskId]) -> Result<BTreeMap<TaskId, Removed>, ReadError> {
        self.shared.removed(tasks).await
    }

    fn disk_files(&self) -> Vec<PathBuf> {
        match self.shared.settings.required {
            // Nothing is ever journaled.
            true => Vec::new(),
            false => vec![self.shared.journal.path().to_owned()],
        }
    }

    async fn close(&self) -> Result<(), CommitError> {
        self.end_keeper().await;
        // A commit that is under way has the turn until it has ended.
        *self.shared.turn.lock().await = Turn::Closed;
        self.shared
            .condition
            .send_modify(|condition| condition.closed = true);
        let closed = match self.shared.reached.get() {
            Some(reached) => reached.close().await,
            None => Ok(()),
        };
        let lock = self.shared.lock.lock();
        drop(lock.unwrap_or_else(PoisonError::into_inner).take());
        closed
    }
}

impl Drop for JournaledStore {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get_mut() {
            keeper.abort();
        }
    }
}
