//! A database that is away, forgets to answer, or belongs to another, as a test wants.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use cloudai_model::{
    TaskId, TaskStatus, UserName, Wall,
    account::AuditRecord,
    record::{AssignmentRecord, FilesRecord, Record, Removed, ResultRecord, TaskRecord},
};
use tokio::sync::mpsc;

use super::database::{Database, NotOpened, Reached};
use crate::{
    AuditQuery, CommitError, EndedQuery, EndedTask, FilesOfTask, FilesQuery, Highest, MemoryStore,
    ReadError, Store, StoredAccounts, SubmittedUnder, TaskQuery,
};

/// See the module. Clones are the same database, and it outlives those who open it.
#[derive(Clone, Default)]
pub struct FakeDatabase(Arc<Inner>);

#[derive(Default)]
struct Inner {
    kept: MemoryStore,
    how: Mutex<How>,
}

#[derive(Default)]
pub(super) struct How {
    /// Nobody answers.
    pub(super) away: bool,
    /// How long it takes for a commit.
    pub(super) takes: Duration,
    /// Commits are taken, and for as long as this lasts not answered.
    pub(super) silent: bool,
    /// It goes away after so many commits more.
    pub(super) commits_left: Option<usize>,
    /// Loading breaks off after so many chunks, once.
    pub(super) chunks_left: Option<usize>,
    /// It refuses to be opened.
    pub(super) refuses: Option<&'static str>,
    /// It refuses every batch.
    pub(super) takes_no_batch: bool,
    /// Who has it.
    pub(super) owner: Option<String>,
    owners: u32,
    /// Batches in the order in which they came, those that came again as well.
    pub(super) came: Vec<Arc<Vec<Record>>>,
}

impl FakeDatabase {
    pub(super) fn how(&self) -> MutexGuard<'_, How> {
        self.0.how.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody answers from here on.
    pub fn goes_away(&self) {
        self.how().away = true;
    }

    /// All is well from here on.
    pub fn comes_back(&self) {
        let mut how = self.how();
        (how.away, how.silent, how.commits_left) = (false, false, None);
    }

    /// What is really there.
    #[must_use]
    pub fn kept(&self) -> &MemoryStore {
        &self.0.kept
    }

    /// The order of the first task of each batch, as they came.
    #[cfg(test)]
    pub(super) fn orders(&self) -> Vec<u64> {
        let order = |batch: &Arc<Vec<Record>>| match &batch[0] {
            Record::TaskAdded(task) => task.order,
            Record::TaskChanged(task, _) => task.number().unwrap() - 1_000,
            other => panic!("{other:?}"),
        };
        self.how().came.iter().map(order).collect()
    }
}

const PLACE: &str = "fake database";

#[async_trait]
impl Database for FakeDatabase {
    fn describe(&self) -> String {
        PLACE.to_owned()
    }

    fn fresh_owner(&self) -> String {
        let mut how = self.how();
        how.owners += 1;
        format!("owner {}", how.owners)
    }

    async fn open(&self, owner: &str, former: &[String]) -> Result<Arc<dyn Reached>, NotOpened> {
        let mut how = self.how();
        if how.away {
            return Err(NotOpened::OutOfReach("nobody answers".into()));
        }
        if let Some(reason) = how.refuses {
            return Err(NotOpened::Refused(reason.into()));
        }
        let has = |owner: &String| former.contains(owner);
        if !former.is_empty() && !how.owner.as_ref().is_some_and(has) {
            return Err(NotOpened::TakenOver);
        }
        how.owner = Some(owner.to_owned());
        Ok(Arc::new(FakeReached {
            database: self.clone(),
            owner: owner.to_owned(),
        }))
    }
}

fn out_of_reach() -> ReadError {
    ReadError::OutOfReach {
        place: PLACE.to_owned(),
        cause: "nobody answers".into(),
    }
}

struct FakeReached {
    database: FakeDatabase,
    owner: String,
}

impl FakeReached {
    fn answers(&self) -> Result<(), CommitError> {
        let how = self.database.how();
        let place = || PLACE.to_owned();
        if how.away {
            let cause = "nobody answers".into();
            return Err(CommitError::OutOfReach {
                place: place(),
                cause,
            });
        }
        if how.owner.as_ref() != Some(&self.owner) {
            return Err(CommitError::TakenOver { place: place() });
        }
        Ok(())
    }

