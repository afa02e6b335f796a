//! Users, keys, ended tokens and the audit: what a batch changes of them, and what is asked of them.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_model::{
    UserName, Wall,
    account::{AccountChange, AuditRecord, UserRecord},
    record::Record,
};
use mongodb::bson::{Bson, Document, doc};

use super::{
    documents::{
        Fields,
        accounts::{self, AUDIT, ENDED_TOKENS, KEYS, USERS},
        bits, date,
    },
    failure::Failure,
    link::{How, Link},
    plan::{among, texts},
    writes::Change,
};
use crate::{AuditQuery, CommitError, HIGHEST_ORDER, ReadError, StoredAccounts};

/// What becomes of a document: where it is, and under which id.
pub(super) type Place = ((&'static str, String), Change);

/// What is stored of accounts as far as a batch speaks of it, and then what that makes of it.
#[derive(Default)]
pub(super) struct Changing {
    /// Who is there of those who get keys.
    users: BTreeSet<UserName>,
    /// Whose keys are, of those who are removed.
    keys: BTreeMap<String, UserName>,
    /// Ended tokens that may be forgotten.
    tokens: BTreeMap<String, Wall>,
    /// Entries of the numbers that are written.
    audit: BTreeMap<u64, AuditRecord>,
    /// When entries that may be forgotten were made.
    ages: BTreeMap<u64, Wall>,
    /// The highest number, if entries are forgotten.
    highest: u64,
}

/// What of the database a batch's changes ask for.
#[derive(Default)]
struct Asked {
    with_key: BTreeSet<String>,
    leaving: BTreeSet<String>,
    tokens_before: Option<Wall>,
    numbers: BTreeSet<String>,
    audit_before: Option<Wall>,
}

impl Asked {
    fn of<'a>(batch: impl Iterator<Item = &'a Record>) -> Self {
        let mut asked = Self::default();
        for record in batch {
            let Record::Account(change) = record else {
                continue;
            };
            match change {
                AccountChange::Key(key) => drop(asked.with_key.insert(key.user.to_string())),
                AccountChange::UserRemoved(user) => drop(asked.leaving.insert(user.to_string())),
                AccountChange::TokensForgotten(before) => {
                    asked.tokens_before = asked.tokens_before.max(Some(*before));
                }
                AccountChange::Audit(entry) => {
                    asked.numbers.insert(accounts::audit_id(entry.number));
                }
                AccountChange::AuditForgotten(before) => {
                    asked.audit_before = asked.audit_before.max(Some(*before));
                }
                AccountChange::User(_)
                | AccountChange::KeyRemoved(_)
                | AccountChange::TokenEnded(_) => {}
            }
        }
        asked
    }
}

impl Changing {
    /// Reads what the batch speaks of. Asks nothing if it speaks of no account.
    pub(super) async fn read<'a>(
        link: &Link,
        batch: impl Iterator<Item = &'a Record>,
    ) -> Result<Self, Failure> {
        let asked = Asked::of(batch);
        let mut found = Self::default();
        let id = doc! { "username": 1 };
        for document in among(link, USERS, "_id", texts(asked.with_key), id).await? {
            let fields = Fields::new(USERS, &document);
            found.users.insert(fields.must("username", Fields::parsed)?);
        }
        let whose = doc! { "key_id": 1, "username": 1 };
        for document in among(link, KEYS, "username", texts(asked.leaving), whose).await? {
            let fields = Fields::new(KEYS, &document);
            let id = fields.must("key_id", Fields::text)?;
            let user = fields.must("username", Fields::parsed)?;
            found.keys.insert(id, user);
        }
        if let Some(before) = asked.tokens_before {
            let over = doc! { "until": { "$lt": date(before) } };
            for document in link.find(ENDED_TOKENS, over, How::default()).await? {
                let token = accounts::read_token(&document)?;
                found.tokens.insert(token.id, token.until);
            }
        }
        for document in among(link, AUDIT, "_id", texts(asked.numbers), doc! {}).await? {
            let entry = accounts::read_audit(&document)?;
            found.audit.insert(entry.number, entry);
        }
        if let Some(before) = asked.audit_before {
            found.highest = highest(link).await?;
            let old = doc! { "at": { "$lt": date(before) } };
            let how = How {
                fields: doc! { "number": 1, "at": 1 },
                ..How::default()
            };
            for document in link.find(AUDIT, old, how).await? {
                let fields = Fields::new(AUDIT, &document);
                let number = fields.must("number", Fields::count)?;
                let at = fields.must("at", Fields::wall)?;
                found.ages.insert(number, at);
            }
        }
        Ok(found)
    }

    /// What one change comes to.
    pub(super) fn add(&mut self, change: &AccountChange) -> Result<Vec<Place>, Failure> {
        let put = |collection, id: &str, document| {
            vec![((collection, id.to_owned()), Change::Put(document))]
        };
        let remove = |collection, id: String| ((collection, id), Change::Remove);
        Ok(match change {
            AccountChange::User(user) => {
                self.users.insert(user.user.clone());
                put(USERS, user.user.as_str(), accounts::write_user(user))
            }
            AccountChange::UserRemoved(user) => {
                self.users.remove(user);
                let keys = self.keys.extract_if(.., |_, of| of == user);
                let keys = keys.map(|(id, _)| remove(KEYS, id));
                keys.chain([remove(USERS, user.to_string())]).collect()
            }
            AccountChange::Key(key) if !self.users.contains(&key.user) => Vec::new(),
            AccountChange::Key(key) => {
                self.keys.insert(key.id.clone(), key.user.clone());
                put(KEYS, &key.id, accounts::write_key(key))
            }
            AccountChange::KeyRemoved(key) => {
                self.keys.remove(key);
                vec![remove(KEYS, key.clone())]
            }
            AccountChange::TokenEnded(token) => {
                self.tokens.insert(token.id.clone(), token.until);
                put(ENDED_TOKENS, &token.id, accounts::write_token(token))
            }
            AccountChange::TokensForgotten(before) => {
                let over = self.tokens.extract_if(.., |_, until| *until < *before);
                over.map(|(id, _)| remove(ENDED_TOKENS, id)).collect()
            }
            AccountChange::Audit(entry) => self.add_audit(entry)?,
            AccountChange::AuditForgotten(before) => {
                let but_the_last = ..self.highest;
                let old = self.ages.extract_if(but_the_last, |_, at| *at < *before);
                let old: Vec<u64> = old.map(|(number, _)| number).collect();
                old.into_iter()
                    .map(|number| {
                        self.audit.remove(&number);
                        remove(AUDIT, accounts::audit_id(number))
                    })
                    .collect()
            }
        })
    }

    fn add_audit(&mut self, entry: &AuditRecord) -> Result<Vec<Place>, Failure> {
        let document = accounts::write_audit(entry);
        // As it would be read back: not every time can be held.
        let stored = accounts::read_audit(&document)?;
        let id = accounts::audit_id(entry.number);
        match self.audit.get(&entry.number) {
            Some(known) if *known == stored => Ok(Vec::new()),
            Some(_) => Err(Failure::Record(CommitError::Conflict {
                what: "audit entry",
                key: entry.number.to_string(),
            })),
            None => {
                self.ages.insert(stored.number, stored.at);
                self.highest = self.highest.max(stored.number);
                self.audit.insert(stored.number, stored);
                Ok(vec![((AUDIT, id), Change::Put(document))])
            }
        }
    }
}

