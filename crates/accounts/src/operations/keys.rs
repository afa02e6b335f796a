//! Keys for programs: made, listed, deleted.

use cloudai_model::{
    DraftErrors, FieldError, KeyScope, UserName, Wall,
    account::{AccountChange, KeyRecord},
};

use crate::{
    accounts::{Accounts, Decision, Refusal, chain, fields},
    api_key,
    audit::{Action, AuditEntry, key_words},
    identity::{CallContext, Forbidden, Identity, Permission},
    secret::{NoRandomness, Secret},
    store::AccountStoreError,
    views::{Key, wrong_name},
};

/// A key that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDraft {
    /// What it is called.
    pub name: String,
    /// What it may be used for.
    pub scope: KeyScope,
    /// From when on it counts no more; `None`: until it is deleted.
    pub expires_at: Option<Wall>,
}

/// Why there is no key, or none is shown or deleted.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Who asks may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Everything that is wrong with what was sent.
    #[error(transparent)]
    Invalid(#[from] DraftErrors),
    /// No such user.
    #[error("there is no user {user}")]
    NoSuchUser {
        /// The name.
        user: UserName,
    },
    /// No such key of theirs.
    #[error("there is no key of this id")]
    NoSuchKey,
    /// They have as many as the settings allow.
    #[error("{user} has {most} keys, which is the most: expected one to be deleted first")]
    TooMany {
        /// Whose.
        user: UserName,
        /// The most.
        most: usize,
    },
    /// No key can be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// It can't be kept.
    #[error(transparent)]
    Store(#[from] AccountStoreError),
}

impl Refusal for KeyError {
    fn detail(&self) -> String {
        match self {
            Self::Invalid(errors) => fields(errors),
            other => chain(other),
        }
    }
}

impl Accounts {
    /// Makes a key of the user who asks. The key itself is answered this once and kept nowhere.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn create_key(
        &self,
        call: &CallContext,
        by: &Identity,
        draft: KeyDraft,
    ) -> Result<(Key, Secret), KeyError> {
        let made = self.try_create_key(call, by, draft).await;
        let (action, target) = (Action::KeyCreate, by.user.as_str());
        self.noted(call, by, action, target, made).await
    }

    async fn try_create_key(
        &self,
        call: &CallContext,
        by: &Identity,
        draft: KeyDraft,
    ) -> Result<(Key, Secret), KeyError> {
        by.authorize(Permission::OwnCredentials)?;
        draft.check(call.now.wall)?;
        let made = api_key::make()?;
        let record = KeyRecord {
            id: made.id,
            user: by.user.clone(),
            name: draft.name,
            hash: made.hash,
            scope: draft.scope,
            created_at: call.now.wall,
            expires_at: draft.expires_at,
        };
        let entry = AuditEntry::new(call, Some(by), Action::KeyCreate).target(&record.id);
        let entry = entry.detail(key_words(record.scope, record.expires_at));
        let most = self.0.settings.most_keys;
        let key = self.change_by((call, by), Permission::OwnCredentials, move |directory| {
            let user = record.user.clone();
            if directory.user(&user).is_none() {
                return Err(KeyError::NoSuchUser { user });
            }
            if directory.keys_of(&user).count() >= most {
                return Err(KeyError::TooMany { user, most });
            }
            let key = Key::from(&record);
            let changes = vec![AccountChange::Key(Box::new(record))];
            Ok(Decision::new(changes, entry, key))
        });
        Ok((key.await?, made.whole))
    }

    /// The keys of a user: one's own, or, for an admin, anybody's. Never many: see
    /// [`crate::AccountSettings::most_keys`].
    ///
    /// # Errors
    /// If who asks may not look.
    pub fn keys(&self, by: &Identity, user: &UserName) -> Result<Vec<Key>, KeyError> {
        by.authorize(needed(by, user))?;
        let directory = self.directory();
        if directory.user(user).is_none() {
            return Err(KeyError::NoSuchUser { user: user.clone() });
        }
        Ok(directory.keys_of(user).map(Key::from).collect())
    }

    /// Deletes a key: one's own, or, for an admin, anybody's. Another's is not there for everybody else.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn delete_key(
        &self,
        call: &CallContext,
        by: &Identity,
        id: &str,
    ) -> Result<(), KeyError> {
        let deleted = self.try_delete_key(call, by, id).await;
        // A whole key in place of its id is none of the audit's business.
        let target = if api_key::is_id(id) { id } else { "(no id)" };
        self.noted(call, by, Action::KeyDelete, target, deleted)
            .await
    }

    async fn try_delete_key(
        &self,
        call: &CallContext,
        by: &Identity,
        id: &str,
    ) -> Result<(), KeyError> {
        by.authorize(Permission::OwnCredentials)?;
        let entry = AuditEntry::new(call, Some(by), Action::KeyDelete).target(id);
        let (asked, by, id) = ((call, by), by.clone(), id.to_owned());
        self.change_by(asked, Permission::OwnCredentials, move |directory| {
            let key = directory.key(&id).filter(|key| by.reaches(&key.user));
            let key = key.ok_or(KeyError::NoSuchKey)?;
            by.authorize(needed(&by, &key.user))?;
            let entry = entry.detail(format!("of {}", key.user));
            let changes = vec![AccountChange::KeyRemoved(id)];
            Ok(Decision::new(changes, entry, ()))
        })
        .await
    }
}

fn needed(by: &Identity, owner: &UserName) -> Permission {
    if by.user == *owner {
        Permission::OwnCredentials
    } else {
        Permission::Credentials
    }
}

impl KeyDraft {
    fn check(&self, now: Wall) -> Result<(), DraftErrors> {
        let mut errors = Vec::new();
        let mut wrong = |field, message| errors.push(FieldError { field, message });
        if self.name.trim().is_empty() {
            let message = "is empty: expected what the key is for, such as \"nightly build\"";
            wrong("name", message.to_owned());
        }
        if let Some(mistake) = wrong_name(&self.name) {
            wrong("name", mistake);
        }
        if let Some(at) = self.expires_at
            && at <= now
        {
            wrong(
                "expires_at",
                format!("{at} has passed: expected a time after {now}"),
            );
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(DraftErrors(errors))
        }
    }
}
