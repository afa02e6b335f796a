//! Accounts as this master has them: kept in its store, behind what its core writes, and opened once
//! that store has been read.

use std::{
    error::Error,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

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
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::warn;

use crate::{
    access_settings::AccessSettings,
    core_loop::{CoreHandle, KeepError},
    operations::Master,
    room::Room,
};

/// After a store that could not be read.
const AGAIN: Duration = Duration::from_secs(2);

/// The accounts, once they are open.
pub type Opened = watch::Receiver<Option<Accounts>>;

/// So long a change waits for the store, at most. What it waits for then is a disk without room, or a database
/// that is away.
const STORE_WITHIN: Duration = Duration::from_secs(10);

/// Where accounts are kept.
pub struct KeptAccounts {
    /// What is read.
    store: Arc<dyn Store>,
    /// Who writes: there is one writer of the store.
    core: CoreHandle,
    /// Whether there is room.
    room: Room,
    /// The change that the store has not taken within the time, if there is one. Nothing is read or kept
    /// before it is known what becomes of it: others would be decided on without it.
    under_way: Mutex<Option<JoinHandle<Result<(), KeepError>>>>,
    within: Duration,
}

impl KeptAccounts {
    /// What is kept with the master's own records.
    #[must_use]
    pub fn of(master: &Master) -> Self {
        Self::new(
            master.store.clone(),
            master.core.clone(),
            master.room.clone(),
        )
    }

    fn new(store: Arc<dyn Store>, core: CoreHandle, room: Room) -> Self {
        let under_way = Mutex::default();
        Self {
            store,
            core,
            room,
            under_way,
            within: STORE_WITHIN,
        }
    }

    /// Refuses while the store has not taken an earlier change.
    async fn settled(
        under_way: &mut Option<JoinHandle<Result<(), KeepError>>>,
    ) -> Result<(), AccountStoreError> {
        if under_way.as_ref().is_some_and(|kept| !kept.is_finished()) {
            let why = "it has not taken the change before yet";
            return Err(AccountStoreError::new("take changes", why));
        }
        if let Some(kept) = under_way.take() {
            // It is read anew, whatever came of it.
            let _ = kept.await.is_ok();
        }
        Ok(())
    }
}

#[async_trait]
impl AccountStore for KeptAccounts {
    async fn load(&self) -> Result<StoredAccounts, AccountStoreError> {
        let mut under_way = self.under_way.lock().await;
        Self::settled(&mut under_way).await?;
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
        let failed =
            |why: Box<dyn Error + Send + Sync>| AccountStoreError::new("keep a change", why);
        let mut under_way = self.under_way.lock().await;
        Self::settled(&mut under_way).await?;
        if let Some(why) = self.room.store_waits() {
            return Err(failed(why.into()));
        }
        let records = changes.into_iter().map(Record::Account).collect();
        let core = self.core.clone();
        let mut kept = tokio::spawn(async move { core.keep(records).await });
        match timeout(self.within, &mut kept).await {
            Ok(Ok(kept)) => kept.map_err(|error| failed(error.into())),
            Ok(Err(error)) => Err(failed(error.into())),
            Err(_) => {
                *under_way = Some(kept);
                let within = self.within;
                let why = format!("the store has not taken it within {within:?}, and may yet");
                Err(failed(why.into()))
            }
        }
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
    access: &AccessSettings,
    issuer: String,
    tell: mpsc::Sender<ToShow>,
) -> Result<Accounts, OpenError> {
    let store: Arc<dyn AccountStore> = Arc::new(kept);
    let mut settings = access.accounts(issuer);
    loop {
        let shown = std::sync::Mutex::new(None);
        let opened = Accounts::open(
            store.clone(),
            &data_dir,
            access.jwt_secret.clone(),
            settings.clone(),
            cloudai_clock::now(),
            async |first| {
                *shown.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(first.password.clone());
                show(&tell, first).await;
            },
        );
        match opened.await {
            Err(OpenError::Store(error)) => {
                warn!(
                    error = with_causes(&error),
                    "accounts can't be read yet: nobody can log in"
                );
                // It may have been kept all the same: what somebody has read goes on to be the one.
                let shown = shown.into_inner().unwrap_or_else(PoisonError::into_inner);
                settings.first_password = shown.or(settings.first_password);
                tokio::time::sleep(AGAIN).await;
            }
            opened => return opened,
        }
    }
}

/// The first admin's password, on its way to the console. It is kept once it is there.
#[derive(Debug)]
pub struct ToShow {
    /// What to show.
    pub first: FirstAdmin,
    /// That it was.
    pub shown: oneshot::Sender<()>,
}

/// Has the password shown. If nobody will any more, because the master ends, there is to be no such user.
async fn show(tell: &mpsc::Sender<ToShow>, first: FirstAdmin) {
    let (shown, is_shown) = oneshot::channel();
    let told = tell.send(ToShow { first, shown }).await;
    if told.is_err() || is_shown.await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
