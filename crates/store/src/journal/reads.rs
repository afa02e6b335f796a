//! Reads: from the database while it lacks nothing, else from the journal, which knows all of a task
//! that was added or forgotten since, and the last state and result of others. What lies only in the
//! database is answered with an error that says so.

use std::{collections::BTreeMap, fs::File, sync::Arc};

use cloudai_model::{
    TaskId, UserName,
    record::{AssignmentRecord, FilesRecord, Record, Removed, ResultRecord, TaskRecord},
};
use tokio::sync::mpsc;

use super::{
    JournaledStore, Shared,
    content::{Known, Noted, Place},
    database::Reached,
    file::Journal,
};
use crate::{Highest, ReadError, SubmittedUnder, TaskQuery};

impl JournaledStore {
    /// Those of the tasks that fit whose records lie in the journal as a whole, newest first: what
    /// can be listed while the database is out of reach.
    ///
    /// # Errors
    /// If the journal can't be read.
    pub async fn journaled_tasks(&self, query: &TaskQuery) -> Result<Vec<TaskRecord>, ReadError> {
        let shared = &self.shared;
        let (mut found, file) = {
            let content = shared.journal.content();
            let added = content.tasks.values().filter_map(|known| {
                let below = query.before.is_none_or(|before| known.order < before);
                let state = known.state.as_ref()?;
                let stands = query.statuses.is_empty() || query.statuses.contains(&state.status);
                let there = query.worker.is_none() || query.worker == state.worker;
                let fits = below && stands && there;
                Some((known.order, known.added.filter(|_| fits)?, known.clone()))
            });
            let found: Vec<(u64, Place, Known)> = added.collect();
            (found, content.file.clone())
        };
        found.sort_unstable_by_key(|(order, ..)| std::cmp::Reverse(*order));
        let mut tasks = Vec::new();
        for (_, place, known) in found {
            if tasks.len() >= query.limit {
                break;
            }
            let task = shared.added(file.clone(), place, &known).await?;
            if query
                .user
                .as_ref()
                .is_none_or(|user| *user == task.spec.user)
            {
                tasks.push(task);
            }
        }
        Ok(tasks)
    }
}

impl Shared {
    /// The database, if it lacks nothing.
    pub(super) fn of_database(&self) -> Result<&Arc<dyn Reached>, ReadError> {
        let condition = self.condition.borrow();
        if condition.closed {
            return Err(ReadError::Closed);
        }
        match (&condition.away, self.reached.get()) {
            (None, Some(reached)) => Ok(reached),
            (away, _) => {
                let reason = away.as_ref().map_or("", |(_, reason)| reason.as_str());
                Err(ReadError::OutOfReach {
                    place: self.database.describe(),
                    cause: reason.to_owned().into(),
                })
            }
        }
    }

