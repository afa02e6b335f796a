//! What admins do with users, and what everybody may know of themselves.

use cloudai_model::{
    AccountState, UserLimits, UserName,
    account::{AccountChange, UserRecord},
};

use crate::{
    accounts::{Accounts, Decision, Refusal},
    audit::{Action, AuditEntry},
    directory::Directory,
    identity::{CallContext, Forbidden, Identity, Permission},
    store::AccountStoreError,
    views::User,
};

/// Why a user stays as they are, or isn't shown.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Who asks may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// No such user.
    #[error("there is no user {user}")]
    NoSuchUser {
        /// The name.
        user: UserName,
    },
    /// Nobody could administer any more.
    #[error("{user} is the last active admin: make somebody else an admin first")]
    LastAdmin {
        /// The name.
        user: UserName,
    },
    /// The account isn't in a state for that.
    #[error("the account of {user} is {state}: expected it to be {expected}")]
    State {
        /// The name.
        user: UserName,
        /// What it is.
        state: AccountState,
        /// What it would have to be.
        expected: AccountState,
    },
    /// It can't be kept.
    #[error(transparent)]
    Store(#[from] AccountStoreError),
}

impl Refusal for UserError {}

impl Accounts {
    /// The user who asks.
    ///
    /// # Errors
    /// If they were removed just now, or are the console, which need not be a user.
    pub fn me(&self, by: &Identity) -> Result<User, UserError> {
        by.authorize(Permission::Look)?;
        self.find(&by.user)
    }

    /// One user. Everybody sees themselves.
    ///
    /// # Errors
    /// If there is none, or who asks may not look.
    pub fn user(&self, by: &Identity, user: &UserName) -> Result<User, UserError> {
        if by.user != *user {
            by.authorize(Permission::Administer)?;
        }
        by.authorize(Permission::Look)?;
        self.find(user)
    }

    /// Users by name, at most `limit` of them behind `after`; and behind whom it goes on, if it does.
    ///
    /// # Errors
    /// If who asks may not look.
    pub fn users(
        &self,
        by: &Identity,
        after: Option<&UserName>,
        limit: usize,
    ) -> Result<(Vec<User>, Option<UserName>), UserError> {
        by.authorize(Permission::Administer)?;
        let directory = self.directory();
        let mut rest = directory.users_after(after);
        let page: Vec<User> = rest.by_ref().take(limit.max(1)).map(User::from).collect();
        let goes_on = rest.next().is_some();
        let next = page
            .last()
            .filter(|_| goes_on)
            .map(|last| last.user.clone());
        Ok((page, next))
    }

    /// Removes a user with all of their keys. Their tasks and files are not touched; as long as there are
    /// any nobody else gets the name by [`Accounts::register`].
    ///
    /// # Errors
    /// See [`UserError`].
    pub async fn delete_user(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
    ) -> Result<(), UserError> {
        let removed = async {
            by.authorize(Permission::Administer)?;
            let entry = AuditEntry::new(call, Some(by), Action::UserDelete).target(user.as_str());
            let name = user.clone();
            self.change_by((call, by), Permission::Administer, move |directory| {
                let record = directory.user(&name);
                let record = record.ok_or(UserError::NoSuchUser { user: name.clone() })?;
                guard_last_admin(record, directory)?;
                let changes = vec![AccountChange::UserRemoved(name)];
                Ok::<_, UserError>(Decision::new(changes, entry, ()))
            })
            .await
        };
        let removed = removed.await;
        if removed.is_ok() {
            self.throttle().forget_user(user);
        }
        let (action, target) = (Action::UserDelete, user.as_str());
        self.noted(call, by, action, target, removed).await
    }

    pub(super) fn find(&self, user: &UserName) -> Result<User, UserError> {
        let directory = self.directory();
        let record = directory.user(user);
        let missing = || UserError::NoSuchUser { user: user.clone() };
        record.map(User::from).ok_or_else(missing)
    }
}

/// From one state to another; to be there already is fine.
pub(super) fn set_state(
    record: &mut UserRecord,
    expected: AccountState,
    state: AccountState,
) -> Result<(), UserError> {
    if record.state != expected && record.state != state {
        return Err(UserError::State {
            user: record.user.clone(),
            state: record.state,
            expected,
        });
    }
    record.state = state;
    Ok(())
}

pub(super) fn guard_last_admin(
    record: &UserRecord,
    directory: &Directory,
) -> Result<(), UserError> {
    if directory.is_last_admin(&record.user) {
        let user = record.user.clone();
        return Err(UserError::LastAdmin { user });
    }
    Ok(())
}

pub(super) fn limit_words(limits: &UserLimits) -> String {
    let figures = [
        ("queued_tasks", limits.queued_tasks),
        ("cpu_milli", limits.cpu_milli),
        ("memory_bytes", limits.memory_bytes),
        ("gpu_milli", limits.gpu_milli),
        ("files_bytes", limits.files_bytes),
    ];
    let set = figures
        .iter()
        .filter_map(|(name, figure)| Some((name, (*figure)?)));
    let words: Vec<String> = set
        .map(|(name, figure)| format!("{name} {figure}"))
        .collect();
    if words.is_empty() {
        "none of their own".to_owned()
    } else {
        words.join(", ")
    }
}
