//! To give a user another password.

use std::time::Duration;

use cloudai_model::{
    DraftErrors, FieldError, UserName,
    account::{AccountChange, UserRecord},
};

use super::login::{LoginError, Session};
use crate::{
    accounts::{Accounts, Decision, Refusal, chain, fields, random_password},
    audit::{Action, AuditEntry},
    identity::{CallContext, Forbidden, Identity, Peer, Permission},
    password::{Asker, Busy, HashError, Verdict, check_password},
    secret::Secret,
    store::AccountStoreError,
};

/// Why a password stays what it is.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Who asks may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The current password is another one.
    #[error("the current password is wrong")]
    Wrong,
    /// The new one won't do.
    #[error(transparent)]
    Invalid(#[from] DraftErrors),
    /// No such user.
    #[error("there is no user {user}")]
    NoSuchUser {
        /// The name.
        user: UserName,
    },
    /// Somebody else changed it meanwhile, or locked the user.
    #[error("the account was changed meanwhile: expected another login")]
    Changed,
    /// Too many mistakes.
    #[error("too many wrong passwords: expected another try later")]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Too many others.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// It can't be hashed.
    #[error("the password can't be hashed: {why}")]
    Hash {
        /// What argon2, or the system, says.
        why: String,
    },
    /// It can't be kept.
    #[error(transparent)]
    Store(#[from] AccountStoreError),
}

impl Refusal for PasswordError {
    fn detail(&self) -> String {
        match self {
            Self::Invalid(errors) => fields(errors),
            other => chain(other),
        }
    }
}

impl From<HashError> for PasswordError {
    fn from(error: HashError) -> Self {
        let why = error.to_string();
        Self::Hash { why }
    }
}

impl From<LoginError> for PasswordError {
    /// Of a session that is made behind a new password.
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Throttled { retry_after } => Self::Throttled { retry_after },
            LoginError::Busy(busy) => Self::Busy(busy),
            LoginError::Random(error) => HashError::Random(error).into(),
            LoginError::Wrong | LoginError::AwaitsApproval | LoginError::Locked => Self::Changed,
        }
    }
}

/// Why a password that was made here isn't known to be the user's.
#[derive(Debug, thiserror::Error)]
pub enum ResetPasswordError {
    /// It is not, and will not be.
    #[error(transparent)]
    Refused(PasswordError),
    /// The store failed, and may have kept it, or keep it later: somebody has to know it then.
    #[error(
        "it is not known whether the new password was kept; if it is, now or later, the password of \
         {user} is {}", .password.expose()
    )]
    Doubtful {
        /// Whose.
        user: UserName,
        /// The password.
        password: Secret,
        /// Why.
        #[source]
        source: AccountStoreError,
    },
}

impl Accounts {
    /// Gives the user who asks another password. All their tokens end, the one that they came in with
    /// too; the answer has a new one. Keys go on.
    ///
    /// # Errors
    /// See [`PasswordError`]. A wrong current password counts as a wrong login.
    pub async fn change_password(
        &self,
        call: &CallContext,
        by: &Identity,
        current: Secret,
        new: Secret,
    ) -> Result<Session, PasswordError> {
        let changed = self.try_change_password(call, by, current, new).await;
        let (action, target) = (Action::ChangePassword, by.user.as_str());
        self.noted(call, by, action, target, changed).await
    }