    /// The database, or what the journal knows of the task.
    fn where_to_look(&self, task: &TaskId) -> Result<Look<'_>, ReadError> {
        let away = match self.of_database() {
            Ok(reached) => return Ok(Look::Database(reached)),
            Err(error @ ReadError::OutOfReach { .. }) => error,
            Err(error) => return Err(error),
        };
        let noted = self.journal.content().noted(task);
        Ok(Look::Journal(Box::new(noted), away))
    }

    async fn added(
        &self,
        file: Option<Arc<File>>,
        place: Place,
        known: &Known,
    ) -> Result<TaskRecord, ReadError> {
        match self.records(file, vec![place]).await?.pop() {
            Some(Record::TaskAdded(mut task)) => {
                task.state = known.state.clone().unwrap_or(task.state);
                for change in &known.changes {
                    change.apply(&mut task.spec);
                }
                Ok(*task)
            }
            _ => Err(self.misread()),
        }
    }

    async fn records(
        &self,
        file: Option<Arc<File>>,
        places: Vec<Place>,
    ) -> Result<Vec<Record>, ReadError> {
        let records = Journal::records(file, places).await;
        records.map_err(|cause| ReadError::Failed {
            place: format!("the journal {}", self.journal.path().display()),
            cause: cause.into(),
        })
    }

    fn misread(&self) -> ReadError {
        ReadError::Failed {
            place: format!("the journal {}", self.journal.path().display()),
            cause: "it holds another record than was written there".into(),
        }
    }

    pub(super) async fn task(&self, task: &TaskId) -> Result<Option<TaskRecord>, ReadError> {
        match self.where_to_look(task)? {
            Look::Database(reached) => reached.task(task).await,
            Look::Journal(noted, away) => match noted.known.added {
                Some(place) => {
                    let Noted { known, file } = *noted;
                    self.added(file, place, &known).await.map(Some)
                }
                None if noted.known.is_forgotten => Ok(None),
                None => Err(away),
            },
        }
    }

    pub(super) async fn assignments(
        &self,
        task: &TaskId,
    ) -> Result<Vec<AssignmentRecord>, ReadError> {
        let (Noted { known, file }, away) = match self.where_to_look(task)? {
            Look::Database(reached) => return reached.assignments(task).await,
            Look::Journal(noted, away) => (*noted, away),
        };
        if !known.is_whole() {
            return Err(away);
        }
        let places = known.assignments.values().copied().collect();
        let assignment = |record| match record {
            Record::Assignment(it) if it.attempt.task == *task => Ok(it),
            _ => Err(self.misread()),
        };
        let records = self.records(file, places).await?.into_iter();
        records.map(assignment).collect()
    }

    pub(super) async fn result(&self, task: &TaskId) -> Result<Option<ResultRecord>, ReadError> {
        let (Noted { known, file }, away) = match self.where_to_look(task)? {
            Look::Database(reached) => return reached.result(task).await,
            Look::Journal(noted, away) => (*noted, away),
        };
        match known.result {
            Some(place) => match self.records(file, vec![place]).await?.pop() {
                Some(Record::Result(result)) if result.attempt.task == *task => Ok(Some(*result)),
                _ => Err(self.misread()),
            },
            None if known.is_whole() => Ok(None),
            None => Err(away),
        }
    }

    pub(super) async fn files(&self, task: &TaskId) -> Result<Option<FilesRecord>, ReadError> {
        let (Noted { known, file }, away) = match self.where_to_look(task)? {
            Look::Database(reached) => return reached.files(task).await,
            Look::Journal(noted, away) => (*noted, away),
        };
        match known.files {
            Some(place) => match self.records(file, vec![place]).await?.pop() {
                Some(Record::Files(files)) if files.attempt.task == *task => Ok(Some(*files)),
                _ => Err(self.misread()),
            },
            None if known.is_whole() => Ok(None),
            None => Err(away),
        }
    }

    /// From the journal, too, where nothing else can be had: all tasks of one submit are in one
    /// batch, so those that are found there are all of them.
    pub(super) async fn submitted(
        &self,
        user: &UserName,
        key: &str,
    ) -> Result<Vec<SubmittedUnder>, ReadError> {
        let away = match self.of_database() {
            Ok(reached) => {
                let found = reached.submitted(user, key).await?;
                return Ok(match found.is_empty() {
                    true => self.taken_in_under(user, key),
                    false => found,
                });
            }
            Err(error @ ReadError::OutOfReach { .. }) => error,
            Err(error) => return Err(error),
        };
        let taken_in = self.taken_in_under(user, key);
        if !taken_in.is_empty() {
            return Ok(taken_in);
        }
        let tasks = {
            let content = self.journal.content();
            let tasks = content.submits.get(&(user.clone(), key.to_owned()));
            tasks
                .into_iter()
                .flatten()
                .map(|(_, task)| task.clone())
                .collect::<Vec<_>>()
        };
        let mut found = Vec::new();
        for task in tasks {
            let task = self.task(&task).await?;
            found.extend(task.as_ref().and_then(SubmittedUnder::of));
        }
        match found.is_empty() {
            true => Err(away),
            false => Ok(found),
        }
    }

    /// Those of the tasks that were accepted before the store had been read.
    fn taken_in_under(&self, user: &UserName, key: &str) -> Vec<SubmittedUnder> {
        let content = self.journal.content();
        let tasks = content.submitted.values().map(|submitted| &submitted.task);
        let of_user = tasks.filter(|task| task.spec.user == *user);
        let under = of_user.filter_map(SubmittedUnder::of);
        under.filter(|it| it.key.key == key).collect()
    }

    pub(super) async fn removed(
        &self,
        tasks: &[TaskId],
    ) -> Result<BTreeMap<TaskId, Removed>, ReadError> {
        let away = match self.of_database() {
            Ok(reached) => return reached.removed(tasks).await,
            Err(error @ ReadError::OutOfReach { .. }) => error,
            Err(error) => return Err(error),
        };
        let mut places = Vec::new();
        let file = {
            let content = self.journal.content();
            for task in tasks {
                match content.tasks.get(task) {
                    Some(known) if known.removed.is_some() => places.extend(known.removed),
                    Some(known) if known.is_whole() => {}
                    _ => return Err(away),
                }
            }
            content.file.clone()
        };
        if places.is_empty() {
            return Ok(BTreeMap::new());
        }
        let removed = |record| match record {
            Record::Removed(it) if tasks.contains(&it.task) => Ok((it.task, it.removed)),
            _ => Err(self.misread()),
        };
        let records = self.records(file, places).await?.into_iter();
        records.map(removed).collect()
    }

    /// Reads the store once the database is there and lacks nothing. If it is lost on the way the
    /// rest is read later: nothing has been written meanwhile, so it begins with the same records.
    pub(super) async fn load(&self, sink: mpsc::Sender<Vec<Record>>) -> Result<Highest, ReadError> {
        let mut sent = 0;
        loop {
            let reached = self.whole().await?;
            let (rest, chunks) = mpsc::channel(1);
            let (loaded, forwarded) =
                tokio::join!(reached.load(rest), forward(chunks, sent, sink.clone()));
            sent = forwarded?;
            match loaded {
                Ok(highest) => {
                    let submitted = self.journal.content().highest_submitted;
                    self.condition
                        .send_modify(|condition| condition.read = true);
                    return Ok(Highest {
                        task_number: highest.task_number.max(submitted),
                        ..highest
                    });
                }
                Err(error @ ReadError::OutOfReach { .. }) if !self.settings.required => {
                    self.lost(&super::in_words(&error)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A read has found the database out of reach.
    async fn lost(&self, reason: &str) {
        let mut turn = self.turn.lock().await;
        if *turn == super::Turn::Commits {
            *turn = super::Turn::Keeper;
            self.lose(reason);
        }
    }
}

/// Hands records on, but for the first `known`; returns how many are known at the end.
async fn forward(
    mut chunks: mpsc::Receiver<Vec<Record>>,
    mut known: usize,
    sink: mpsc::Sender<Vec<Record>>,
) -> Result<usize, ReadError> {
    let mut seen = 0;
    while let Some(mut chunk) = chunks.recv().await {
        let skip = known.saturating_sub(seen).min(chunk.len());
        seen += chunk.len();
        chunk.drain(..skip);
        known = known.max(seen);
        if !chunk.is_empty() {
            let sent = sink.send(chunk).await;
            sent.map_err(|_| ReadError::ReceiverGone)?;
        }
    }
    Ok(known)
}

enum Look<'a> {
    Database(&'a Arc<dyn Reached>),
    Journal(Box<Noted>, ReadError),
}
