//! Accounts as a whole: what is in memory, and the one way by which it changes.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use cloudai_model::{
    AccountState, DraftErrors, Now, Role, UserLimits, UserName, Wall,
    account::{AccountChange, AuditRecord, UserRecord},
};

use tokio::sync::watch;

use crate::{
    audit::{Action, AuditEntry},
    directory::Directory,
    identity::{CallContext, Forbidden, Identity, Peer, Permission},
    operations::{Logouts, Tended},
    password::{Asker, HashError, Hasher, check_password},
    secret::{NoRandomness, Secret, random},
    settings::AccountSettings,
    store::{AccountStore, AccountStoreError},
    throttle::Throttle,
    token::{KeyRing, RingFile, RingFileError},
};

/// So many records may wait for the store.
pub(crate) const MOST_PENDING: usize = 10_000;
/// So long whoever has done something waits until that is in the audit. Behind a store that takes longer
/// the record waits alone: nobody is kept out by a disk that is full.
pub(crate) const AUDITED_WITHIN: Duration = Duration::from_millis(250);

/// Why accounts can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The tokens' keys.
    #[error(transparent)]
    Ring(#[from] RingFileError),
    /// What is kept can't be read, or the first admin not be kept.
    #[error(transparent)]
    Store(#[from] AccountStoreError),
    /// The password for `admin` in the settings won't do.
    #[error("the first password of admin {mistakes}")]
    FirstPassword {
        /// All that is wrong with it.
        mistakes: String,
    },
    /// Nothing secret can be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// A password can't be hashed, such as where there is no memory for it.
    #[error("no password can be hashed: {why}")]
    Hash {
        /// What argon2 says.
        why: String,
    },
}

impl From<HashError> for OpenError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Random(error) => Self::Random(error),
            HashError::Argon2(why) => Self::Hash { why },
        }
    }
}

/// The admin that a first start makes, with a password that is made here.
#[derive(Debug)]
pub struct FirstAdmin {
    /// The name.
    pub user: UserName,
    /// The password, to be shown once; it is kept nowhere.
    pub password: Secret,
}

/// Users, keys, tokens and the audit of one cluster. Cloning it costs nothing.
#[derive(Clone)]
pub struct Accounts(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn AccountStore>,
    pub(crate) settings: AccountSettings,
    pub(crate) hasher: Hasher,
    pub(crate) ring_file: RingFile,
    directory: RwLock<Directory>,
    ring: RwLock<KeyRing>,
    throttle: Mutex<Throttle>,
    pending: Mutex<Pending>,
    /// What became of the records so far.
    flushed: watch::Sender<Flushed>,
    pub(crate) logouts: Logouts,
    pub(crate) tended: Mutex<Tended>,
    /// Whoever holds it may change something.
    pub(crate) writer: tokio::sync::Mutex<Writer>,
}

#[derive(Default)]
pub(crate) struct Writer {
    /// The store may hold more than the directory does: it is read anew before the next change.
    doubtful: bool,
}

