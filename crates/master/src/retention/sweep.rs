//! Removing: by age, above the limit, and what was put off. Written down first, then done.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_core::{Answer, Input, Retired};
use cloudai_files::{log::LogError, output::StoreError};
use cloudai_model::{
    TaskId, TaskStatus, UserName, Wall,
    record::{Record, Removal as Fact, Removed, RemovedRecord},
};
use cloudai_store::{EndedAt, EndedQuery, EndedTask, ReadError};

use super::{
    Retention, STEP,
    count::{Found, blocking},
};
use crate::{core_loop::Stopped, disk_settings::Keeping};
use cloudai_config::{Bytes, Keep};

/// Why a sweep goes on later.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the store can't be read")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Files(#[from] StoreError),
    #[error("logs and files can't be counted")]
    Count(#[source] std::io::Error),
    #[error("the store is still being read")]
    NotReady,
    #[error("the master is shutting down")]
    Stopped,
}

impl From<Stopped> for Failure {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

/// How tasks ended: failures are kept longer, and go last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Well,
    Failed,
}

const CLASSES: [Class; 2] = [Class::Well, Class::Failed];

impl Class {
    fn statuses(self) -> BTreeSet<TaskStatus> {
        match self {
            Self::Well => [TaskStatus::Completed, TaskStatus::Cancelled].into(),
            Self::Failed => [TaskStatus::Failed].into(),
        }
    }
}

/// What of a task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Log,
    Files,
    LogAndFiles,
    /// All of it, and the task with it.
    Task,
}

impl What {
    /// What two wishes come to.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Task, _) | (_, Self::Task) => Self::Task,
            _ => Self::LogAndFiles,
        }
    }

    fn takes_log(self) -> bool {
        self != Self::Files
    }

    fn takes_files(self) -> bool {
        self != Self::Log
    }
}

/// Something to be removed.
#[derive(Debug, Clone)]
pub(super) struct Removal {
    task: EndedTask,
    what: What,
    /// By what, as people are told.
    by: String,
}

/// How far each kind of sweep has come since the start: what lies before has been looked at.
#[derive(Debug, Default)]
pub(super) struct Cursors(BTreeMap<(Class, What), EndedAt>);

/// What there is of a task, and whether it can go now.
struct There {
    removal: Removal,
    /// What its log takes, if there is one to go.
    log_bytes: Option<u64>,
    files_bytes: Option<u64>,
    /// Somebody reads its files.
    is_read: bool,
}

/// What became of it.
struct Gone {
    removal: Removal,
    /// What its log took, if that is gone.
    log_bytes: Option<u64>,
    files_bytes: Option<u64>,
    /// Something is still there.
    is_left: bool,
    /// Why, if nobody reads it.
    failure: Option<Failure>,
}

impl Retention {
    /// Removes what is older than it is kept.
    pub(super) async fn remove_old(&mut self) -> Result<(), Failure> {
        for class in CLASSES {
            let keep = match class {
                Class::Well => self.settings.keep,
                Class::Failed => self.settings.keep_failed,
            };
            let Keeping {
                logs,
                files,
                results,
            } = keep;
            for (what, keep) in [
                (What::Task, results),
                (What::Files, files),
                (What::Log, logs),
            ] {
                self.remove_older(class, what, keep).await?;
            }
        }
        Ok(())
    }

    async fn remove_older(&mut self, class: Class, what: What, keep: Keep) -> Result<(), Failure> {
        let Some(span) = keep.span() else {
            return Ok(());
        };
        let now = cloudai_clock::now();
        if !self.ages.can_be_believed(now, self.grace, span) {
            return Ok(());
        }
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let before = Wall(now.wall.0.saturating_sub(span_ms));
        let by = format!("retention after {keep}");
        loop {
            let page = self.page(class, what, before).await?;
            let Some(last) = page.last().map(|task| task.place) else {
                return Ok(());
            };
            let removals = page.into_iter().map(|task| Removal {
                task,
                what,
                by: by.clone(),
            });
            self.remove(removals.collect()).await?;
            self.cursors.0.insert((class, what), last);
        }
    }

    /// Removes the oldest, as long as logs and files take more than they may.
    pub(super) async fn remove_above_limit(&mut self) -> Result<(), Failure> {
        let Some(limit) = self.settings.keep_bytes else {
            return Ok(());
        };
        let by = format!("retention of at most {}", Bytes(limit));
        for class in CLASSES {
            loop {
                let taken = self
                    .told_bytes()
                    .map_or(0, |kept| kept.logs_bytes.saturating_add(kept.files_bytes));
                let Some(excess) = taken.checked_sub(limit).filter(|excess| *excess > 0) else {
                    return Ok(());
                };
                let page = self.page(class, What::LogAndFiles, Wall(i64::MAX)).await?;
                if page.is_empty() {
                    break;
                }
                let removals = page.into_iter().map(|task| Removal {
                    task,
                    what: What::LogAndFiles,
                    by: by.clone(),
                });
                let (enough, last) = self.enough(removals.collect(), excess).await;
                self.remove(enough).await?;
                if let Some(last) = last {
                    self.cursors.0.insert((class, What::LogAndFiles), last);
                }
            }
        }
        Ok(())
    }

