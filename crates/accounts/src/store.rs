//! What a store must do for accounts. The stores themselves are elsewhere.

use async_trait::async_trait;
use cloudai_model::{
    UserName, Wall,
    account::{AccountChange, AuditRecord, EndedToken, KeyRecord, UserRecord},
};

/// Why a store didn't read or keep.
#[derive(Debug, thiserror::Error)]
#[error("the store of accounts failed: expected it to {what}")]
pub struct AccountStoreError {
    /// What it was to do.
    pub what: &'static str,
    /// Why it didn't.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl AccountStoreError {
    /// With what the store was to do, such as `keep a change`, and why it didn't.
    pub fn new(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        Self { what, source }
    }
}

/// All that is stored of accounts, but for the audit, of which there is no end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredAccounts {
    /// Every user.
    pub users: Vec<UserRecord>,
    /// Every key.
    pub keys: Vec<KeyRecord>,
    /// Every token that was ended before its time and isn't forgotten.
    pub ended_tokens: Vec<EndedToken>,
    /// The highest number in the audit; 0 if it is empty.
    pub highest_audit: u64,
}

/// Which records of the audit are wanted. What is `None` doesn't matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only those with a lower number: where the page before ended.
    pub before: Option<u64>,
    /// Only what this user did.
    pub user: Option<UserName>,
    /// Only this action, as its whole word.
    pub action: Option<String>,
    /// Only what was done then or later.
    pub since: Option<Wall>,
    /// Only what was done before that.
    pub until: Option<Wall>,
    /// The most records.
    pub limit: usize,
}

impl AuditQuery {
    /// Whether a record is one of those wanted, the limit apart.
    #[must_use]
    pub fn wants(&self, record: &AuditRecord) -> bool {
        self.before.is_none_or(|before| record.number < before)
            && (self.user.is_none() || self.user == record.user)
            && self.action.as_ref().is_none_or(|it| *it == record.action)
            && self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at < until)
    }
}

/// Keeps accounts. One master owns what it keeps: nobody else writes there.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// Reads everything.
    ///
    /// # Errors
    /// If it can't be read whole.
    async fn load(&self) -> Result<StoredAccounts, AccountStoreError>;

    /// The records that are wanted, those of the highest numbers first, at most as many as the limit.
    ///
    /// # Errors
    /// If they can't be read.
    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AccountStoreError>;

    /// Makes the changes, all or none, in their order, and returns when they will survive a crash.
    ///
    /// After an error it may be that they were made all the same. Records of the audit, which are told
    /// apart by their numbers, are sent again then, in another list: the same record twice is no error
    /// and is kept once. Everything else is read anew by [`Self::load`] first.
    ///
    /// # Errors
    /// If they couldn't be made, or it isn't known whether they were.
    async fn keep(&self, changes: Vec<AccountChange>) -> Result<(), AccountStoreError>;
}