/// Records of the audit that wait for the store. One commit takes all of them.
struct Pending {
    records: VecDeque<AuditRecord>,
    next: u64,
    /// Whether somebody is about to keep them.
    is_flushing: bool,
    /// How many there was no room for, and when the last one was. One record tells of them.
    lost: Option<(u64, Wall)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Flushed {
    /// Every record up to this one has been kept.
    kept: u64,
    /// How often the store has refused.
    failures: u64,
}

impl Pending {
    fn push(&mut self, entry: AuditEntry) -> u64 {
        let number = self.next;
        self.next += 1;
        self.records.push_back(entry.numbered(number));
        number
    }
}

/// A change that was decided on: what to keep, what to write down, and what to answer when that is done.
pub(crate) struct Decision<T> {
    pub(crate) changes: Vec<AccountChange>,
    pub(crate) entries: Vec<AuditEntry>,
    pub(crate) answer: T,
}

impl<T> Decision<T> {
    pub(crate) fn new(changes: Vec<AccountChange>, entry: AuditEntry, answer: T) -> Self {
        Self {
            changes,
            entries: vec![entry],
            answer,
        }
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let users = self.directory().user_count();
        f.debug_struct("Accounts")
            .field("users", &users)
            .finish_non_exhaustive()
    }
}

impl Accounts {
    /// Reads everything, brings the tokens' keys in line with `JWT_SECRET`, and makes `admin` if there is
    /// no admin yet. A password that is made for them is shown by `show` before it is kept: whatever ends
    /// the process in between, nobody is left without it.
    ///
    /// # Errors
    /// See [`OpenError`]. After one of the store it may be tried again.
    pub async fn open<F: Future<Output = ()> + Send>(
        store: Arc<dyn AccountStore>,
        data_dir: &Path,
        jwt_secret: Option<Secret>,
        settings: AccountSettings,
        now: Now,
        show: impl FnOnce(FirstAdmin) -> F + Send,
    ) -> Result<Self, OpenError> {
        let ring_file = RingFile::within(data_dir);
        let (cost, limits, life) = (settings.cost, settings.hashing, settings.token_lifetime);
        let file = ring_file.clone();
        let made = tokio::task::spawn_blocking(move || {
            let ring = file.open(jwt_secret.as_ref(), life, now.wall)?;
            let hasher = Hasher::new(cost, limits)?;
            Ok::<_, OpenError>((ring, hasher))
        });
        let (ring, hasher) = made.await.map_err(|error| OpenError::Hash {
            why: error.to_string(),
        })??;
        let stored = store.load().await?;
        let highest = stored.highest_audit;
        let throttle = Throttle::new(&settings.throttle);
        let accounts = Self(Arc::new(Inner {
            store,
            settings,
            hasher,
            ring_file,
            directory: RwLock::new(Directory::new(stored)),
            ring: RwLock::new(ring),
            throttle: Mutex::new(throttle),
            pending: Mutex::new(Pending {
                records: VecDeque::new(),
                next: highest.saturating_add(1),
                is_flushing: false,
                lost: None,
            }),
            flushed: watch::Sender::new(Flushed {
                kept: highest,
                failures: 0,
            }),
            logouts: Logouts::default(),
            tended: Mutex::default(),
            writer: tokio::sync::Mutex::default(),
        }));
        accounts.first_start(now, show).await?;
        Ok(accounts)
    }

    async fn first_start<F: Future<Output = ()> + Send>(
        &self,
        now: Now,
        show: impl FnOnce(FirstAdmin) -> F + Send,
    ) -> Result<(), OpenError> {
        let user = UserName::admin();
        {
            let directory = self.directory();
            if directory.has_admin() {
                return Ok(());
            }
            if let Some(taken) = directory.spelled_like(&user) {
                // Whoever it is, they didn't ask to be an admin.
                tracing::warn!(
                    user = %taken,
                    "no user is an admin, and the name admin is taken: make one an admin at the console"
                );
                return Ok(());
            }
        }
        let (password, is_made) = match &self.0.settings.first_password {
            Some(password) => {
                let least = self.0.settings.least_password_chars;
                let mistakes = check_password(password, user.as_str(), least);
                if !mistakes.is_empty() {
                    let mistakes = mistakes.join(", ");
                    return Err(OpenError::FirstPassword { mistakes });
                }
                (password.clone(), false)
            }
            None => (random_password()?, true),
        };
        let made = is_made.then(|| FirstAdmin {
            user: user.clone(),
            password: password.clone(),
        });
        let hash = self.0.hasher.hash(password, Asker::master()).await;
        let hash = hash.map_err(|busy| OpenError::Hash {
            why: busy.to_string(),
        })??;
        let record = new_user(user.clone(), hash, now)?;
        let record = UserRecord {
            role: Role::Admin,
            ..record
        };
        let call = CallContext {
            now,
            from: Peer::Console,
            request: String::new(),
        };
        let entry = AuditEntry::new(&call, None, Action::FirstStart).target(user.as_str());
        if let Some(made) = made {
            show(made).await;
        }
        let kept = self.change(move |_| {
            let changes = vec![AccountChange::User(Box::new(record))];
            Ok::<_, AccountStoreError>(Decision::new(changes, entry, ()))
        });
        Ok(kept.await?)
    }

