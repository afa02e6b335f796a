//! To become a user: by oneself where that is allowed, or made by an admin.

use std::time::Duration;

use cloudai_model::{
    AccountState, DraftErrors, Role, UserName,
    account::{AccountChange, UserRecord},
};

use crate::{
    accounts::{Accounts, Decision, Refusal, chain, fields, new_user},
    audit::{Action, AuditEntry},
    directory::Directory,
    identity::{CallContext, Forbidden, Identity, Peer, Permission},
    password::{Asker, Busy, HashError},
    settings::Registration,
    store::AccountStoreError,
    views::{CheckedUser, User, UserDraft},
};

/// Why somebody can't be a user.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Nobody registers here.
    #[error("registration is closed: an admin can make you a user")]
    Closed,
    /// Who asks may not make users.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Everything that is wrong with what was sent.
    #[error(transparent)]
    Invalid(#[from] DraftErrors),
    /// The name is taken, or differs from a taken one in upper and lower case alone, or is kept for the
    /// first admin, or for tasks that somebody of that name has left.
    #[error("the user name {user} is taken: expected another one")]
    Taken {
        /// The name.
        user: UserName,
    },
    /// There are as many as the settings allow.
    #[error("there are {most} users already, which is the most: an admin can remove some")]
    TooMany {
        /// The most.
        most: usize,
    },
    /// Too many registrations from the same place.
    #[error("too many registrations from here: expected another try later")]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Too many others.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The password can't be hashed.
    #[error("the password can't be hashed: {why}")]
    Hash {
        /// What argon2, or the system, says.
        why: String,
    },
    /// The user can't be kept.
    #[error(transparent)]
    Store(#[from] AccountStoreError),
}

impl Refusal for RegisterError {
    fn detail(&self) -> String {
        match self {
            Self::Invalid(errors) => fields(errors),
            other => chain(other),
        }
    }
}

impl RegisterError {
    /// The same without the name that was asked for.
    fn unnamed(&self) -> String {
        match self {
            Self::Taken { .. } => "the user name is taken".to_owned(),
            other => other.detail(),
        }
    }
}

impl From<HashError> for RegisterError {
    fn from(error: HashError) -> Self {
        let why = error.to_string();
        Self::Hash { why }
    }
}

impl Accounts {
    /// Makes whoever asks a user, who may log in at once, or once an admin has approved it.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub async fn register(
        &self,
        call: &CallContext,
        draft: UserDraft,
    ) -> Result<User, RegisterError> {
        let registered = self.try_register(call, draft).await;
        if let Err(error) = &registered {
            // Not the name: whoever is nobody may have written their password there.
            let entry = AuditEntry::new(call, None, Action::Register).target("(unknown)");
            self.note_refusal(call, entry.refused(error.unnamed()))
                .await;
        }
        registered
    }

    async fn try_register(
        &self,
        call: &CallContext,
        draft: UserDraft,
    ) -> Result<User, RegisterError> {
        let state = match self.0.settings.registration {
            Registration::Closed => return Err(RegisterError::Closed),
            Registration::Open => AccountState::Active,
            Registration::Approval => AccountState::AwaitsApproval,
        };
        let checked = draft.check(self.0.settings.least_password_chars)?;
        // Before anything is said of the name: nobody tries a list of them.
        if let Peer::Address(address) = call.from {
            let counted = self.throttle().register(address.into(), call.now.mono);
            counted.map_err(|retry_after| RegisterError::Throttled { retry_after })?;
        }
        // `admin` owns whatever nobody is named for: it is not given away, also where it was removed.
        if checked
            .user
            .as_str()
            .eq_ignore_ascii_case(UserName::admin().as_str())
        {
            return Err(RegisterError::Taken { user: checked.user });
        }
        let most = Some(self.0.settings.most_users);
        room_for(&self.directory(), &checked.user, most)?;
        // Somebody of that name was removed and left tasks: who takes it would have those, and their
        // files. An admin may give it to somebody all the same.
        if self.0.store.has_tasks(&checked.user).await? {
            return Err(RegisterError::Taken { user: checked.user });
        }
        let entry = AuditEntry::new(call, None, Action::Register).by(&checked.user);
        let entry = entry.target(checked.user.as_str()).detail(state.as_str());
        let record = self.record(Asker::stranger(call), call, checked).await?;
        let record = UserRecord { state, ..record };
        self.change(move |directory| decide(directory, record, entry, most))
            .await
    }

    /// Makes somebody a user who may log in at once.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub async fn create_user(
        &self,
        call: &CallContext,
        by: &Identity,
        draft: UserDraft,
        role: Role,
    ) -> Result<User, RegisterError> {
        // What was sent is no name yet, and may be a password in the wrong field.
        let target = match draft.username.parse::<UserName>() {
            Ok(user) => user.to_string(),
            Err(_) => "(no name)".to_owned(),
        };
        let made = async {
            by.authorize(Permission::Credentials)?;
            let checked = draft.check(self.0.settings.least_password_chars)?;
            // Strangers can't use up what an admin may make.
            room_for(&self.directory(), &checked.user, None)?;
            let entry = AuditEntry::new(call, Some(by), Action::UserCreate);
            let entry = entry.target(checked.user.as_str()).detail(role.as_str());
            let record = self.record(Asker::of(call, &by.user), call, checked);
            let record = UserRecord {
                role,
                ..record.await?
            };
            self.change_by((call, by), Permission::Credentials, move |directory| {
                decide(directory, record, entry, None)
            })
            .await
        };
        let made = made.await;
        self.noted(call, by, Action::UserCreate, &target, made)
            .await
    }

    /// A user who may log in, with the role of most.
    async fn record(
        &self,
        asker: Asker,
        call: &CallContext,
        checked: CheckedUser,
    ) -> Result<UserRecord, RegisterError> {
        let hash = self.0.hasher.hash(checked.password, asker).await??;
        let record = new_user(checked.user, hash, call.now).map_err(HashError::from)?;
        Ok(UserRecord {
            name: checked.name,
            email: checked.email,
            ..record
        })
    }
}

fn decide(
    directory: &Directory,
    record: UserRecord,
    entry: AuditEntry,
    most: Option<usize>,
) -> Result<Decision<User>, RegisterError> {
    // Somebody may have been quicker while the password was hashed.
    room_for(directory, &record.user, most)?;
    let user = User::from(&record);
    let changes = vec![AccountChange::User(Box::new(record))];
    Ok(Decision::new(changes, entry, user))
}

fn room_for(
    directory: &Directory,
    user: &UserName,
    most: Option<usize>,
) -> Result<(), RegisterError> {
    if directory.spelled_like(user).is_some() {
        return Err(RegisterError::Taken { user: user.clone() });
    }
    if let Some(most) = most.filter(|most| directory.user_count() >= *most) {
        return Err(RegisterError::TooMany { most });
    }
    Ok(())
}
