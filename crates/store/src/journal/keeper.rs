//! The one task that looks after the database while it is out of reach: tries to reach it, carries
//! the journal over in order, and hands the turn back to the commits. While all is well it asks now
//! and then whether that is so.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::{
    AppendError, Shared, Turn,
    database::{NotOpened, Reached, in_words},
    entry::Entry,
};
use crate::CommitError;

/// How often the database is asked whether it is there, at most.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The pause before it is tried again, at most.
const PAUSE: Duration = Duration::from_millis(500);
/// For how many times the patience of a commit it may refuse, after a start without it, before that
/// counts as its last word: a server that has just come up may not know its users yet.
const PATIENCE_WITH_REFUSALS: u32 = 4;
/// With so few batches left commits wait until these are over, too: the last step of catching up.
const LAST_BATCHES: usize = 2;

/// Looks after a database until it can't be used, or for ever.
pub(super) async fn keep(shared: Arc<Shared>) {
    let Broken(reason) = keep_until_broken(&shared).await;
    shared.condition.send_modify(|condition| {
        let now = cloudai_clock::now().wall;
        condition.away.get_or_insert((now, reason.clone()));
        condition.broken = Some(reason);
    });
}

/// The database is there, and can't be used: why.
struct Broken(String);

/// Why a batch is still to be carried over.
enum NotCarried {
    /// The database didn't take it, or it can't be read.
    Commit(CommitError),
    /// The database has it, and that can't be written down. Until it is, commits must not go to
    /// the database: at the next start this batch would be sent again, over theirs.
    NotStruckOff(AppendError),
}

async fn keep_until_broken(shared: &Shared) -> Broken {
    if shared.reached.get().is_none()
        && let Err(broken) = reach(shared).await
    {
        return broken;
    }
    let Some(reached) = shared.reached.get().cloned() else {
        return Broken("the database was not opened".to_owned());
    };
    loop {
        let turn = *shared.turn.lock().await;
        let outcome = match turn {
            Turn::Keeper => catch_up(shared, &reached).await,
            Turn::Commits => watch(shared, &reached).await,
            Turn::Closed => std::future::pending().await,
        };
        if let Err(broken) = outcome {
            return broken;
        }
    }
}

/// Opens the database, however long that takes.
async fn reach(shared: &Shared) -> Result<(), Broken> {
    let mut refused_since = None;
    loop {
        sleep(shared.pause()).await;
        match shared.reach().await {
            Ok(()) => return Ok(()),
            Err(NotOpened::OutOfReach(cause)) => {
                refused_since = None;
                shared.lose(&in_words(&*cause));
            }
            Err(NotOpened::Refused(cause)) => {
                let since = *refused_since.get_or_insert_with(Instant::now);
                let words = in_words(&*cause);
                if since.elapsed() >= shared.settings.journal_after * PATIENCE_WITH_REFUSALS {
                    return Err(Broken(words));
                }
                shared.lose(&words);
            }
            Err(NotOpened::TakenOver) => {
                return Err(Broken(shared.not_the_same().to_string()));
            }
        }
    }
}

/// Carries the journal over, however long that takes, and hands the turn to the commits.
async fn catch_up(shared: &Shared, reached: &Arc<dyn Reached>) -> Result<(), Broken> {
    // A batch that takes longer than commits wait is carried over while they don't.
    let mut is_slow = false;
    loop {
        let left = shared.journal.content().batches.len();
        let outcome = match left {
            0..=LAST_BATCHES if !is_slow => finish(shared, reached).await,
            _ => carry_over(shared, reached).await.map(|()| Finish::Later),
        };
        is_slow = matches!(outcome, Ok(Finish::NotInTime));
        match outcome {
            Ok(Finish::Done) => return Ok(()),
            Ok(Finish::NotInTime | Finish::Later) => {}
            Err(error) => {
                shared.pace.stands();
                match error {
                    NotCarried::Commit(error) => {
                        cannot_be_used(shared, &error)?;
                        shared.lose(&in_words(&error));
                    }
                    NotCarried::NotStruckOff(error) => {
                        shared.lose(&format!("it is there again, but {error}"));
                    }
                }
                sleep(shared.pause()).await;
            }
        }
    }
}

