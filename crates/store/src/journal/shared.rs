//! What commits, reads and the keeper share: the journal, the database, whose turn it is, and how
//! things stand.

use std::sync::{Arc, OnceLock};

use cloudai_model::{Degraded, Wall, record::Record};
use tokio::{
    sync::{Mutex, RwLock, watch},
    time::timeout,
};

use super::{
    AppendError, JournalSettings, JournaledOpenError,
    database::{Database, NotOpened, Reached, in_words},
    entry::Entry,
    file::Journal,
    pace::Pace,
};
use crate::{CommitError, ReadError, sqlite::lock::DataDirLock};

pub(super) struct Shared {
    pub(super) settings: JournalSettings,
    pub(super) database: Arc<dyn Database>,
    /// The name under which this process owns the database.
    pub(super) owner: String,
    pub(super) journal: Journal,
    pub(super) reached: OnceLock<Arc<dyn Reached>>,
    pub(super) turn: Mutex<Turn>,
    pub(super) pace: Pace,
    /// Whether tasks are taken in before the store has been read.
    pub(super) intake: RwLock<bool>,
    pub(super) condition: watch::Sender<Condition>,
    /// Until it is closed.
    pub(super) lock: std::sync::Mutex<Option<DataDirLock>>,
}

/// Who writes to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Commits, each by itself.
    Commits,
    /// The keeper; commits go into the journal.
    Keeper,
    /// Nobody any more.
    Closed,
}

/// How things stand, for all to see.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    /// Since when the database is out of reach, and why.
    pub(super) away: Option<(Wall, String)>,
    /// What ends it all: the database is there, and can't be used.
    pub(super) broken: Option<String>,
    /// Whether the store has been read since the start.
    pub(super) read: bool,
    pub(super) closed: bool,
}

impl Shared {
    /// Opens the database.
    pub(super) async fn reach(&self) -> Result<(), NotOpened> {
        let owes = !self.journal.content().batches.is_empty();
        let mut former = Vec::new();
        if owes {
            // Before the name is used there: after a crash in between it is known here.
            self.remember_owner()
                .await
                .map_err(|error| NotOpened::OutOfReach(error.into()))?;
            former.clone_from(&self.journal.content().owners);
        }
        let reached = self.database.open(&self.owner, &former).await?;
        // There is one keeper, and it comes here once.
        let _ = self.reached.set(reached);
        Ok(())
    }

    /// Writes down under which name the database is this master's, once.
    pub(super) async fn remember_owner(&self) -> Result<(), AppendError> {
        let known = self.journal.content().owners.contains(&self.owner);
        if known {
            return Ok(());
        }
        self.journal
            .append(vec![Entry::Owner(self.owner.clone())])
            .await
    }

    pub(super) fn not_the_same(&self) -> JournaledOpenError {
        JournaledOpenError::NotTheSame {
            place: self.database.describe(),
            journal: self.journal.path().to_owned(),
            changes: self.journal.content().records(),
        }
    }

    /// The database is out of reach.
    pub(super) fn lose(&self, reason: &str) {
        self.condition.send_if_modified(|condition| {
            if condition.away.as_ref().is_some_and(|it| it.1 == reason) {
                return false;
            }
            let now = cloudai_clock::now().wall;
            let since = condition.away.as_ref().map_or(now, |(since, _)| *since);
            condition.away = Some((since, reason.to_owned()));
            true
        });
    }

    pub(super) fn degraded(&self) -> Option<Degraded> {
        let (since, reason, read) = {
            let condition = self.condition.borrow();
            let (since, reason) = condition.away.clone()?;
            let reason = condition.broken.clone().unwrap_or(reason);
            (since, reason, condition.read)
        };
        let content = self.journal.content();
        Some(Degraded {
            place: self.database.describe(),
            since,
            reason,
            read,
            changes: content.records(),
            submitted: content.submitted.len(),
            journal_bytes: content.length,
        })
    }

    /// The database, once commits go there; an error once they never will.
    pub(super) async fn whole(&self) -> Result<Arc<dyn Reached>, ReadError> {
        let mut condition = self.condition.subscribe();
        let settled = |it: &Condition| it.away.is_none() || it.broken.is_some() || it.closed;
        let condition = condition.wait_for(settled).await;
        let condition = condition.map_err(|_| ReadError::Closed)?;
        if condition.closed {
            return Err(ReadError::Closed);
        }
        if let Some(broken) = &condition.broken {
            return Err(ReadError::Failed {
                place: self.database.describe(),
                cause: broken.clone().into(),
            });
        }
        drop(condition);
        self.reached.get().cloned().ok_or(ReadError::Closed)
    }

    /// Writes a batch down.
    pub(super) async fn journal(&self, batch: Arc<Vec<Record>>) -> Result<(), CommitError> {
        let mut entries = Vec::with_capacity(2);
        if !self.journal.content().owners.contains(&self.owner) {
            entries.push(Entry::Owner(self.owner.clone()));
        }
        entries.push(Entry::Batch(batch));
        let written = self.journal.append(entries).await;
        written.map_err(AppendError::at_commit)
    }

    pub(super) async fn commit(&self, batch: Arc<Vec<Record>>) -> Result<(), CommitError> {
        let mut turn = self.turn.lock().await;
        if *turn == Turn::Keeper {
            // The keeper may need the turn for that.
            drop(turn);
            self.pace.keep(self.settings.journal_after).await;
            turn = self.turn.lock().await;
        }
        let reason = match (*turn, self.reached.get()) {
            (Turn::Closed, _) | (_, None) => return Err(CommitError::Closed),
            (Turn::Keeper, Some(_)) => {
                self.broken_at_commit()?;
                return self.journal(batch).await;
            }
            (Turn::Commits, Some(reached)) if self.settings.required => {
                return reached.commit(batch).await;
            }
            (Turn::Commits, Some(reached)) => {
                let patience = self.settings.journal_after;
                match timeout(patience, reached.commit(Arc::clone(&batch))).await {
                    Ok(Err(error @ CommitError::OutOfReach { .. })) => in_words(&error),
                    Ok(outcome) => return outcome,
                    Err(_) => format!("it has not answered within {patience:?}"),
                }
            }
        };
        // What became of it there is not known: it is the first to be sent again, as it is.
        self.journal(batch).await?;
        *turn = Turn::Keeper;
        self.lose(&reason);
        Ok(())
    }

    pub(super) fn broken_at_commit(&self) -> Result<(), CommitError> {
        match &self.condition.borrow().broken {
            None => Ok(()),
            Some(broken) => Err(CommitError::Broken {
                place: self.database.describe(),
                journal: self.journal.path().to_owned(),
                cause: broken.clone().into(),
            }),
        }
    }
}