    fn reads(&self) -> Result<&MemoryStore, ReadError> {
        self.answers().map_err(|_| out_of_reach())?;
        Ok(self.database.kept())
    }
}

#[async_trait]
impl Reached for FakeReached {
    async fn ping(&self) -> Result<(), CommitError> {
        self.answers()
    }
}

#[async_trait]
impl Store for FakeReached {
    fn describe(&self) -> String {
        PLACE.to_owned()
    }

    async fn commit(&self, batch: Arc<Vec<Record>>) -> Result<(), CommitError> {
        self.answers()?;
        if self.database.how().takes_no_batch {
            return Err(CommitError::Conflict {
                what: "task",
                key: "task-1".to_owned(),
            });
        }
        let takes = self.database.how().takes;
        tokio::time::sleep(takes).await;
        self.database.kept().commit(Arc::clone(&batch)).await?;
        let silent = {
            let mut how = self.database.how();
            how.came.push(batch);
            if let Some(left) = &mut how.commits_left {
                *left -= 1;
                how.away = *left == 0;
            }
            how.silent
        };
        if !silent {
            return Ok(());
        }
        while self.database.how().silent {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (place, cause) = (PLACE.to_owned(), "no answer came".into());
        Err(CommitError::OutOfReach { place, cause })
    }

    async fn load(&self, sink: mpsc::Sender<Vec<Record>>) -> Result<Highest, ReadError> {
        let (whole, mut chunks) = mpsc::channel(1);
        let kept = self.reads()?;
        let forward = async move {
            while let Some(chunk) = chunks.recv().await {
                {
                    let mut how = self.database.how();
                    if let Some(left) = &mut how.chunks_left {
                        if *left == 0 {
                            how.chunks_left = None;
                            how.away = true;
                            return true;
                        }
                        *left -= 1;
                    }
                }
                if sink.send(chunk).await.is_err() {
                    break;
                }
            }
            false
        };
        match tokio::join!(kept.load(whole), forward) {
            (_, true) => Err(out_of_reach()),
            (loaded, false) => loaded,
        }
    }

    async fn task(&self, task: &TaskId) -> Result<Option<TaskRecord>, ReadError> {
        self.reads()?.task(task).await
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskRecord>, ReadError> {
        self.reads()?.tasks(query).await
    }

    async fn count_by_status(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadError> {
        self.reads()?.count_by_status().await
    }

    async fn assignments(&self, task: &TaskId) -> Result<Vec<AssignmentRecord>, ReadError> {
        self.reads()?.assignments(task).await
    }

    async fn result(&self, task: &TaskId) -> Result<Option<ResultRecord>, ReadError> {
        self.reads()?.result(task).await
    }

    async fn files(&self, task: &TaskId) -> Result<Option<FilesRecord>, ReadError> {
        self.reads()?.files(task).await
    }

    async fn files_of_user(&self, user: &UserName) -> Result<Vec<FilesRecord>, ReadError> {
        self.reads()?.files_of_user(user).await
    }

    async fn files_page(&self, query: &FilesQuery) -> Result<Vec<FilesOfTask>, ReadError> {
        self.reads()?.files_page(query).await
    }

    async fn files_bytes_of_user(&self, user: &UserName) -> Result<u64, ReadError> {
        self.reads()?.files_bytes_of_user(user).await
    }

    async fn submitted(
        &self,
        user: &UserName,
        key: &str,
    ) -> Result<Vec<SubmittedUnder>, ReadError> {
        self.reads()?.submitted(user, key).await
    }

    async fn accounts(&self) -> Result<StoredAccounts, ReadError> {
        self.reads()?.accounts().await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, ReadError> {
        self.reads()?.audit(query).await
    }

    async fn oldest_audit(&self, before: Wall, limit: usize) -> Result<Vec<Wall>, ReadError> {
        self.reads()?.oldest_audit(before, limit).await
    }

    async fn ended(&self, query: &EndedQuery) -> Result<Vec<EndedTask>, ReadError> {
        self.reads()?.ended(query).await
    }

    async fn removed(&self, tasks: &[TaskId]) -> Result<BTreeMap<TaskId, Removed>, ReadError> {
        self.reads()?.removed(tasks).await
    }

    async fn close(&self) -> Result<(), CommitError> {
        Ok(())
    }
}
