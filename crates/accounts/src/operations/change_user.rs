//! To change several things of a user at once: all of them, or none.

use cloudai_model::{AccountState, Role, UserLimits, UserName, account::AccountChange};

use super::{
    passwords::PasswordError,
    users::{UserError, guard_last_admin, limit_words, set_state},
};
use crate::{
    accounts::{Accounts, Decision, Refusal},
    audit::{Action, AuditEntry, role_words},
    identity::{CallContext, Forbidden, Identity, Permission},
    password::{Asker, Busy, HashError},
    secret::Secret,
    store::AccountStoreError,
    views::User,
};

/// What is to be another of a user; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// What they may do, from their next request on.
    pub role: Option<Role>,
    /// Whether they may come in. Nobody is sent back to await approval.
    pub state: Option<AccountState>,
    /// All limits of their own anew.
    pub limits: Option<UserLimits>,
    /// Their password; all their tokens end with it.
    pub password: Option<Secret>,
}

impl UserChange {
    /// As what a refusal of all of it is written down, of somebody who stands so.
    fn named_for(&self, now: Option<AccountState>) -> Action {
        match (&self.role, &self.state, &self.limits, &self.password) {
            (Some(_), ..) => Action::UserRole,
            (_, Some(AccountState::Active), ..) => match now {
                Some(AccountState::AwaitsApproval) => Action::UserApprove,
                _ => Action::UserUnlock,
            },
            (_, Some(_), ..) => Action::UserLock,
            (_, _, Some(_), None) => Action::UserLimits,
            (_, _, None, Some(_)) => Action::UserPassword,
            _ => Action::UserLimits,
        }
    }
}

/// Why nothing of a user is changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeUserError {
    /// As of a change of role, state or limits.
    #[error(transparent)]
    User(#[from] UserError),
    /// As of a change of the password.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl Refusal for ChangeUserError {
    fn detail(&self) -> String {
        match self {
            Self::User(error) => error.detail(),
            Self::Password(error) => error.detail(),
        }
    }
}

impl From<AccountStoreError> for ChangeUserError {
    fn from(error: AccountStoreError) -> Self {
        Self::User(error.into())
    }
}

impl From<Forbidden> for ChangeUserError {
    fn from(error: Forbidden) -> Self {
        Self::User(error.into())
    }
}

impl From<Busy> for ChangeUserError {
    fn from(error: Busy) -> Self {
        Self::Password(error.into())
    }
}

impl From<HashError> for ChangeUserError {
    fn from(error: HashError) -> Self {
        Self::Password(error.into())
    }
}

impl Accounts {
    /// Changes a user in one transaction: all that is asked for, or nothing. Of each thing a record of its
    /// own is in the audit.
    ///
    /// # Errors
    /// See [`ChangeUserError`].
    pub async fn change_user(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
        change: UserChange,
    ) -> Result<User, ChangeUserError> {
        let state = self.directory().user(user).map(|user| user.state);
        let action = change.named_for(state);
        let changed = self.try_change_user(call, by, user, change).await;
        self.noted(call, by, action, user.as_str(), changed).await
    }

    async fn try_change_user(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
        change: UserChange,
    ) -> Result<User, ChangeUserError> {
        let wanted = match change.role.is_some() || change.password.is_some() {
            // Whoever may do that may administer, too.
            true => Permission::Credentials,
            false => Permission::Administer,
        };
        by.authorize(wanted)?;
        self.find(user)?;
        let hash = match change.password {
            Some(new) => {
                let checked = self.check(&new, user.as_str(), "password");
                checked.map_err(PasswordError::from)?;
                let asker = Asker::of(call, &by.user);
                Some(self.0.hasher.hash(new, asker).await??)
            }
            None => None,
        };
        let has_password = hash.is_some();
        let (role, state, limits) = (change.role, change.state, change.limits);
        let (name, asked, who) = (user.clone(), (call, by), by.clone());
        let call = call.clone();
        let changed = self.change_by(asked, wanted, move |directory| {
            let record = directory.user(&name);
            let record = record.ok_or_else(|| UserError::NoSuchUser { user: name.clone() })?;
            let mut edited = record.clone();
            let mut entries = Vec::new();
            let mut note = |action, detail: &str| {
                let entry = AuditEntry::new(&call, Some(&who), action).target(name.as_str());
                entries.push(entry.detail(detail));
            };
            if let Some(role) = role {
                if role != Role::Admin {
                    guard_last_admin(record, directory)?;
                }
                note(Action::UserRole, &role_words(record.role, role));
                edited.role = role;
            }
            match (state, record.state) {
                (None, _) => {}
                (Some(AccountState::Active), from @ AccountState::AwaitsApproval) => {
                    set_state(&mut edited, from, AccountState::Active)?;
                    note(Action::UserApprove, "");
                }
                (Some(AccountState::Active), _) => {
                    set_state(&mut edited, AccountState::Locked, AccountState::Active)?;
                    note(Action::UserUnlock, "");
                }
                (Some(AccountState::Locked), from) => {
                    guard_last_admin(record, directory)?;
                    if from != AccountState::Locked {
                        edited.state = AccountState::Locked;
                        edited.generation += 1;
                    }
                    note(Action::UserLock, "");
                }
                (Some(AccountState::AwaitsApproval), state) => {
                    return Err(ChangeUserError::User(UserError::State {
                        user: name,
                        state,
                        expected: AccountState::AwaitsApproval,
                    }));
                }
            }
            if let Some(limits) = limits {
                note(Action::UserLimits, &limit_words(&limits));
                edited.limits = limits;
            }
            if let Some(hash) = hash {
                note(Action::UserPassword, "");
                edited.password_hash = hash;
                edited.generation += 1;
            }
            let mut changes = Vec::new();
            if edited != *record {
                edited.updated_at = call.now.wall;
                changes.push(AccountChange::User(Box::new(edited.clone())));
            }
            Ok(Decision {
                changes,
                entries,
                answer: User::from(&edited),
            })
        });
        let changed = changed.await?;
        if has_password {
            // Whoever knew the old one may be where they are known.
            self.throttle().forget_user(user);
        }
        Ok(changed)
    }
}