    /// The first of them that together take what is too much.
    async fn enough(
        &self,
        mut removals: Vec<Removal>,
        excess: u64,
    ) -> (Vec<Removal>, Option<EndedAt>) {
        let (logs, files) = (self.setup.logs.clone(), self.setup.files.clone());
        blocking(move || {
            let mut sum = 0_u64;
            let mut count = 0;
            for Removal { task, .. } in &removals {
                if sum >= excess {
                    break;
                }
                sum = sum
                    .saturating_add(logs.disk_bytes(&task.task))
                    .saturating_add(files.disk_bytes(&task.user, &task.task));
                count += 1;
            }
            removals.truncate(count);
            let last = removals.last().map(|removal| removal.task.place);
            (removals, last)
        })
        .await
    }

    async fn page(
        &self,
        class: Class,
        what: What,
        before: Wall,
    ) -> Result<Vec<EndedTask>, Failure> {
        let query = EndedQuery {
            statuses: class.statuses(),
            before,
            after: self.cursors.0.get(&(class, what)).copied(),
            limit: STEP,
        };
        Ok(self.setup.store.ended(&query).await?)
    }

    /// What could not go before.
    pub(super) async fn remove_put_off(&mut self) -> Result<(), Failure> {
        let put_off = std::mem::take(&mut self.put_off);
        let mut removals: Vec<Removal> = put_off.into_values().collect();
        // What was written down of them meanwhile.
        let tasks: Vec<TaskId> = removals.iter().map(|it| it.task.task.clone()).collect();
        let outcome = async {
            let mut removed = self.setup.store.removed(&tasks).await?;
            for removal in &mut removals {
                removal.task.removed = removed.remove(&removal.task.task).unwrap_or_default();
            }
            Ok::<(), Failure>(())
        };
        if let Err(failure) = outcome.await {
            self.postpone(removals);
            return Err(failure);
        }
        self.remove(removals).await
    }

    fn postpone(&mut self, removals: impl IntoIterator<Item = Removal>) {
        for removal in removals {
            let task = removal.task.task.clone();
            let known = self.put_off.remove(&task);
            let what = known.map_or(removal.what, |known| known.what.and(removal.what));
            self.put_off.insert(task, Removal { what, ..removal });
        }
    }

    /// Removes what is there of these, if it can go now, and forgets the tasks that are to be.
    async fn remove(&mut self, removals: Vec<Removal>) -> Result<(), Failure> {
        if removals.is_empty() {
            return Ok(());
        }
        let there = self.look(removals).await;
        let (read, there): (Vec<_>, Vec<_>) = there.into_iter().partition(|it| it.is_read);
        self.postpone(read.into_iter().map(|it| it.removal));
        // Most have nothing left but themselves.
        let (there, bare): (Vec<_>, Vec<_>) = there
            .into_iter()
            .partition(|it| it.log_bytes.is_some() || it.files_bytes.is_some());
        let bare = bare.into_iter().map(|it| it.removal);
        let mut forgotten: Vec<TaskId> = bare
            .filter(|removal| removal.what == What::Task)
            .map(|removal| removal.task.task)
            .collect();
        let refused = self.write_down(&there).await?;
        let there = there.into_iter();
        let there = there.filter(|it| !refused.contains(&it.removal.task.task));
        for it in self.carry_out(there.collect()).await {
            if let Some(failure) = &it.failure {
                self.stuck(failure);
            }
            self.count_removed(it.log_bytes, it.files_bytes);
            if it.is_left {
                self.postpone([it.removal]);
            } else if it.removal.what == What::Task {
                forgotten.push(it.removal.task.task);
            }
        }
        self.forget(forgotten).await
    }

    fn count_removed(&mut self, log_bytes: Option<u64>, files_bytes: Option<u64>) {
        self.removed.logs += u64::from(log_bytes.is_some());
        self.removed.files += u64::from(files_bytes.is_some());
        let (log, files) = (log_bytes.unwrap_or(0), files_bytes.unwrap_or(0));
        self.removed.bytes += log + files;
        if let Some(kept) = &mut self.setup.kept.lock().kept {
            kept.logs_bytes = kept.logs_bytes.saturating_sub(log);
            kept.files_bytes = kept.files_bytes.saturating_sub(files);
        }
    }

    async fn look(&self, removals: Vec<Removal>) -> Vec<There> {
        let (logs, files) = (self.setup.logs.clone(), self.setup.files.clone());
        blocking(move || {
            let look = |removal: Removal| {
                let EndedTask { task, user, .. } = &removal.task;
                let log = removal.what.takes_log() && logs.has_any(task);
                let left = removal.what.takes_files() && files.has_any(user, task);
                There {
                    log_bytes: log.then(|| logs.disk_bytes(task)),
                    files_bytes: left.then(|| files.disk_bytes(user, task)),
                    is_read: left && files.is_read(task),
                    removal,
                }
            };
            removals.into_iter().map(look).collect()
        })
        .await
    }

