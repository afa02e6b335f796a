//! What has to be done now and then: forgetting what counts no more, and other keys for tokens.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use cloudai_model::{Mono, Now, Wall, account::AccountChange};

use crate::{
    accounts::{Accounts, Decision, chain},
    audit::{Action, AuditEntry},
    identity::{CallContext, Forbidden, Identity, Peer, Permission},
    secret::{NoRandomness, random},
    store::AccountStoreError,
    token::{KeyOrigin, KeyRing, RingError, RingFileError},
};

/// A token that was logged out is remembered for so long after its end: a clock that was set forth and
/// is set back must not make it count again.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// What is forgotten by its age waits until both clocks have gone on together for so long: what a clock
/// that was set forth takes away does not come back with it.
const BELIEVED_AFTER: Duration = Duration::from_secs(3600);
/// Clocks are set right by less than that all the time.
const SMALL_STEP: Duration = Duration::from_secs(60);

/// When things were done last.
#[derive(Debug, Default)]
pub(crate) struct Tended {
    /// Since when the clocks go on together.
    together_since: Option<Now>,
    logouts: Option<Mono>,
}

impl Tended {
    fn is_believed(&mut self, now: Now) -> bool {
        let since = *self.together_since.get_or_insert(now);
        let by_mono = now.mono.since(since.mono);
        // Back and forth alike: a span that is too short is no better.
        if by_mono.abs_diff(now.wall.since(since.wall)) > SMALL_STEP {
            self.together_since = Some(now);
            return false;
        }
        by_mono >= BELIEVED_AFTER
    }
}

