//! The audit: written by everybody who does something, read by admins.

use cloudai_model::account::AuditRecord;

use crate::{
    accounts::Accounts,
    audit::AuditEntry,
    identity::{Forbidden, Identity, Permission},
    store::{AccountStoreError, AuditQuery},
};

/// The most records of one page.
const LARGEST_PAGE: usize = 1000;

/// Why the audit isn't shown.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Who asks may not look.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// It can't be read.
    #[error(transparent)]
    Store(#[from] AccountStoreError),
}

/// Records of the audit, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The records.
    pub records: Vec<AuditRecord>,
    /// What [`AuditQuery::before`] is for the next page, if there is one.
    pub next: Option<u64>,
}

impl Accounts {
    /// Writes down that something was done, or refused. It survives a crash when this returns; those of
    /// many callers at a time are one commit.
    ///
    /// # Errors
    /// If the store doesn't take it now, or not within a quarter of a second. It is kept with the next
    /// that the store takes.
    pub async fn audit(&self, entry: AuditEntry) -> Result<(), AccountStoreError> {
        self.append(entry).await
    }

    /// A page of the audit. The pages behind it stay what they are while more is written.
    ///
    /// # Errors
    /// If who asks may not look, or it can't be read.
    pub async fn audit_page(
        &self,
        by: &Identity,
        query: AuditQuery,
    ) -> Result<AuditPage, AuditError> {
        by.authorize(Permission::Administer)?;
        let limit = query.limit.clamp(1, LARGEST_PAGE);
        // One more tells whether there are more.
        let query = AuditQuery {
            limit: limit + 1,
            ..query
        };
        let mut records = self.0.store.audit(&query).await?;
        let goes_on = records.len() > limit;
        records.truncate(limit);
        let last = records.last().map(|record| record.number);
        Ok(AuditPage {
            next: last.filter(|_| goes_on),
            records,
        })
    }
}
