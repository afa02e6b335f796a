//! A store in memory that fails as told, for tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use cloudai_model::{
    UserName, Wall,
    account::{AccountChange, AuditRecord, KeyRecord, UserRecord},
};

use crate::store::{AccountStore, AccountStoreError, AuditQuery, StoredAccounts};

/// What becomes of the next lists of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// They are kept.
    #[default]
    None,
    /// They are refused and not kept.
    Refuses,
    /// They are kept, and the answer is an error all the same.
    KeepsAndFails,
    /// They wait until this is over, as behind a disk without room.
    Hangs,
}

#[derive(Default)]
struct Kept {
    users: BTreeMap<UserName, UserRecord>,
    keys: BTreeMap<String, KeyRecord>,
    ended: BTreeMap<String, Wall>,
    audit: BTreeMap<u64, AuditRecord>,
    with_tasks: BTreeSet<UserName>,
    fault: Fault,
    lists: usize,
}

/// An [`AccountStore`] that forgets with the process.
#[derive(Default)]
pub struct MemoryAccounts(Mutex<Kept>, tokio::sync::Notify);

impl MemoryAccounts {
    /// With nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what becomes of changes from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.kept().fault = fault;
        self.1.notify_waiters();
    }

    /// Says that tasks of this user are kept, or that there are none.
    pub fn set_has_tasks(&self, user: &UserName, has: bool) {
        let with_tasks = &mut self.kept().with_tasks;
        match has {
            true => with_tasks.insert(user.clone()),
            false => with_tasks.remove(user),
        };
    }

    /// How many lists of changes have been kept.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.kept().lists
    }

    /// The whole audit, in order.
    #[must_use]
    pub fn whole_audit(&self) -> Vec<AuditRecord> {
        self.kept().audit.values().cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn apply(&mut self, change: AccountChange) {
        match change {
            AccountChange::User(user) => {
                self.users.insert(user.user.clone(), *user);
            }
            AccountChange::UserRemoved(user) => {
                self.users.remove(&user);
                self.keys.retain(|_, key| key.user != user);
            }
            AccountChange::Key(key) => {
                self.keys.insert(key.id.clone(), *key);
            }
            AccountChange::KeyRemoved(id) => {
                self.keys.remove(&id);
            }
            AccountChange::TokenEnded(token) => {
                self.ended.insert(token.id, token.until);
            }
            AccountChange::TokensForgotten(before) => {
                self.ended.retain(|_, until| *until >= before);
            }
            AccountChange::Audit(record) => {
                self.audit.insert(record.number, *record);
            }
            AccountChange::AuditForgotten(before) => {
                self.audit.retain(|_, record| record.at >= before);
            }
        }
    }
}

#[async_trait]
impl AccountStore for MemoryAccounts {
    async fn load(&self) -> Result<StoredAccounts, AccountStoreError> {
        let kept = self.kept();
        let ended = kept.ended.iter();
        Ok(StoredAccounts {
            users: kept.users.values().cloned().collect(),
            keys: kept.keys.values().cloned().collect(),
            ended_tokens: ended
                .map(|(id, until)| cloudai_model::account::EndedToken {
                    id: id.clone(),
                    until: *until,
                })
                .collect(),
            highest_audit: kept.audit.keys().next_back().copied().unwrap_or(0),
        })
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AccountStoreError> {
        let kept = self.kept();
        let newest_first = kept.audit.values().rev();
        let wanted = newest_first.filter(|record| query.wants(record));
        Ok(wanted.take(query.limit).cloned().collect())
    }

    async fn has_tasks(&self, user: &UserName) -> Result<bool, AccountStoreError> {
        Ok(self.kept().with_tasks.contains(user))
    }

    async fn keep(&self, changes: Vec<AccountChange>) -> Result<(), AccountStoreError> {
        loop {
            let set = self.1.notified();
            tokio::pin!(set);
            set.as_mut().enable();
            if self.kept().fault != Fault::Hangs {
                break;
            }
            set.await;
        }
        let mut kept = self.kept();
        if kept.fault != Fault::Refuses {
            kept.lists += 1;
            for change in changes {
                kept.apply(change);
            }
        }
        match kept.fault {
            // One that hangs has just been set.
            Fault::None | Fault::Hangs => Ok(()),
            Fault::Refuses | Fault::KeepsAndFails => Err(AccountStoreError::new(
                "keep the changes",
                "a fault on purpose",
            )),
        }
    }
}
