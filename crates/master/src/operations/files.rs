//! What tasks left: told, read, copied and removed.

use std::path::Path;

use cloudai_core::{Answer, Input, Retired};
use cloudai_model::{
    TaskId, UserName, Whole,
    record::{FilesRecord, Record, Removal, RemovedRecord},
};
use cloudai_operator::{
    DownloadFailure, DownloadProgress, Downloaded, FilesFailure, FilesFilter, LeftFiles, OpenFiles,
    ReadFailure, RemoveFilesFailure, TaskFiles,
};
use cloudai_store::FilesQuery;
use tokio::sync::watch;

use super::{Master, mixed_up, read_failure};

impl Master {
    pub(super) async fn files_left(
        &self,
        filter: &FilesFilter,
    ) -> Result<Vec<LeftFiles>, ReadFailure> {
        let query = FilesQuery {
            user: filter.user.clone(),
            before: filter.before,
            limit: filter.limit,
        };
        let page = self.store.files_page(&query).await.map_err(read_failure)?;
        let without = page.iter().filter(|one| one.files.files.is_empty());
        let without: Vec<TaskId> = without.map(|one| one.files.attempt.task.clone()).collect();
        let mut removed = self.store.removed(&without).await.map_err(read_failure)?;
        let left = page.into_iter().map(|one| LeftFiles {
            order: one.order,
            removed: removed
                .remove(&one.files.attempt.task)
                .and_then(|removed| removed.files),
            record: one.files,
        });
        Ok(left.collect())
    }

    pub(super) async fn files_of_task(
        &self,
        task: &TaskId,
        user: &UserName,
    ) -> Result<TaskFiles, FilesFailure> {
        let record = self.store.task(task).await.map_err(read_failure)?;
        let record = record
            .filter(|record| record.spec.user == *user)
            .ok_or_else(|| FilesFailure::Unknown {
                task: task.clone(),
                user: user.clone(),
            })?;
        let stored = self.store.files(task).await.map_err(read_failure)?;
        let status = record.state.status;
        let of_last = |files: &FilesRecord| files.attempt.number == record.state.attempt;
        let files = match stored.filter(of_last) {
            Some(stored) => stored.files,
            None if status.is_final() => Vec::new(),
            None => {
                return Err(FilesFailure::NotFinal {
                    task: task.clone(),
                    status,
                });
            }
        };
        let result = self.store.result(task).await.map_err(read_failure)?;
        let whole = result.map_or(Whole::Complete, |result| result.files);
        let removed = match status.is_final() {
            true => self.removed(task).await?.files,
            false => None,
        };
        Ok(TaskFiles {
            files,
            whole,
            removed,
        })
    }

    pub(super) async fn files_to_read(
        &self,
        task: &TaskId,
        user: &UserName,
    ) -> Result<OpenFiles, FilesFailure> {
        // From here on retention leaves them.
        let reading = self.files.reading(task);
        let left = self.files_of_task(task, user).await?;
        if let Some(removal) = left.removed {
            let task = task.clone();
            return Err(FilesFailure::Removed { task, removal });
        }
        let (user, task) = (user.clone(), task.clone());
        let store = (*self.files).clone();
        Ok(OpenFiles::new(left, store, user, task, reading))
    }

    /// As retention does it: written down, by the core, which knows whether the task has ended; then
    /// done.
    pub(super) async fn remove_files_of(
        &self,
        task: &TaskId,
        user: &UserName,
        by: &str,
    ) -> Result<(), RemoveFilesFailure> {
        let left = self.files_of_task(task, user).await?;
        if let Some(removal) = left.removed {
            let task = task.clone();
            return Err(FilesFailure::Removed { task, removal }.into());
        }
        let turn = self.kept.removing().await;
        let stored = self.store.files(task).await;
        let stored = stored.map_err(|error| FilesFailure::from(read_failure(error)))?;
        let Some(mut stored) = stored.filter(|stored| !stored.files.is_empty()) else {
            return Ok(());
        };
        stored.files.clear();
        let mut removed = self.removed(task).await.map_err(FilesFailure::from)?;
        removed.files = Some(Removal {
            at: cloudai_clock::now().wall,
            by: by.to_owned(),
        });
        let retired = Retired {
            task: task.clone(),
            records: vec![
                Record::Files(Box::new(stored)),
                Record::Removed(RemovedRecord {
                    task: task.clone(),
                    removed,
                }),
            ],
        };
        let tasks = vec![retired];
        let answer = self.call(|call| Input::Retire { call, tasks }).await?;
        drop(turn);
        let Answer::Retired(refused) = answer else {
            mixed_up(&answer)
        };
        if !refused?.is_empty() {
            let view = self.store.task(task).await;
            let record = view.map_err(|error| FilesFailure::from(read_failure(error)))?;
            let task = task.clone();
            return Err(match record {
                Some(record) => FilesFailure::NotFinal {
                    task,
                    status: record.state.status,
                },
                None => FilesFailure::Unknown {
                    task,
                    user: user.clone(),
                },
            }
            .into());
        }
        self.remove_now(task.clone(), user.clone()).await
    }

    /// Removes what is written down as removed, at once, also while somebody reads it: else whoever reads
    /// slowly would keep more than their quota. A file that is open goes on being readable. What a
    /// crash leaves is found by retention.
    async fn remove_now(&self, task: TaskId, user: UserName) -> Result<(), RemoveFilesFailure> {
        let files = self.files.clone();
        let removed = tokio::task::spawn_blocking(move || files.remove(&user, &task));
        removed.await.expect("removing does not panic")?;
        Ok(())
    }

    pub(super) async fn copy_files(
        &self,
        task: &TaskId,
        user: &UserName,
        destination: &Path,
        progress: watch::Sender<DownloadProgress>,
    ) -> Result<Downloaded, DownloadFailure> {
        // From here on retention leaves them.
        let reading = self.files.reading(task);
        let left = self.files_of_task(task, user).await?;
        if let Some(removal) = left.removed {
            let task = task.clone();
            return Err(FilesFailure::Removed { task, removal }.into());
        }
        let (store, destination) = (self.files.clone(), destination.to_owned());
        let (user, task) = (user.clone(), task.clone());
        let copied = tokio::task::spawn_blocking(move || {
            let _reading = reading;
            let summary = store.copy_out(&user, &task, &left.files, &destination, |copied| {
                progress.send_replace(DownloadProgress {
                    path: copied.path.to_string(),
                    done_bytes: copied.done_bytes,
                    total_bytes: copied.total_bytes,
                });
            })?;
            Ok(Downloaded { left, summary })
        });
        copied
            .await
            .expect("copying does not panic")
            .map_err(DownloadFailure::Copy)
    }
}
