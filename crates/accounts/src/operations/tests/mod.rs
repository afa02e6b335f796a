//! Accounts as a whole, over a store in memory: each operation, and what is kept of it.

mod admin;
mod coming_in;
mod durable;
mod programs;

use std::{path::Path, sync::Arc, time::Duration};

use cloudai_model::{
    AccountState, Mono, Now, Role, UserLimits, UserName, Wall, account::AuditRecord,
};

use crate::{
    AccountSettings, Accounts, CallContext, ChangeUserError, Credential, Identity, PasswordCost,
    Peer, Registration, Secret, Session, User, UserChange, UserDraft, UserError,
    fakes::MemoryAccounts,
};

/// A change of one thing of a user.
impl Accounts {
    async fn changed(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
        change: UserChange,
    ) -> Result<User, UserError> {
        let changed = self.change_user(call, by, user, change).await;
        changed.map_err(|error| match error {
            ChangeUserError::User(error) => error,
            ChangeUserError::Password(error) => panic!("no password was changed: {error}"),
        })
    }

    async fn in_state(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
        state: AccountState,
    ) -> Result<User, UserError> {
        let change = UserChange {
            state: Some(state),
            ..UserChange::default()
        };
        self.changed(call, by, user, change).await
    }

    async fn lock(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
    ) -> Result<User, UserError> {
        self.in_state(call, by, user, AccountState::Locked).await
    }

    /// From whatever state keeps them out.
    async fn let_in(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
    ) -> Result<User, UserError> {
        self.in_state(call, by, user, AccountState::Active).await
    }

    async fn set_role(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
        role: Role,
    ) -> Result<User, UserError> {
        let change = UserChange {
            role: Some(role),
            ..UserChange::default()
        };
        self.changed(call, by, user, change).await
    }

    async fn set_limits(
        &self,
        call: &CallContext,
        by: &Identity,
        user: &UserName,
        limits: UserLimits,
    ) -> Result<User, UserError> {
        let change = UserChange {
            limits: Some(limits),
            ..UserChange::default()
        };
        self.changed(call, by, user, change).await
    }
}

const START_MS: i64 = 1_800_000_000_000;

/// A master's accounts, with what they are kept in.
struct Cluster {
    store: Arc<MemoryAccounts>,
    folder: tempfile::TempDir,
    accounts: Accounts,
    settings: AccountSettings,
}

fn now(seconds: u64) -> Now {
    Now {
        mono: Mono(seconds * 1000),
        wall: Wall(START_MS).after(Duration::from_secs(seconds)),
    }
}

fn call_from(address: &str, seconds: u64) -> CallContext {
    CallContext {
        now: now(seconds),
        from: Peer::Address(address.parse().unwrap()),
        request: "r-1".into(),
    }
}

fn call(seconds: u64) -> CallContext {
    call_from("192.0.2.1", seconds)
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn draft(username: &str) -> UserDraft {
    UserDraft {
        username: username.into(),
        password: format!("password of {username}").as_str().into(),
        name: None,
        email: None,
    }
}

fn settings() -> AccountSettings {
    AccountSettings {
        cost: PasswordCost::for_tests(),
        registration: Registration::Open,
        first_password: Some("password of admin".into()),
        ..AccountSettings::new("c-test")
    }
}

async fn open(store: &Arc<MemoryAccounts>, folder: &Path, settings: AccountSettings) -> Accounts {
    let opened = Accounts::open(store.clone(), folder, None, settings, now(0), |_| async {});
    opened.await.unwrap()
}

impl Cluster {
    async fn new() -> Self {
        Self::with(settings()).await
    }

    async fn with(settings: AccountSettings) -> Self {
        let store = Arc::new(MemoryAccounts::new());
        let folder = tempfile::tempdir().unwrap();
        let accounts = open(&store, folder.path(), settings.clone()).await;
        Self {
            store,
            folder,
            accounts,
            settings,
        }
    }

    /// The same after a restart of the master.
    async fn restarted(self) -> Self {
        let accounts = open(&self.store, self.folder.path(), self.settings.clone()).await;
        Self { accounts, ..self }
    }

    async fn login(&self, user: &str) -> Session {
        let password = Secret::new(format!("password of {user}"));
        self.accounts.login(&call(0), user, password).await.unwrap()
    }

    fn identity(&self, session: &Session) -> Identity {
        let shown = Credential::bearer(session.token.expose());
        self.accounts.authenticate(shown, now(1).wall).unwrap()
    }

    async fn admin(&self) -> Identity {
        self.identity(&self.login("admin").await)
    }

    /// A user who has registered and logged in.
    async fn user(&self, user: &str) -> (Session, Identity) {
        self.accounts.register(&call(0), draft(user)).await.unwrap();
        let session = self.login(user).await;
        let identity = self.identity(&session);
        assert_eq!((identity.user.as_str(), identity.role), (user, Role::User));
        (session, identity)
    }

    fn is_in(&self, session: &Session) -> bool {
        let shown = Credential::Token(session.token.expose());
        self.accounts.authenticate(shown, now(1).wall).is_ok()
    }

    fn last_audit(&self) -> AuditRecord {
        self.store.whole_audit().pop().unwrap()
    }

    /// The audit as `action target done` lines.
    fn audit_lines(&self) -> Vec<String> {
        let all = self.store.whole_audit().into_iter();
        let done = |record: &AuditRecord| if record.done { "done" } else { "refused" };
        all.map(|it| format!("{} {} {}", it.action, it.target, done(&it)))
            .collect()
    }
}

/// What a server needs of a future that it answers with.
#[test]
fn every_operation_may_be_awaited_on_any_thread() {
    fn is_send(_: impl Send) {}
    // Never run: it only has to compile.
    let _ = |accounts: &Accounts, call: &CallContext, by: &Identity, user: &UserName| {
        is_send(accounts.login(call, "ada", "x".into()));
        is_send(accounts.logout(call, by));
        is_send(accounts.register(call, draft("ada")));
        is_send(accounts.create_user(call, by, draft("ada"), Role::User));
        is_send(accounts.change_password(call, by, "x".into(), "y".into()));
        is_send(accounts.set_password(call, by, user, "x".into()));
        is_send(accounts.let_in(call, by, user));
        is_send(accounts.lock(call, by, user));
        is_send(accounts.let_in(call, by, user));
        is_send(accounts.set_role(call, by, user, Role::User));
        is_send(accounts.set_limits(call, by, user, cloudai_model::UserLimits::default()));
        is_send(accounts.delete_user(call, by, user));
        is_send(accounts.delete_key(call, by, "x"));
        is_send(accounts.rotate_token_key(call, by, false));
        is_send(accounts.audit_page(by, crate::AuditQuery::default()));
        is_send(accounts.tend(call.now));
    };
}
