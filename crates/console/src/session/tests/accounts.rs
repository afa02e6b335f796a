//! Users at the console, over accounts in memory.

use cloudai_accounts::{
    AccountSettings, Accounts, CallContext, Identity, PasswordCost, Peer, Secret, UserChange,
    UserDraft, fakes::MemoryAccounts,
};
use cloudai_model::{AccountState, Role};
use tokio::sync::watch;

use super::*;

struct WithUsers {
    stage: Stage,
    accounts: Accounts,
    _folder: tempfile::TempDir,
}

fn call() -> CallContext {
    CallContext {
        now: NOW,
        from: Peer::Console,
        request: String::new(),
    }
}

/// `admin`, and `ada`, who is none.
async fn with_users() -> WithUsers {
    let folder = tempfile::tempdir().unwrap();
    let settings = AccountSettings {
        cost: PasswordCost::for_tests(),
        first_password: Some("password of admin".into()),
        ..AccountSettings::new("c-test")
    };
    let store = Arc::new(MemoryAccounts::new());
    let path = folder.path();
    let opened = Accounts::open(store, path, None, settings, NOW, |_| async {});
    let accounts = opened.await.unwrap();
    let draft = UserDraft {
        username: "ada".to_owned(),
        password: "password of ada".into(),
        name: Some("Ada Lovelace".to_owned()),
        email: None,
    };
    accounts
        .create_user(&call(), &Identity::local(), draft, Role::User)
        .await
        .unwrap();
    let mut stage = stage();
    let (_, opened) = watch::channel(Some(accounts.clone()));
    stage.session = stage.session.with_accounts(opened);
    WithUsers {
        stage,
        accounts,
        _folder: folder,
    }
}

impl WithUsers {
    /// What the line is answered with.
    async fn run(&mut self, line: &str) -> String {
        let seen = self.stage.screen.text().len();
        self.stage.session.run(line).await;
        self.stage.screen.text().split_off(seen)
    }

    async fn lets_in(&self, user: &str, password: &str) -> bool {
        let password = Secret::new(password.to_owned());
        self.accounts.login(&call(), user, password).await.is_ok()
    }
}

#[tokio::test]
async fn a_lost_password_is_replaced_by_one_that_is_said_once() {
    let mut users = with_users().await;
    let said = users.run("reset-password admin").await;
    let password = said.strip_prefix("✓ The password of admin is ").unwrap();
    let (password, rest) = password.split_once(' ').unwrap();
    assert_eq!(
        rest,
        "from now on (shown this once)\n   \
         Note: all logins of that user have ended; keys go on\n"
    );
    assert!(password.len() >= 30, "{password}");
    assert!(users.lets_in("admin", password).await);
    assert!(!users.lets_in("admin", "password of admin").await);
    // Another one is another one, and nobody else's has changed.
    assert!(!users.run("reset-password admin").await.contains(password));
    assert!(users.lets_in("ada", "password of ada").await);
}

#[tokio::test]
async fn whoever_is_locked_stays_so_and_nobody_is_said_to_be_nobody() {
    let mut users = with_users().await;
    let ada = "ada".parse().unwrap();
    let locked = UserChange {
        state: Some(AccountState::Locked),
        ..UserChange::default()
    };
    users
        .accounts
        .change_user(&call(), &Identity::local(), &ada, locked)
        .await
        .unwrap();
    let said = users.run("reset-password ada").await;
    assert!(
        said.ends_with("   Note: the account is locked, and stays so\n"),
        "{said}"
    );
    assert_eq!(
        users.run("reset-password bob").await,
        "❌ Failed to reset the password: there is no user bob: `users` shows those that are\n"
    );
    assert_eq!(users.stage.session.failures(), 1);
}

#[tokio::test]
async fn users_are_listed_and_given_roles() {
    let mut users = with_users().await;
    assert_eq!(
        users.run("users").await,
        "USER   ROLE   STATE   AGE  NAME          EMAIL\n\
         ada    user   active  0s   Ada Lovelace\n\
         admin  admin  active  0s\n"
    );
    assert!(
        users
            .run("users -limit 1")
            .await
            .ends_with("Note: the first 1 by name; -limit n shows more\n")
    );
    let last = users.run("set-role admin user").await;
    assert!(last.contains("admin is the last active admin"), "{last}");
    assert_eq!(
        users.run("set-role ada admin").await,
        "✓ The role of ada is admin from the next request on\n"
    );
    let json = users.run("users --json").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json[0]["username"], &json[0]["role"]),
        (&"ada".into(), &"admin".into())
    );
    assert_eq!(
        json[0].as_object().unwrap().len(),
        8,
        "no hash among it: {json}"
    );
}

#[tokio::test]
async fn before_accounts_are_open_that_is_said() {
    let (said, failures) = answer("users").await;
    assert!(
        said.starts_with("❌ nothing is known of users before"),
        "{said}"
    );
    assert_eq!(failures, 1);
}
