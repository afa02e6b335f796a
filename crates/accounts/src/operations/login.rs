//! To log in and out.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cloudai_model::{
    AccountState, Now, UserName, Wall,
    account::{AccountChange, EndedToken, UserRecord},
};

use crate::{
    accounts::{AUDITED_WITHIN, Accounts, Decision, chain},
    audit::{Action, AuditEntry},
    identity::{CallContext, How, Identity, Peer},
    password::{Asker, Busy, LONGEST_PASSWORD, Verdict},
    secret::{NoRandomness, Secret, random},
    store::AccountStoreError,
    throttle::Try,
    token::{Claims, issue},
    views::User,
};

/// Who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// To be shown with every request.
    pub token: Secret,
    /// When it ends by itself.
    pub expires_at: Wall,
    /// Whose it is.
    pub user: User,
}

/// Why somebody may not log in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The name or the password is wrong; which one isn't told.
    #[error("the user name or the password is wrong")]
    Wrong,
    /// The password was right, and an admin has not yet let the user in.
    #[error("the account awaits an admin's approval")]
    AwaitsApproval,
    /// The password was right, and an admin has locked the account.
    #[error("the account is locked: an admin can unlock it")]
    Locked,
    /// Too many mistakes.
    #[error("too many wrong passwords: expected another try in {}s", seconds(*.retry_after))]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Too many others.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// No token can be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// Whole seconds, none of them too few: what `Retry-After` says.
fn seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// Why somebody can't log out.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// They never logged in.
    #[error("only the token of a login can be logged out: keys are deleted")]
    NotLoggedIn,
    /// It can't be kept.
    #[error(transparent)]
    Store(#[from] AccountStoreError),
}

/// How many tokens each user has logged out. Each of them is remembered until it would have ended: who
/// logs in and out in a loop has all their tokens ended at some point, which takes one number.
#[derive(Debug, Default)]
pub(crate) struct Logouts(Mutex<BTreeMap<UserName, u32>>);

/// So many tokens of one user are remembered singly.
const MOST_LOGOUTS: u32 = 1000;