    async fn try_change_password(
        &self,
        call: &CallContext,
        by: &Identity,
        current: Secret,
        new: Secret,
    ) -> Result<Session, PasswordError> {
        by.authorize(Permission::OwnCredentials)?;
        self.check(&new, by.user.as_str(), "new_password")?;
        let asker = Asker::of(call, &by.user);
        let tried = self.begin(call, Some(&by.user));
        let tried = tried.map_err(|retry_after| PasswordError::Throttled { retry_after })?;
        let (stored, generation) = self.stored_hash(&by.user).unzip();
        match self.verify(current, stored, asker.clone()).await {
            Ok(Verdict::Right { .. }) => self.succeeded(tried, call.now),
            Ok(Verdict::Wrong) => return Err(PasswordError::Wrong),
            Err(busy) => {
                self.not_made(tried);
                return Err(busy.into());
            }
        }
        let hash = self.0.hasher.hash(new, asker).await??;
        let entry = AuditEntry::new(call, Some(by), Action::ChangePassword);
        let entry = entry.target(by.user.as_str());
        let (user, now) = (by.user.clone(), call.now);
        let changed = self.change_by((call, by), Permission::OwnCredentials, move |directory| {
            let same = directory
                .user(&user)
                .filter(|user| Some(user.generation) == generation);
            let same = same.ok_or(PasswordError::Changed)?;
            let changes = vec![with_password(same, hash, now.wall)];
            let generation = same.generation + 1;
            Ok::<_, PasswordError>(Decision::new(changes, entry, generation))
        });
        let generation = changed.await?;
        // Whoever knew the old one may be where they are known; who knows this one is here.
        if let Peer::Address(address) = call.from {
            let mut throttle = self.throttle();
            throttle.forget_user(&by.user);
            throttle.know(&by.user, address.into(), call.now.mono);
        }
        Ok(self.session(&by.user, generation, call.now)?)
    }

    /// Gives a user another password without the old one. All their tokens end; keys go on.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn set_password(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
        new: Secret,
    ) -> Result<(), PasswordError> {
        let set = self.try_set_password(call, by, user, new).await;
        let (action, target) = (Action::UserPassword, user.as_str());
        self.noted(call, by, action, target, set).await
    }

    /// Gives a user a password that is made here, and answers it: to be shown once. Otherwise as
    /// [`Self::set_password`].
    ///
    /// # Errors
    /// See [`ResetPasswordError`]: where it may be kept all the same the password is in it.
    pub async fn reset_password(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
    ) -> Result<Secret, ResetPasswordError> {
        let made = random_password()
            .map_err(HashError::Random)
            .map_err(PasswordError::from);
        let made = made.map_err(ResetPasswordError::Refused)?;
        match self.set_password(call, by, user, made.clone()).await {
            Ok(()) => Ok(made),
            Err(PasswordError::Store(source)) => Err(ResetPasswordError::Doubtful {
                user: user.clone(),
                password: made,
                source,
            }),
            Err(error) => Err(ResetPasswordError::Refused(error)),
        }
    }

    async fn try_set_password(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
        new: Secret,
    ) -> Result<(), PasswordError> {
        by.authorize(Permission::Credentials)?;
        self.check(&new, user.as_str(), "password")?;
        let missing = || PasswordError::NoSuchUser { user: user.clone() };
        self.stored_hash(user).ok_or_else(missing)?;
        let asker = Asker::of(call, &by.user);
        let hash = self.0.hasher.hash(new, asker).await??;
        let entry = AuditEntry::new(call, Some(by), Action::UserPassword).target(user.as_str());
        let (name, now) = (user.clone(), call.now);
        self.change_by((call, by), Permission::Credentials, move |directory| {
            let found = directory.user(&name);
            let record = found.ok_or(PasswordError::NoSuchUser { user: name.clone() })?;
            let changes = vec![with_password(record, hash, now.wall)];
            Ok::<_, PasswordError>(Decision::new(changes, entry, ()))
        })
        .await?;
        // Whoever knew the old one may be where they are known.
        self.throttle().forget_user(user);
        Ok(())
    }

    /// The hash of a user's password, and the generation under which it counts.
    fn stored_hash(&self, user: &UserName) -> Option<(String, u64)> {
        let directory = self.directory();
        let user = directory.user(user)?;
        Some((user.password_hash.clone(), user.generation))
    }

    pub(super) fn check(
        &self,
        new: &Secret,
        user: &str,
        field: &'static str,
    ) -> Result<(), DraftErrors> {
        let mistakes = check_password(new, user, self.0.settings.least_password_chars);
        if mistakes.is_empty() {
            return Ok(());
        }
        let mistakes = mistakes.into_iter();
        Err(DraftErrors(
            mistakes
                .map(|message| FieldError { field, message })
                .collect(),
        ))
    }
}

fn with_password(user: &UserRecord, hash: String, now: cloudai_model::Wall) -> AccountChange {
    AccountChange::User(Box::new(UserRecord {
        password_hash: hash,
        generation: user.generation + 1,
        updated_at: now,
        ..user.clone()
    }))
}