/// Whether a failure is one that does not pass.
fn cannot_be_used(shared: &Shared, error: &CommitError) -> Result<(), Broken> {
    match error {
        CommitError::OutOfReach { .. } | CommitError::Full { .. } => Ok(()),
        // With a journal, what becomes of it is said, too.
        CommitError::TakenOver { .. } if !shared.journal.content().batches.is_empty() => {
            Err(Broken(shared.not_the_same().to_string()))
        }
        error => Err(Broken(in_words(error))),
    }
}

/// How far catching up has come.
enum Finish {
    /// Commits go to the database again.
    Done,
    /// Commits have waited long enough, and go into the journal.
    NotInTime,
    /// There is more.
    Later,
}

/// Carries the last batches over while commits wait. When it is done the journal's
/// file is gone, or says itself that the database has all of it.
async fn finish(shared: &Shared, reached: &Arc<dyn Reached>) -> Result<Finish, NotCarried> {
    reached.ping().await.map_err(NotCarried::Commit)?;
    let mut turn = shared.turn.lock().await;
    if *turn != Turn::Keeper {
        return Ok(Finish::Done);
    }
    while !shared.journal.content().batches.is_empty() {
        // For each of the few batches a commit waits no longer than it would for the database.
        let carry_over = carry_over(shared, reached);
        match timeout(shared.settings.journal_after, carry_over).await {
            Ok(outcome) => outcome?,
            Err(_) => {
                shared.pace.stands();
                return Ok(Finish::NotInTime);
            }
        }
    }
    shared.clear().await;
    shared.pace.stands();
    *turn = Turn::Commits;
    shared
        .condition
        .send_modify(|condition| condition.away = None);
    Ok(Finish::Done)
}

/// Carries the oldest batch over, as it was sent before, and strikes it off.
async fn carry_over(shared: &Shared, reached: &Arc<dyn Reached>) -> Result<(), NotCarried> {
    let Some(oldest) = shared.journal.content().batches.front().copied() else {
        return Ok(());
    };
    let failed = |cause: std::io::Error| {
        NotCarried::Commit(CommitError::Failed {
            place: format!("the journal {}", shared.journal.path().display()),
            cause: cause.into(),
        })
    };
    let Entry::Batch(batch) = shared.journal.batch(oldest).await.map_err(failed)? else {
        return Err(failed(std::io::Error::other("expected a batch")));
    };
    reached.commit(batch).await.map_err(NotCarried::Commit)?;
    // If that fails, or after a crash, it is sent once more before any other, which changes nothing.
    let done = vec![Entry::Done(oldest.at)];
    let struck_off = shared.journal.append(done).await;
    struck_off.map_err(NotCarried::NotStruckOff)?;
    shared.pace.carried_one();
    Ok(())
}

/// Asks now and then whether the database is there; returns when the turn may have passed on.
async fn watch(shared: &Shared, reached: &Arc<dyn Reached>) -> Result<(), Broken> {
    sleep(LOOK_EVERY.min(shared.settings.journal_after / 2)).await;
    let patience = shared.settings.journal_after;
    let began = Instant::now();
    let reason = loop {
        match timeout(patience, reached.ping()).await {
            // No commit would say so if none came.
            Ok(Err(error @ CommitError::TakenOver { .. })) => {
                return cannot_be_used(shared, &error);
            }
            // Without a journal it is for the commits to wait.
            _ if shared.settings.required => return Ok(()),
            Ok(Err(error @ CommitError::OutOfReach { .. })) => {
                if began.elapsed() >= patience {
                    break in_words(&error);
                }
                sleep(shared.pause()).await;
            }
            // Whatever else it says, a commit will hear it too.
            Ok(_) => return Ok(()),
            Err(_) => break format!("it has not answered within {patience:?}"),
        }
    };
    let mut turn = shared.turn.lock().await;
    if *turn == Turn::Commits {
        *turn = Turn::Keeper;
        shared.lose(&reason);
    }
    Ok(())
}

impl Shared {
    fn pause(&self) -> Duration {
        PAUSE.min(self.settings.journal_after / 5)
    }

    /// Removes the journal if nothing in it is owed.
    pub(super) async fn clear(&self) {
        if let Err(error) = self.journal.clear().await {
            warn!(%error, "the journal could not be removed; it says that nothing in it is owed");
        }
    }
}
