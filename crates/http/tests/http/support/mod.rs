//! A server on a port of its own, over a fake master and real accounts.

pub(crate) mod client;
pub(crate) mod master;

use std::{net::SocketAddr, sync::Arc};

use cloudai_accounts::{
    AccountSettings, Accounts, CallContext, Identity, KeyDraft, PasswordCost, Peer, Registration,
    UserDraft, fakes::MemoryAccounts,
};
use cloudai_http::{Context, Settings, Tls, router, serve};
use cloudai_model::{KeyScope, Role};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use self::{
    client::{Ask, Reply},
    master::{FakeMaster, NOW},
};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// See the module.
pub(crate) struct Site {
    pub(crate) at: SocketAddr,
    pub(crate) master: Arc<FakeMaster>,
    pub(crate) accounts: Accounts,
    pub(crate) audit: Arc<MemoryAccounts>,
    pub(crate) folder: tempfile::TempDir,
    closing: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// With the settings of a test.
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    pub(crate) registration: Registration,
    pub(crate) tls: Option<Tls>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            registration: Registration::Open,
            tls: None,
        }
    }
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let master = Arc::new(FakeMaster::in_folder(folder.path()));
        let audit = Arc::new(MemoryAccounts::new());
        let settings = AccountSettings {
            registration: setup.registration,
            first_password: Some(PASSWORD.into()),
            cost: PasswordCost::for_tests(),
            ..AccountSettings::new("c-1")
        };
        let path = folder.path();
        let opened = Accounts::open(audit.clone(), path, None, settings, NOW, |_| async {});
        let accounts = opened.await.unwrap();
        for user in ["alice", "bob"] {
            let draft = UserDraft {
                username: user.to_owned(),
                password: PASSWORD.into(),
                name: None,
                email: None,
            };
            let (call, local) = (console(), Identity::local());
            let made = accounts.create_user(&call, &local, draft, Role::User);
            made.await.unwrap();
        }
        let (closing, closed) = watch::channel(false);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let settings = setup.settings;
        let context = Context::new(
            master.clone(),
            watch::channel(Some(accounts.clone())).1,
            settings.clone(),
            closed.clone(),
        );
        let router = router(context);
        let tls = setup.tls;
        let serving =
            tokio::spawn(async move { serve(listener, router, tls, &settings, closed).await });
        Self {
            at,
            master,
            accounts,
            audit,
            folder,
            closing,
            serving,
        }
    }

    pub(crate) async fn send(&self, ask: Ask) -> Reply {
        ask.send(self.at).await
    }

    /// Asks until there is a place to be answered at: who makes room takes a moment to go.
    pub(crate) async fn served(&self) {
        let ask = client::get("/health").bytes();
        let served = async {
            while !client::answered(self.at, &ask)
                .await
                .starts_with(b"HTTP/1.1 200")
            {
                tokio::task::yield_now().await;
            }
        };
        let served = tokio::time::timeout(client::PATIENCE, served).await;
        served.expect("a place in time");
    }

    /// Waits until so many requests are under way.
    pub(crate) async fn under_way(&self, requests: usize) {
        let gauge = format!("\ncloudai_http_requests_in_flight {requests}\n");
        let counted = async {
            while !self.master.counted_text().contains(&gauge) {
                tokio::task::yield_now().await;
            }
        };
        let counted = tokio::time::timeout(client::PATIENCE, counted).await;
        counted.unwrap_or_else(|_| panic!("expected {requests} requests under way"));
    }

    /// The token of a login.
    pub(crate) async fn token(&self, user: &str) -> String {
        let session = self.accounts.login(&console(), user, PASSWORD.into()).await;
        session.unwrap().token.expose().to_owned()
    }

    /// A key of a user.
    pub(crate) async fn key(&self, user: &str, scope: KeyScope) -> String {
        let session = self.accounts.login(&console(), user, PASSWORD.into()).await;
        let token = session.unwrap().token;
        let credential = cloudai_accounts::Credential::bearer(token.expose());
        let who = self.accounts.authenticate(credential, NOW.wall).unwrap();
        let draft = KeyDraft {
            name: "for a test".to_owned(),
            scope,
            expires_at: None,
        };
        let made = self.accounts.create_key(&console(), &who, draft).await;
        made.unwrap().1.expose().to_owned()
    }

    /// Says that the server ends; what is under way goes on to its end.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Waits until it has.
    pub(crate) async fn closed(self) {
        self.close();
        tokio::time::timeout(client::PATIENCE, self.serving)
            .await
            .unwrap()
            .unwrap();
    }

    /// What was written down, as actions and whether they were done.
    pub(crate) fn done(&self) -> Vec<(String, String, bool)> {
        let records = self.audit.whole_audit().into_iter();
        records.map(|it| (it.action, it.target, it.done)).collect()
    }
}

pub(crate) fn console() -> CallContext {
    CallContext {
        now: NOW,
        from: Peer::Console,
        request: String::new(),
    }
}
