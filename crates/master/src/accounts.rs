//! Accounts as this master has them: kept in its store, behind what its core writes, and opened once
//! that store has been read.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use cloudai_accounts::{
    AccountStore, AccountStoreError, Accounts, AuditQuery, FirstAdmin, OpenError, StoredAccounts,
};
use cloudai_model::{
    UserName,
    account::{AccountChange, AuditRecord},
    record::Record,
};
use cloudai_operator::with_causes;
use cloudai_store::{Store, TaskQuery};
use tokio::sync::watch;
use tracing::warn;

use crate::{access_settings::AccessSettings, core_loop::CoreHandle};

/// After a store that could not be read.
const AGAIN: Duration = Duration::from_secs(2);

/// The accounts, once they are open.
pub type Opened = watch::Receiver<Option<Accounts>>;

/// Where accounts are kept.
pub struct KeptAccounts {
    /// What is read.
    pub store: Arc<dyn Store>,
    /// Who writes: there is one writer of the store.
    pub core: CoreHandle,
}

#[async_trait]
impl AccountStore for KeptAccounts {
    async fn load(&self) -> Result<StoredAccounts, AccountStoreError> {
        let read = self.store.accounts().await;
        read.map_err(|error| AccountStoreError::new("read the accounts", error))
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AccountStoreError> {
        let read = self.store.audit(query).await;
        read.map_err(|error| AccountStoreError::new("read the audit", error))
    }

    async fn has_tasks(&self, user: &UserName) -> Result<bool, AccountStoreError> {
        let newest = TaskQuery {
            user: Some(user.clone()),
            ..TaskQuery::newest(1)
        };
        let read = self.store.tasks(&newest).await;
        let read = read.map_err(|error| AccountStoreError::new("look for tasks", error))?;
        Ok(!read.is_empty())
    }

    async fn keep(&self, changes: Vec<AccountChange>) -> Result<(), AccountStoreError> {
        let records = changes.into_iter().map(Record::Account).collect();
        let kept = self.core.keep(records).await;
        kept.map_err(|error| AccountStoreError::new("keep a change", error))
    }
}

/// Opens the accounts of a store that has been read, however often it has to be tried: until then
/// nobody can log in, and all else goes on.
///
/// # Errors
/// What no further try puts right: a setting, a file of the data directory.
pub async fn open(
    kept: KeptAccounts,
    data_dir: PathBuf,
    settings: &AccessSettings,
    issuer: String,
) -> Result<(Accounts, Option<FirstAdmin>), OpenError> {
    let store: Arc<dyn AccountStore> = Arc::new(kept);
    loop {
        let opened = Accounts::open(
            store.clone(),
            &data_dir,
            settings.jwt_secret.clone(),
            settings.accounts(issuer.clone()),
            cloudai_clock::now(),
        );
        match opened.await {
            Err(OpenError::Store(error)) => {
                warn!(
                    error = with_causes(&error),
                    "accounts can't be read yet: nobody can log in"
                );
                tokio::time::sleep(AGAIN).await;
            }
            opened => return opened,
        }
    }
}
