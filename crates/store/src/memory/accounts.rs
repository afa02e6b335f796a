//! Users, keys, ended tokens and the audit.

use std::collections::BTreeMap;

use cloudai_model::{
    UserName, Wall,
    account::{AccountChange, AuditRecord, EndedToken, KeyRecord, UserRecord},
    record::Record,
};

use super::tables::{Tables, Undo, put, remove};
use crate::{AuditQuery, CommitError, StoredAccounts};

#[derive(Debug, Default)]
pub(super) struct AccountTables {
    users: BTreeMap<UserName, UserRecord>,
    keys: BTreeMap<String, KeyRecord>,
    ended_tokens: BTreeMap<String, Wall>,
    audit: BTreeMap<u64, AuditRecord>,
}

impl Tables {
    pub(super) fn change_account(
        &mut self,
        change: &AccountChange,
        undo: &mut Vec<Undo>,
    ) -> Result<(), CommitError> {
        match change {
            AccountChange::User(user) => {
                let key = user.user.clone();
                undo.push(put!(self.accounts.users, key, UserRecord::clone(user)));
            }
            AccountChange::UserRemoved(user) => {
                undo.push(remove!(self.accounts.users, user.clone()));
                let keys = self.accounts.keys.values();
                let of_user = keys.filter(|key| key.user == *user);
                let of_user: Vec<_> = of_user.map(|key| key.id.clone()).collect();
                for key in of_user {
                    undo.push(remove!(self.accounts.keys, key));
                }
            }
            AccountChange::Key(key) if !self.accounts.users.contains_key(&key.user) => {}
            AccountChange::Key(key) => {
                undo.push(put!(
                    self.accounts.keys,
                    key.id.clone(),
                    KeyRecord::clone(key)
                ));
            }
            AccountChange::KeyRemoved(key) => {
                undo.push(remove!(self.accounts.keys, key.clone()));
            }
            AccountChange::TokenEnded(EndedToken { id, until }) => {
                undo.push(put!(self.accounts.ended_tokens, id.clone(), *until));
            }
            AccountChange::TokensForgotten(before) => {
                let tokens = self.accounts.ended_tokens.iter();
                let over = tokens.filter(|(_, until)| *until < before);
                let over: Vec<_> = over.map(|(id, _)| id.clone()).collect();
                for token in over {
                    undo.push(remove!(self.accounts.ended_tokens, token));
                }
            }
            AccountChange::Audit(entry) => self.add_audit(entry, undo)?,
            AccountChange::AuditForgotten(before) => {
                let old: Vec<_> = self.audit_before(*before).map(|it| it.number).collect();
                for number in old {
                    undo.push(remove!(self.accounts.audit, number));
                }
            }
        }
        Ok(())
    }

    fn add_audit(&mut self, entry: &AuditRecord, undo: &mut Vec<Undo>) -> Result<(), CommitError> {
        match self.accounts.audit.get(&entry.number) {
            None => undo.push(put!(self.accounts.audit, entry.number, entry.clone())),
            Some(known) if known == entry => {}
            Some(_) => {
                return Err(CommitError::Conflict {
                    what: "audit entry",
                    key: entry.number.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Entries that are older, but for the one of the highest number.
    fn audit_before(&self, before: Wall) -> impl Iterator<Item = &AuditRecord> {
        let but_the_last = self.accounts.audit.values().rev().skip(1);
        but_the_last.filter(move |entry| entry.at < before)
    }

    pub(super) fn accounts(&self) -> StoredAccounts {
        let tables = &self.accounts;
        let token = |(id, until): (&String, &Wall)| EndedToken {
            id: id.clone(),
            until: *until,
        };
        StoredAccounts {
            users: tables.users.values().cloned().collect(),
            keys: tables.keys.values().cloned().collect(),
            ended_tokens: tables.ended_tokens.iter().map(token).collect(),
            highest_audit: tables.audit.keys().next_back().copied().unwrap_or(0),
        }
    }

    pub(super) fn audit(&self, query: &AuditQuery) -> Vec<AuditRecord> {
        let newest_first = self.accounts.audit.values().rev();
        newest_first
            .filter(|entry| query.wants(entry))
            .take(query.limit)
            .cloned()
            .collect()
    }

    pub(super) fn oldest_audit(&self, before: Wall, limit: usize) -> Vec<Wall> {
        let mut times: Vec<_> = self.audit_before(before).map(|entry| entry.at).collect();
        times.sort_unstable();
        times.truncate(limit);
        times
    }

    /// Who may come in, in the order of an export.
    pub(super) fn people(&self) -> impl Iterator<Item = Record> {
        let StoredAccounts {
            users,
            keys,
            ended_tokens,
            ..
        } = self.accounts();
        let users = users.into_iter().map(Box::new).map(AccountChange::User);
        let keys = keys.into_iter().map(Box::new).map(AccountChange::Key);
        let ended = ended_tokens.into_iter().map(AccountChange::TokenEnded);
        users.chain(keys).chain(ended).map(Record::Account)
    }

    /// The audit, in the order of an export.
    pub(super) fn whole_audit(&self) -> impl Iterator<Item = Record> {
        let entries = self.accounts.audit.values().cloned().map(Box::new);
        entries.map(AccountChange::Audit).map(Record::Account)
    }
}
