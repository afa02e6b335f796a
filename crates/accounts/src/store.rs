//! What a store must do for accounts. The stores themselves are elsewhere.

use async_trait::async_trait;
use cloudai_model::{
    UserName,
    account::{AccountChange, AuditRecord},
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

pub use cloudai_model::account::{AuditQuery, StoredAccounts};

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

    /// Whether tasks of this user are kept, with or without such a user.
    ///
    /// # Errors
    /// If it can't be read.
    async fn has_tasks(&self, user: &UserName) -> Result<bool, AccountStoreError>;

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
