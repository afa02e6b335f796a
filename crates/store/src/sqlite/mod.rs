//! The default store: one SQLite file in the data directory, WAL, full synchronous, one writer.

mod backups;
mod columns;
mod ended;
mod export;
mod failure;
mod filling;
mod load;
pub(crate) mod lock;
mod migrate;
mod open;
mod query;
mod reader;
mod readers;
mod tables;
mod unfinished;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use cloudai_model::{
    TaskId, TaskStatus, UserName, Wall,
    account::AuditRecord,
    record::{AssignmentRecord, FilesRecord, Record, Removed, ResultRecord, TaskRecord},
};
use rusqlite::Connection;
use tokio::sync::mpsc;

pub use self::{
    backups::note_backup,
    filling::SqliteFilling,
    lock::{DataDirLock, InUse, LOCK_FILE},
    open::{DATABASE_FILE, OpenError},
    reader::SqliteReader,
    unfinished::Unfinished,
};
use self::{
    migrate::{MIGRATIONS, Migration},
    open::WhenUnfinished,
    readers::Readers,
    writer::Writer,
};
use crate::{
    AuditQuery, CommitError, EndedQuery, EndedTask, FilesOfTask, FilesQuery, Highest, ReadError,
    Store, StoredAccounts, SubmittedUnder, TaskQuery, WholeTask,
};

/// Keeps records in `cloudai.db` of a data directory, which it holds against other masters.
pub struct SqliteStore {
    place: String,
    path: PathBuf,
    // Before the writer: its connections close first, so that the writer's close empties the log.
    readers: Readers,
    writer: Writer,
}

impl SqliteStore {
    /// The version of the schema that this program writes.
    pub const SCHEMA: u32 = migrate::NEWEST;

    /// Opens the store of a data directory, or makes it. Blocks while it does.
    ///
    /// # Errors
    /// See [`OpenError`]. What is there is never replaced.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        Self::open_at(data_dir, MIGRATIONS)
    }

    /// Whether a data directory holds a SQLite store with tasks in it. One that can't be read may,
    /// and so counts as one.
    #[must_use]
    pub fn holds_tasks(data_dir: &Path) -> bool {
        open::holds_tasks(&data_dir.join(open::DATABASE_FILE))
    }

    fn open_at(data_dir: &Path, migrations: &[Migration]) -> Result<Self, OpenError> {
        open::make_directory(data_dir)?;
        let lock = DataDirLock::hold(data_dir)?;
        Self::open_with(lock, data_dir, migrations, WhenUnfinished::Refuse)
    }

    fn open_with(
        lock: DataDirLock,
        data_dir: &Path,
        migrations: &[Migration],
        unfinished: WhenUnfinished,
    ) -> Result<Self, OpenError> {
        let opened = open::open(lock, data_dir, migrations, unfinished)?;
        let path = opened.path.clone();
        let place = format!("sqlite {}", path.display());
        let writer = Writer::start(opened, place.clone()).map_err(|error| OpenError::Failed {
            path: path.clone(),
            cause: Box::new(error),
        })?;
        let readers = Readers::new(path.clone(), place.clone());
        Ok(Self {
            place,
            path,
            readers,
            writer,
        })
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn describe(&self) -> String {
        self.place.clone()
    }

    async fn commit(&self, batch: Arc<Vec<Record>>) -> Result<(), CommitError> {
        self.writer.commit(batch).await
    }

    async fn load(&self, sink: mpsc::Sender<Vec<Record>>) -> Result<Highest, ReadError> {
        self.readers.read(move |db| load::load(db, &sink)).await
    }

    async fn task(&self, task: &TaskId) -> Result<Option<TaskRecord>, ReadError> {
        let task = task.clone();
        self.readers
            .read(move |db| tables::tasks::find(db, &task))
            .await
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskRecord>, ReadError> {
        let query = query.clone();
        self.readers.read(move |db| query::tasks(db, &query)).await
    }

    async fn count_by_status(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadError> {
        self.readers.read(query::count_by_status).await
    }

    async fn assignments(&self, task: &TaskId) -> Result<Vec<AssignmentRecord>, ReadError> {
        let task = task.clone();
        self.readers
            .read(move |db| tables::assignments::of_task(db, &task))
            .await
    }

    async fn result(&self, task: &TaskId) -> Result<Option<ResultRecord>, ReadError> {
        let task = task.clone();
        self.readers
            .read(move |db| tables::results::find(db, &task))
            .await
    }

    async fn files(&self, task: &TaskId) -> Result<Option<FilesRecord>, ReadError> {
        let task = task.clone();
        self.readers
            .read(move |db| tables::files::of_task(db, &task))
            .await
    }

    async fn files_of_user(&self, user: &UserName) -> Result<Vec<FilesRecord>, ReadError> {
        let user = user.clone();
        self.readers
            .read(move |db| tables::files::of_user(db, &user))
            .await
    }

    async fn files_page(&self, query: &FilesQuery) -> Result<Vec<FilesOfTask>, ReadError> {
        let query = query.clone();
        self.readers
            .read(move |db| tables::files::page_of_user(db, &query))
            .await
    }

    async fn files_bytes_of_user(&self, user: &UserName) -> Result<u64, ReadError> {
        let user = user.clone();
        self.readers
            .read(move |db| tables::files::bytes_of_user(db, &user))
            .await
    }

    async fn submitted(
        &self,
        user: &UserName,
        key: &str,
    ) -> Result<Vec<SubmittedUnder>, ReadError> {
        let (user, key) = (user.clone(), key.to_owned());
        self.readers
            .read(move |db| tables::submits::of_key(db, &user, &key))
            .await
    }

    async fn accounts(&self) -> Result<StoredAccounts, ReadError> {
        self.readers.read(query::accounts).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, ReadError> {
        let query = query.clone();
        self.readers
            .read(move |db| tables::audit::page(db, &query))
            .await
    }

    async fn oldest_audit(&self, before: Wall, limit: usize) -> Result<Vec<Wall>, ReadError> {
        self.readers
            .read(move |db| tables::audit::oldest(db, before, limit))
            .await
    }

    async fn ended(&self, query: &EndedQuery) -> Result<Vec<EndedTask>, ReadError> {
        let query = query.clone();
        self.readers.read(move |db| ended::tasks(db, &query)).await
    }

    async fn removed(&self, tasks: &[TaskId]) -> Result<BTreeMap<TaskId, Removed>, ReadError> {
        let tasks = tasks.to_vec();
        self.readers
            .read(move |db| tables::removed::of_tasks(db, &tasks))
            .await
    }

    async fn whole_task(&self, task: &TaskId) -> Result<Option<WholeTask>, ReadError> {
        let task = task.clone();
        let read = move |db: &Connection| {
            let Some(record) = tables::tasks::find(db, &task)? else {
                return Ok(None);
            };
            if !record.state.status.is_final() {
                return Ok(Some(WholeTask::unfinished(record)));
            }
            let result = tables::results::find(db, &task)?;
            let mut removed = tables::removed::of_tasks(db, std::slice::from_ref(&task))?;
            Ok(Some(WholeTask {
                record,
                result,
                removed: removed.remove(&task).unwrap_or_default(),
            }))
        };
        self.readers.read(read).await
    }

    fn disk_files(&self) -> Vec<PathBuf> {
        open::files(&self.path)
    }

    async fn close(&self) -> Result<(), CommitError> {
        self.readers.close().await;
        self.writer.close().await
    }
}