    /// Keeps what `decide` wants and then answers what it answers. It sees everything that was kept
    /// before, and nothing else is kept meanwhile. Once it has begun it goes on to its end, also when
    /// nobody waits for the answer any more.
    pub(crate) async fn change<T, E>(
        &self,
        decide: impl FnOnce(&Directory) -> Result<Decision<T>, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<AccountStoreError> + Send + 'static,
    {
        let inner = self.0.clone();
        let done = tokio::spawn(async move {
            let mut writer = inner.writer.lock().await;
            inner.read_anew_if_doubtful(&mut writer).await?;
            let Decision {
                changes,
                entries,
                answer,
            } = decide(&inner.directory())?;
            inner.keep(&mut writer, changes, entries).await?;
            Ok(answer)
        });
        done.await
            .unwrap_or_else(|error| Err(AccountStoreError::new("carry a change out", error).into()))
    }

    /// The same for what somebody asked for. Whether they still are who they were, and may, is looked at
    /// once more with what is decided on: changes before this one may have ended that.
    pub(crate) async fn change_by<T, E>(
        &self,
        (call, by): (&CallContext, &Identity),
        wanted: Permission,
        decide: impl FnOnce(&Directory) -> Result<Decision<T>, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<AccountStoreError> + From<Forbidden> + Send + 'static,
    {
        let (accounts, by, now) = (self.clone(), by.clone(), call.now.wall);
        self.change(move |directory| {
            let by = accounts.recheck_in(directory, &by, now);
            by.map_err(|_| Forbidden::Ended)?.authorize(wanted)?;
            decide(directory)
        })
        .await
    }

    /// Has a record of the audit kept, together with whatever else waits for the store, and waits for
    /// that for a moment.
    pub(crate) async fn append(&self, entry: AuditEntry) -> Result<(), AccountStoreError> {
        let mut flushed = self.0.flushed.subscribe();
        let failures = flushed.borrow().failures;
        let number = {
            let mut pending = self.0.pending();
            if pending.records.len() >= MOST_PENDING {
                let so_far = pending.lost.map_or(0, |(count, _)| count);
                pending.lost = Some((so_far + 1, entry.at()));
                let why = "too many records wait for the store";
                return Err(AccountStoreError::new("keep up with the audit", why));
            }
            pending.push(entry)
        };
        self.flush();
        let done = flushed.wait_for(|it| it.kept >= number || it.failures > failures);
        match tokio::time::timeout(AUDITED_WITHIN, done).await {
            Ok(Ok(flushed)) if flushed.kept >= number => Ok(()),
            _ => {
                let why = "the store takes nothing just now";
                Err(AccountStoreError::new("keep the audit at once", why))
            }
        }
    }

    /// Has the records kept that wait for the store, unless somebody is at it.
    pub(crate) fn flush(&self) {
        {
            let mut pending = self.0.pending();
            if pending.is_flushing || pending.records.is_empty() {
                return;
            }
            pending.is_flushing = true;
        }
        let inner = self.0.clone();
        tokio::spawn(async move {
            loop {
                let mut writer = inner.writer.lock().await;
                {
                    // Whoever held the lock before may have taken them along.
                    let mut pending = inner.pending();
                    if pending.records.is_empty() {
                        pending.is_flushing = false;
                        return;
                    }
                }
                let kept = inner.keep(&mut writer, Vec::new(), Vec::new()).await;
                if kept.is_err() {
                    inner.pending().is_flushing = false;
                    inner.flushed.send_modify(|flushed| flushed.failures += 1);
                    return;
                }
            }
        });
    }

    /// Has the store take what waits for it, before it is closed.
    ///
    /// # Errors
    /// If it doesn't: what waits is lost with this process.
    pub async fn close(&self) -> Result<(), AccountStoreError> {
        let mut writer = self.0.writer.lock().await;
        self.0.keep(&mut writer, Vec::new(), Vec::new()).await
    }

    /// Writes down that something was refused, unless the same place has had much of that lately. What
    /// the store says to it doesn't make the refusal another one.
    pub async fn note_refusal(&self, call: &CallContext, entry: AuditEntry) {
        if let Peer::Address(address) = call.from
            && !self.throttle().is_noted(address.into(), call.now.mono)
        {
            return;
        }
        if let Err(error) = self.append(entry).await {
            tracing::warn!(error = %chain(&error), "a refusal is not in the audit yet");
        }
    }

    /// The same result, and if it is a refusal, that in the audit.
    pub(crate) async fn noted<T, E: Refusal>(
        &self,
        call: &CallContext,
        by: &Identity,
        action: Action,
        target: &str,
        result: Result<T, E>,
    ) -> Result<T, E> {
        if let Err(error) = &result {
            let entry = AuditEntry::new(call, Some(by), action).target(target);
            self.note_refusal(call, entry.refused(error.detail())).await;
        }
        result
    }

    pub(crate) fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        self.0.directory()
    }

    pub(crate) fn ring(&self) -> RwLockReadGuard<'_, KeyRing> {
        self.0.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ring_mut(&self) -> RwLockWriteGuard<'_, KeyRing> {
        self.0.ring.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.0
            .throttle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(crate) fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_anew_if_doubtful(&self, writer: &mut Writer) -> Result<(), AccountStoreError> {
        if !writer.doubtful {
            return Ok(());
        }
        let stored = self.store.load().await?;
        {
            let mut pending = self.pending();
            pending.next = pending.next.max(stored.highest_audit.saturating_add(1));
        }
        let directory = Directory::new(stored);
        *self
            .directory
            .write()
            .unwrap_or_else(PoisonError::into_inner) = directory;
        writer.doubtful = false;
        Ok(())
    }

    /// One transaction: all records that wait, the changes, and what is to be written down of them.
    pub(crate) async fn keep(
        &self,
        writer: &mut Writer,
        changes: Vec<AccountChange>,
        entries: Vec<AuditEntry>,
    ) -> Result<(), AccountStoreError> {
        let (waiting, own, last) = {
            let mut pending = self.pending();
            if pending.records.len() <= MOST_PENDING
                && let Some((count, at)) = pending.lost.take()
            {
                pending.push(AuditEntry::lost(count, at));
            }
            let waiting: Vec<AuditRecord> = pending.records.drain(..).collect();
            for entry in entries {
                pending.push(entry);
            }
            let own: Vec<AuditRecord> = pending.records.drain(..).collect();
            (waiting, own, pending.next - 1)
        };
        let records = waiting.iter().cloned().chain(own);
        let mut list = changes.clone();
        list.extend(records.map(|record| AccountChange::Audit(Box::new(record))));
        if list.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.store.keep(list).await {
            // What waited goes on waiting, in front of what has come since.
            let mut pending = self.pending();
            for record in waiting.into_iter().rev() {
                pending.records.push_front(record);
            }
            writer.doubtful |= !changes.is_empty();
            return Err(error);
        }
        {
            let mut directory = self
                .directory
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            for change in changes {
                directory.apply(change);
            }
        }
        self.flushed.send_modify(|flushed| flushed.kept = last);
        Ok(())
    }
}

/// A user that nobody has been before: tokens of another one of that name, who was removed, are not
/// theirs, because generations begin anywhere.
pub(crate) fn new_user(user: UserName, hash: String, now: Now) -> Result<UserRecord, NoRandomness> {
    let generation = u64::from_le_bytes(random()?) >> 16;
    Ok(UserRecord {
        user,
        name: String::new(),
        email: String::new(),
        password_hash: hash,
        role: Role::User,
        state: AccountState::Active,
        generation,
        limits: UserLimits::default(),
        created_at: now.wall,
        updated_at: now.wall,
    })
}

/// 120 random bits, in groups that can be typed from a screen.
pub(crate) fn random_password() -> Result<Secret, NoRandomness> {
    let digits = hex::encode(random::<15>()?);
    let groups: Vec<&str> = (0..digits.len())
        .step_by(5)
        .filter_map(|at| digits.get(at..at + 5))
        .collect();
    Ok(Secret::new(groups.join("-")))
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

/// An error as the audit tells it.
pub(crate) trait Refusal: std::error::Error + Sized + Send + Sync {
    /// Why, with no secret in it.
    fn detail(&self) -> String {
        chain(self)
    }
}

/// What is wrong with what was sent, as the audit tells it: by fields alone, since what stood in them may
/// be a password in the wrong one.
pub(crate) fn fields(errors: &DraftErrors) -> String {
    let mut fields: Vec<&str> = errors.0.iter().map(|error| error.field).collect();
    fields.dedup();
    format!("invalid: {}", fields.join(", "))
}