/// Why the tokens' key stays what it is.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// Who asks may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The key is `JWT_SECRET`.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// It can't be written down.
    #[error(transparent)]
    File(#[from] RingFileError),
    /// No key can be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// Something can't be kept.
    #[error(transparent)]
    Store(#[from] AccountStoreError),
}

impl Accounts {
    /// Forgets ended tokens and retired keys, and makes another key for tokens when it is time. To be called
    /// every minute or so. Old records of the audit are the master's to forget, as its tasks are.
    ///
    /// # Errors
    /// If something can't be kept; the next call tries again.
    pub async fn tend(&self, now: Now) -> Result<(), RotateError> {
        // What the store refused when it was full is taken now, perhaps.
        self.flush();
        self.forget(now).await?;
        if !self.tended().is_believed(now) {
            return Ok(());
        }
        let due = {
            let (since, origin) = self.ring().current_since();
            let lifetime = self.0.settings.token_key_lifetime;
            // One that is of later than now was made by a clock that was set forth.
            let is_old = |it| now.wall < since || now.wall.since(since) >= it;
            origin == KeyOrigin::Made && lifetime.is_some_and(is_old)
        };
        if due {
            let call = CallContext {
                now,
                from: Peer::Console,
                request: String::new(),
            };
            self.replace_key(None, false, now).await?;
            let entry = AuditEntry::new(&call, None, Action::TokenKeyRotate);
            self.append(entry.detail("by its age")).await?;
        } else {
            let mut ring = self.ring().clone();
            if ring.forget(now.wall) {
                self.write_ring(move |ring| {
                    ring.forget(now.wall);
                    Ok(())
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Makes another key for tokens. Those made before go on until they end; with `at_once` all of them
    /// end now, which is what to do if somebody may have seen the key.
    ///
    /// # Errors
    /// See [`RotateError`].
    pub async fn rotate_token_key(
        &self,
        call: &CallContext,
        by: &Identity,
        at_once: bool,
    ) -> Result<(), RotateError> {
        let rotated = async {
            by.authorize(Permission::Credentials)?;
            self.replace_key(Some(by.clone()), at_once, call.now).await
        };
        let entry = AuditEntry::new(call, Some(by), Action::TokenKeyRotate);
        match rotated.await {
            Ok(()) => {
                let what = if at_once {
                    "all tokens end"
                } else {
                    "tokens go on"
                };
                if let Err(error) = self.append(entry.detail(what)).await {
                    // It is done.
                    tracing::warn!(error = %chain(&error), "another key is not in the audit yet");
                }
                Ok(())
            }
            Err(error) => {
                self.note_refusal(call, entry.refused(chain(&error))).await;
                Err(error)
            }
        }
    }

    /// Changes before this one may have ended that whoever asks is somebody who may: it is looked at once
    /// more when nothing else changes.
    async fn replace_key(
        &self,
        by: Option<Identity>,
        at_once: bool,
        now: Now,
    ) -> Result<(), RotateError> {
        let (fresh, life) = (random()?, self.0.settings.token_lifetime);
        let accounts = self.clone();
        self.write_ring(move |ring| {
            if let Some(by) = by {
                let by = accounts.recheck(&by, now.wall);
                let by = by.map_err(|_| Forbidden::Ended)?;
                by.authorize(Permission::Credentials)?;
            }
            Ok(ring.rotate(fresh, life, at_once, now.wall)?)
        })
        .await
    }

    /// Changes the ring, on the disk first. Goes on to its end when the caller has gone.
    async fn write_ring(
        &self,
        change: impl FnOnce(&mut KeyRing) -> Result<(), RotateError> + Send + 'static,
    ) -> Result<(), RotateError> {
        let accounts = self.clone();
        let done = tokio::spawn(async move {
            let _writer = accounts.0.writer.lock().await;
            let mut ring = accounts.ring().clone();
            change(&mut ring)?;
            let (file, written) = (accounts.0.ring_file.clone(), ring.clone());
            let written = tokio::task::spawn_blocking(move || file.write(&written));
            written
                .await
                .map_err(|error| AccountStoreError::new("write the keys", error))??;
            *accounts.ring_mut() = ring;
            Ok(())
        });
        done.await
            .unwrap_or_else(|error| Err(AccountStoreError::new("write the keys", error).into()))
    }

    fn tended(&self) -> MutexGuard<'_, Tended> {
        let tended = self.0.tended.lock();
        tended.unwrap_or_else(PoisonError::into_inner)
    }

    async fn forget(&self, now: Now) -> Result<(), AccountStoreError> {
        if !self.tended().is_believed(now) {
            return Ok(());
        }
        let ended_before = before(now, REMEMBERED);
        let mut changes = Vec::new();
        if self.directory().has_forgettable(ended_before) {
            changes.push(AccountChange::TokensForgotten(ended_before));
        }
        if !changes.is_empty() {
            self.change(move |_| {
                Ok::<_, AccountStoreError>(Decision {
                    changes,
                    entries: Vec::new(),
                    answer: (),
                })
            })
            .await?;
        }
        let mut tended = self.tended();
        let lifetime = self.0.settings.token_lifetime;
        if tended
            .logouts
            .is_none_or(|at| now.mono.since(at) >= lifetime)
        {
            tended.logouts = Some(now.mono);
            self.0.logouts.forget();
        }
        Ok(())
    }
}

/// The instant so long ago.
fn before(now: Now, span: Duration) -> Wall {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Wall(now.wall.0.saturating_sub_unsigned(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_s: u64, wall_s: i64) -> Now {
        Now {
            mono: Mono(mono_s * 1000),
            wall: Wall(wall_s * 1000),
        }
    }

    #[test]
    fn a_clock_is_believed_an_hour_after_it_was_set() {
        let mut tended = Tended::default();
        assert!(!tended.is_believed(at(0, 1_000_000)));
        assert!(!tended.is_believed(at(3599, 1_003_599)));
        assert!(tended.is_believed(at(3600, 1_003_610)));
        // It is set forth by a year, and back.
        for (mono, step) in [(4000, 31_536_000), (8000, 0)] {
            let wall = |seconds: u64| 1_000_000 + step + i64::try_from(seconds).unwrap();
            for (later, is_believed) in [(0, false), (3000, false), (3600, true)] {
                let now = at(mono + later, wall(mono + later));
                assert_eq!(tended.is_believed(now), is_believed, "{mono} {later}");
            }
        }
    }
}
