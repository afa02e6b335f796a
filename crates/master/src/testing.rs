//! A whole master for the tests of this crate: on loopback, with everything in memory.

use std::{collections::BTreeMap, ffi::OsString};

use cloudai_accounts::{Accounts, CallContext, Identity, Peer, Secret, UserDraft};
use cloudai_config::Surroundings;
use cloudai_model::Role;

use crate::{
    settings::Settings,
    startup::{self, Running},
};

/// See the module.
pub(crate) struct Site {
    pub(crate) running: Running,
    pub(crate) accounts: Accounts,
    _folder: tempfile::TempDir,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args = [
            "master-node",
            "-headless",
            "-store",
            "memory",
            "-grpc",
            "127.0.0.1:0",
            "-http",
            "127.0.0.1:0",
            "-data-dir",
        ];
        let mut args: Vec<OsString> = args.map(OsString::from).to_vec();
        args.push(folder.path().into());
        let password = ("CLOUDAI_ADMIN_PASSWORD".into(), "password of admin".into());
        let settings = Settings::load(&Surroundings {
            args,
            env: BTreeMap::from([password]),
            directory: folder.path().to_owned(),
        });
        let settings = settings.unwrap();
        let store = startup::open_store(&settings).await.unwrap();
        let mut running = startup::start(&settings, store).await.unwrap();
        running.ready().await.unwrap();
        let mut opened = running.admission.accounts.clone();
        let opened = opened.wait_for(Option::is_some).await.unwrap().clone();
        Self {
            running,
            accounts: opened.unwrap(),
            _folder: folder,
        }
    }

    /// Where gRPC is served.
    pub(crate) fn grpc(&self) -> String {
        let mut services = self.running.master.services.iter();
        let grpc = services.find(|(name, _)| name == "gRPC").unwrap();
        format!("http://{}", grpc.1)
    }

    /// A token of a user who is made for it.
    pub(crate) async fn user(&self, user: &str) -> Secret {
        let password = format!("password of {user}");
        let draft = UserDraft {
            username: user.to_owned(),
            password: password.as_str().into(),
            name: None,
            email: None,
        };
        self.accounts
            .create_user(&call(), &Identity::local(), draft, Role::User)
            .await
            .unwrap();
        self.login(user).await
    }

    pub(crate) async fn login(&self, user: &str) -> Secret {
        let password = Secret::new(format!("password of {user}"));
        let session = self.accounts.login(&call(), user, password).await;
        session.unwrap().token
    }

    pub(crate) async fn end(self) {
        self.running.shut_down().await;
    }
}

/// A call of the console.
pub(crate) fn call() -> CallContext {
    CallContext {
        now: cloudai_clock::now(),
        from: Peer::Console,
        request: String::new(),
    }
}