    /// Writes down what is about to be removed; answers the tasks of which nothing may be.
    async fn write_down(&self, there: &[There]) -> Result<BTreeSet<TaskId>, Failure> {
        if there.is_empty() {
            return Ok(BTreeSet::new());
        }
        let at = cloudai_clock::now().wall;
        let ids: Vec<TaskId> = there
            .iter()
            .map(|it| it.removal.task.task.clone())
            .collect();
        // Since they were listed a user may have deleted files.
        let _turn = self.setup.kept.removing().await;
        let known = self.setup.store.removed(&ids).await?;
        let mut tasks = Vec::new();
        for it in there {
            let Removal { task, by, .. } = &it.removal;
            let fact = || {
                let by = by.clone();
                Some(Fact { at, by })
            };
            let before = known.get(&task.task).cloned().unwrap_or_default();
            let mut removed = before.clone();
            let mut records = Vec::new();
            if it.log_bytes.is_some() && removed.log.is_none() {
                removed.log = fact();
            }
            if it.files_bytes.is_some() && removed.files.is_none() {
                // An empty folder says nothing: the task left no files.
                let stored = self.setup.store.files(&task.task).await?;
                if let Some(mut stored) = stored.filter(|stored| !stored.files.is_empty()) {
                    removed.files = fact();
                    stored.files.clear();
                    records.push(Record::Files(Box::new(stored)));
                }
            }
            if removed != before {
                records.push(Record::Removed(RemovedRecord {
                    task: task.task.clone(),
                    removed,
                }));
            }
            // Also without a record: of a live task nothing goes.
            let task = task.task.clone();
            tasks.push(Retired { task, records });
        }
        Ok(self.retire(tasks).await?.into_iter().collect())
    }

    async fn carry_out(&self, there: Vec<There>) -> Vec<Gone> {
        let (logs, files) = (self.setup.logs.clone(), self.setup.files.clone());
        blocking(move || {
            let carry_out = |it: There| {
                let EndedTask { task, user, .. } = &it.removal.task;
                let mut failure = None;
                let mut is_gone = |removed: Result<bool, Failure>| {
                    removed.unwrap_or_else(|error| {
                        failure = Some(error);
                        false
                    })
                };
                let log_bytes = it
                    .log_bytes
                    .filter(|_| is_gone(logs.remove(task).map_err(Failure::from)));
                let files_bytes = it.files_bytes.filter(|_| {
                    is_gone(files.remove_unless_read(user, task).map_err(Failure::from))
                });
                Gone {
                    log_bytes,
                    files_bytes,
                    is_left: (log_bytes, files_bytes) != (it.log_bytes, it.files_bytes),
                    failure,
                    removal: it.removal,
                }
            };
            there.into_iter().map(carry_out).collect()
        })
        .await
    }

    async fn forget(&mut self, tasks: Vec<TaskId>) -> Result<(), Failure> {
        if tasks.is_empty() {
            return Ok(());
        }
        let count = tasks.len() as u64;
        let forget = |task: TaskId| Retired {
            records: vec![Record::TaskForgotten(task.clone())],
            task,
        };
        let refused = self.retire(tasks.into_iter().map(forget).collect()).await?;
        self.removed.forgotten += count - refused.len() as u64;
        Ok(())
    }

    async fn retire(&self, tasks: Vec<Retired>) -> Result<Vec<TaskId>, Failure> {
        let input = move |call| Input::Retire { call, tasks };
        match self.setup.core.call(input).await? {
            Answer::Retired(Ok(live)) => Ok(live),
            _ => Err(Failure::NotReady),
        }
    }

    /// Removes what is on the disk although it is written down that it is not.
    pub(super) async fn remove_leftovers(&mut self, found: Vec<Found>) -> Result<(), Failure> {
        let tasks: Vec<TaskId> = found.iter().map(|found| found.task.clone()).collect();
        let removed = self.setup.store.removed(&tasks).await?;
        let is_leftover = |found: &Found| {
            let removed = removed.get(&found.task);
            removed.is_some_and(|Removed { log, files }| match &found.user {
                Some(_) => files.is_some(),
                None => log.is_some(),
            })
        };
        let leftovers: Vec<Found> = found.into_iter().filter(is_leftover).collect();
        if leftovers.is_empty() {
            return Ok(());
        }
        let (logs, files) = (self.setup.logs.clone(), self.setup.files.clone());
        let outcomes: Vec<_> = blocking(move || {
            let remove = |Found { task, user, .. }: Found| {
                remove_leftover(&logs, &files, &task, user.as_ref())
            };
            leftovers.into_iter().map(remove).collect()
        })
        .await;
        let mut count = 0_u32;
        for outcome in outcomes {
            match outcome {
                Ok(()) => count += 1,
                Err(failure) => self.stuck(&failure),
            }
        }
        tracing::info!(count, "removed what was left of a removal that broke off");
        Ok(())
    }
}

fn remove_leftover(
    logs: &cloudai_files::log::LogStore,
    files: &cloudai_files::output::OutputStore,
    task: &TaskId,
    user: Option<&UserName>,
) -> Result<(), Failure> {
    match user {
        Some(user) => files.remove_unless_read(user, task)?,
        None => logs.remove(task)?,
    };
    Ok(())
}
