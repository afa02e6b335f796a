//! All users, keys and ended tokens in memory, as the store has them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_model::{
    AccountState, Role, UserName, Wall,
    account::{AccountChange, KeyRecord, UserRecord},
};

use crate::store::StoredAccounts;

/// What is looked at for every request.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    users: BTreeMap<UserName, UserRecord>,
    /// Names in lower case: two users who differ in that alone would be taken for each other.
    spellings: BTreeMap<String, UserName>,
    keys: BTreeMap<String, KeyRecord>,
    keys_of: BTreeSet<(UserName, String)>,
    ended: BTreeMap<String, Wall>,
    active_admins: usize,
}

impl Directory {
    pub(crate) fn new(stored: StoredAccounts) -> Self {
        let mut directory = Self::default();
        for user in stored.users {
            directory.put_user(user);
        }
        for key in stored.keys {
            directory.put_key(key);
        }
        let ended = stored.ended_tokens.into_iter();
        directory.ended = ended.map(|token| (token.id, token.until)).collect();
        directory
    }

    /// Takes up what the store has kept.
    pub(crate) fn apply(&mut self, change: AccountChange) {
        match change {
            AccountChange::User(user) => self.put_user(*user),
            AccountChange::UserRemoved(user) => self.remove_user(&user),
            AccountChange::Key(key) => self.put_key(*key),
            AccountChange::KeyRemoved(id) => {
                if let Some(key) = self.keys.remove(&id) {
                    self.keys_of.remove(&(key.user, id));
                }
            }
            AccountChange::TokenEnded(token) => {
                self.ended.insert(token.id, token.until);
            }
            AccountChange::TokensForgotten(before) => {
                self.ended.retain(|_, until| *until >= before);
            }
            // Never in memory.
            AccountChange::Audit(_) | AccountChange::AuditForgotten(_) => {}
        }
    }

    pub(crate) fn user(&self, user: &UserName) -> Option<&UserRecord> {
        self.users.get(user)
    }

    /// The users behind this one, by name.
    pub(crate) fn users_after(
        &self,
        after: Option<&UserName>,
    ) -> impl Iterator<Item = &UserRecord> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.users.range::<UserName, _>((from, Bound::Unbounded));
        range.map(|(_, user)| user)
    }

    pub(crate) fn user_count(&self) -> usize {
        self.users.len()
    }

    /// Who has this name, or one that differs from it in upper and lower case alone.
    pub(crate) fn spelled_like(&self, user: &UserName) -> Option<&UserName> {
        self.spellings.get(&user.as_str().to_ascii_lowercase())
    }

    pub(crate) fn has_admin(&self) -> bool {
        self.users.values().any(|user| user.role == Role::Admin)
    }

    /// Whether nobody else could administer if this user couldn't.
    pub(crate) fn is_last_admin(&self, user: &UserName) -> bool {
        self.active_admins == 1 && self.users.get(user).is_some_and(is_active_admin)
    }

    pub(crate) fn key(&self, id: &str) -> Option<&KeyRecord> {
        self.keys.get(id)
    }

    /// The keys of one user, by id.
    pub(crate) fn keys_of(&self, user: &UserName) -> impl Iterator<Item = &KeyRecord> {
        let from = (user.clone(), String::new());
        let theirs = self.keys_of.range(from..);
        let theirs = theirs.take_while(move |(owner, _)| owner == user);
        theirs.filter_map(|(_, id)| self.keys.get(id))
    }

    pub(crate) fn has_ended(&self, token: &str) -> bool {
        self.ended.contains_key(token)
    }

    /// Whether some token ended by itself before this.
    pub(crate) fn has_forgettable(&self, before: Wall) -> bool {
        self.ended.values().any(|until| *until < before)
    }

    fn put_user(&mut self, user: UserRecord) {
        self.active_admins += usize::from(is_active_admin(&user));
        let spelling = user.user.as_str().to_ascii_lowercase();
        self.spellings.insert(spelling, user.user.clone());
        if let Some(before) = self.users.insert(user.user.clone(), user) {
            self.active_admins -= usize::from(is_active_admin(&before));
        }
    }

    fn remove_user(&mut self, user: &UserName) {
        if let Some(before) = self.users.remove(user) {
            self.active_admins -= usize::from(is_active_admin(&before));
        }
        let spelling = user.as_str().to_ascii_lowercase();
        if self.spellings.get(&spelling) == Some(user) {
            self.spellings.remove(&spelling);
        }
        let keys: Vec<String> = self.keys_of(user).map(|key| key.id.clone()).collect();
        for id in keys {
            self.keys.remove(&id);
            self.keys_of.remove(&(user.clone(), id));
        }
    }

    fn put_key(&mut self, key: KeyRecord) {
        self.keys_of.insert((key.user.clone(), key.id.clone()));
        self.keys.insert(key.id.clone(), key);
    }
}

fn is_active_admin(user: &UserRecord) -> bool {
    user.role == Role::Admin && user.state == AccountState::Active
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