impl Logouts {
    /// Counts one; whether that is one too many.
    fn count(&self, user: &UserName) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(user.clone()).or_default();
        *count += 1;
        let is_one_too_many = *count > MOST_LOGOUTS;
        if is_one_too_many {
            counts.remove(user);
        }
        is_one_too_many
    }

    /// Once all of those have ended by themselves.
    pub(crate) fn forget(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

impl Accounts {
    /// Trades a password for a token.
    ///
    /// It takes as long for a user who isn't there as for one who is. A record of the audit that the
    /// store won't take keeps nobody out: on a full disk an admin must come in.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn login(
        &self,
        call: &CallContext,
        username: &str,
        password: Secret,
    ) -> Result<Session, LoginError> {
        let name: Option<UserName> = username.parse().ok();
        let tried = match self.begin(call, name.as_ref()) {
            Ok(tried) => tried,
            Err(retry_after) => {
                let error = LoginError::Throttled { retry_after };
                let is_user = |name: &&UserName| self.directory().user(name).is_some();
                let user = name.as_ref().filter(is_user).map(UserName::as_str);
                let entry = AuditEntry::new(call, None, Action::Login);
                let entry = entry.target(user.unwrap_or("(unknown)"));
                self.note_refusal(call, entry.refused(error.to_string()))
                    .await;
                return Err(error);
            }
        };
        let stored = name.as_ref().and_then(|name| {
            let directory = self.directory();
            let user = directory.user(name)?;
            Some((user.password_hash.clone(), user.generation))
        });
        let (stored, generation) = stored.unzip();
        let is_user = stored.is_some();
        let asker = match tried.as_ref().filter(|tried| tried.is_known()) {
            Some(_) => name.as_ref().map(|name| Asker::of(call, name)),
            None => None,
        };
        let asker = asker.unwrap_or_else(|| Asker::stranger(call));
        let verdict = self.verify(password, stored.clone(), asker).await;
        let fresh = match verdict {
            Ok(Verdict::Right { fresh }) => fresh,
            Ok(Verdict::Wrong) => {
                // A name that is nobody's may be a password in the wrong field.
                let target = if is_user { username } else { "(unknown)" };
                let entry = AuditEntry::new(call, None, Action::Login).target(target);
                self.note_refusal(call, entry.refused(LoginError::Wrong.to_string()))
                    .await;
                return Err(LoginError::Wrong);
            }
            Err(busy) => {
                self.not_made(tried);
                return Err(busy.into());
            }
        };
        self.succeeded(tried, call.now);
        let (Some(name), Some(stored), Some(generation)) = (name, stored, generation) else {
            return Err(LoginError::Wrong);
        };
        let entry = AuditEntry::new(call, None, Action::Login)
            .by(&name)
            .target(name.as_str());
        let session = match self.session(&name, generation, call.now) {
            Ok(session) => session,
            Err(error) => {
                self.note_refusal(call, entry.refused(error.to_string()))
                    .await;
                return Err(error);
            }
        };
        if let Some(fresh) = fresh {
            // It goes on by itself where the store takes its time.
            let kept = self.rehash(&name, stored, fresh);
            let _ = tokio::time::timeout(AUDITED_WITHIN, kept).await;
        }
        if let Err(error) = self.append(entry).await {
            tracing::warn!(user = %name, error = %chain(&error), "a login is not in the audit yet");
        }
        Ok(session)
    }

    /// Ends the token that somebody came in with.
    ///
    /// # Errors
    /// See [`LogoutError`].
    pub async fn logout(&self, call: &CallContext, by: &Identity) -> Result<(), LogoutError> {
        let How::Token { id, expires_at, .. } = by.how.clone() else {
            return Err(LogoutError::NotLoggedIn);
        };
        let entry = AuditEntry::new(call, Some(by), Action::Logout).target(by.user.as_str());
        let user = by.user.clone();
        let is_one_too_many = self.0.logouts.count(&user);
        self.change(move |directory| {
            let until = expires_at;
            let one = AccountChange::TokenEnded(EndedToken { id, until });
            let all = directory
                .user(&user)
                .filter(|_| is_one_too_many)
                .map(|user| {
                    AccountChange::User(Box::new(UserRecord {
                        generation: user.generation + 1,
                        ..user.clone()
                    }))
                });
            Ok(Decision::new(vec![all.unwrap_or(one)], entry, ()))
        })
        .await
    }

    /// A token for a user whose password was right under this generation, if it still counts: a dearer
    /// hash of the same password leaves the generation be.
    pub(super) fn session(
        &self,
        user: &UserName,
        generation: u64,
        now: Now,
    ) -> Result<Session, LoginError> {
        let jti = hex::encode(random::<16>()?);
        let directory = self.directory();
        let record = directory
            .user(user)
            .filter(|record| record.generation == generation);
        let record = record.ok_or(LoginError::Wrong)?;
        match record.state {
            AccountState::Active => {}
            AccountState::AwaitsApproval => return Err(LoginError::AwaitsApproval),
            AccountState::Locked => return Err(LoginError::Locked),
        }
        let made = now.wall.unix_seconds();
        let lifetime = i64::try_from(self.0.settings.token_lifetime.as_secs()).unwrap_or(i64::MAX);
        let claims = Claims {
            iss: self.0.settings.issuer.clone(),
            sub: user.to_string(),
            jti,
            generation: record.generation,
            iat: made,
            exp: made.saturating_add(lifetime),
        };
        Ok(Session {
            token: issue(&self.ring(), &claims),
            expires_at: claims.expires_at(),
            user: record.into(),
        })
    }

    /// Whether a password may be tried now.
    pub(super) fn begin(
        &self,
        call: &CallContext,
        user: Option<&UserName>,
    ) -> Result<Option<Try>, Duration> {
        match call.from {
            // Whoever is there needs no password.
            Peer::Console => Ok(None),
            Peer::Address(address) => {
                let mut throttle = self.throttle();
                throttle
                    .begin(user, address.into(), call.now.mono)
                    .map(Some)
            }
        }
    }

    pub(super) fn succeeded(&self, tried: Option<Try>, now: Now) {
        if let Some(tried) = tried {
            self.throttle().succeeded(tried, now.mono);
        }
    }

    pub(super) fn not_made(&self, tried: Option<Try>) {
        if let Some(tried) = tried {
            self.throttle().not_made(tried);
        }
    }

    pub(super) async fn verify(
        &self,
        password: Secret,
        stored: Option<String>,
        asker: Asker,
    ) -> Result<Verdict, Busy> {
        // Nobody has one of that length, and it would be hashed all the same.
        if password.expose().len() > LONGEST_PASSWORD {
            return Ok(Verdict::Wrong);
        }
        self.0.hasher.verify(password, stored, asker).await
    }

    /// Keeps a dearer hash of the same password. If that fails, the next login tries again.
    async fn rehash(&self, user: &UserName, stored: String, fresh: String) {
        let name = user.clone();
        let kept = self.change(move |directory| {
            let same = directory
                .user(&name)
                .filter(|user| user.password_hash == stored);
            let changes = same.map(|user| {
                let mut user = user.clone();
                user.password_hash = fresh;
                AccountChange::User(Box::new(user))
            });
            Ok::<_, AccountStoreError>(Decision {
                changes: changes.into_iter().collect(),
                entries: Vec::new(),
                answer: (),
            })
        });
        if let Err(error) = kept.await {
            tracing::warn!(%user, error = %chain(&error), "a stronger hash was not kept");
        }
    }
}