/// The highest number in the audit; 0 if there is none.
async fn highest(link: &Link) -> Result<u64, Failure> {
    let how = How {
        sort: doc! { "number": -1 },
        fields: doc! { "number": 1 },
        limit: 1,
    };
    let found = link.find(AUDIT, doc! {}, how).await?;
    let number = found.first().map(|entry| entry.get_i64("number"));
    Ok(number.and_then(Result::ok).map_or(0, i64::cast_unsigned))
}

/// Every user, key and ended token.
pub(super) async fn all(link: &Link) -> Result<StoredAccounts, Failure> {
    // Keys before users: one that is made meanwhile is not here without its user.
    let keys = of_ours(link, KEYS).await?;
    let ended_tokens = of_ours(link, ENDED_TOKENS).await?;
    let users = of_ours(link, USERS).await?;
    let read = users.iter().map(accounts::read_user);
    let users: Vec<UserRecord> = read.collect::<Result<_, ReadError>>()?;
    let read = keys.iter().map(accounts::read_key);
    let keys = read.collect::<Result<_, ReadError>>()?;
    let read = ended_tokens.iter().map(accounts::read_token);
    let ended_tokens = read.collect::<Result<_, ReadError>>()?;
    Ok(StoredAccounts {
        users,
        keys,
        ended_tokens,
        highest_audit: highest(link).await?,
    })
}

/// What has an id of ours, by that.
async fn of_ours(link: &Link, collection: &str) -> Result<Vec<Document>, Failure> {
    let ours = doc! { "_id": { "$type": "string" } };
    let how = How {
        sort: doc! { "_id": 1 },
        ..How::default()
    };
    link.find(collection, ours, how).await
}

pub(super) async fn audit(link: &Link, query: &AuditQuery) -> Result<Vec<AuditRecord>, Failure> {
    // To the server 0 is no limit.
    if query.limit == 0 {
        return Ok(Vec::new());
    }
    let how = How {
        sort: doc! { "number": -1 },
        limit: i64::try_from(query.limit).unwrap_or(i64::MAX),
        ..How::default()
    };
    let found = link.find(AUDIT, filter(query), how).await?;
    let read = found.iter().map(accounts::read_audit);
    Ok(read.collect::<Result<_, _>>()?)
}

/// Along an index that holds the number as its last part, so that no page ever sorts.
pub(super) fn filter(query: &AuditQuery) -> Document {
    let mut number = doc! { "$gte": 0_i64 };
    if let Some(before) = query.before.filter(|before| *before <= HIGHEST_ORDER) {
        number.insert("$lt", bits(before));
    }
    let mut filter = doc! { "number": number };
    if let Some(user) = &query.user {
        filter.insert("username", user.as_str());
    }
    if let Some(action) = &query.action {
        filter.insert("action", action);
    }
    let mut at = Document::new();
    if let Some(since) = query.since {
        at.insert("$gte", date(since));
    }
    if let Some(until) = query.until {
        at.insert("$lt", date(until));
    }
    if !at.is_empty() {
        filter.insert("at", at);
    }
    filter
}

/// When the oldest entries were made, but for the last one.
pub(super) async fn oldest(link: &Link, before: Wall, limit: usize) -> Result<Vec<Wall>, Failure> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let last = highest(link).await?;
    let old = doc! { "at": { "$lt": date(before) }, "number": { "$lt": bits(last) } };
    let how = How {
        sort: doc! { "at": 1 },
        fields: doc! { "at": 1 },
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
    };
    let found = link.find(AUDIT, old, how).await?;
    let at = found.iter().filter_map(|entry| match entry.get("at") {
        Some(Bson::DateTime(at)) => Some(Wall(at.timestamp_millis())),
        _ => None,
    });
    Ok(at.collect())
}
