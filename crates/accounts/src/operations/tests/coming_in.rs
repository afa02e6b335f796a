//! First start, registration, login, logout, passwords.

use cloudai_model::AccountState;

use super::*;
use crate::{
    AccountStore as _, AuthenticateError, FirstAdmin, LoginError, LogoutError, OpenError,
    PasswordError, RegisterError, TokenError,
};

#[tokio::test]
async fn a_first_start_makes_admin_with_a_password_that_is_said_once() {
    let store = Arc::new(MemoryAccounts::new());
    let folder = tempfile::tempdir().unwrap();
    let settings = AccountSettings {
        first_password: None,
        ..settings()
    };
    // Given a process that is ended when it has shown the password,
    let shown = std::sync::Mutex::new(Vec::new());
    let show = |first: FirstAdmin| {
        assert_eq!(first.user, name("admin"));
        shown.lock().unwrap().push(first.password);
    };
    let open = |settings: AccountSettings| (store.clone(), folder.path(), None, settings, now(0));
    let (kept, path, secret, with, at) = open(settings.clone());
    let ended = Accounts::open(kept, path, secret, with, at, |first| {
        show(first);
        std::future::pending()
    });
    let ended = tokio::time::timeout(Duration::from_secs(1), ended).await;
    assert!(ended.is_err());
    assert!(store.load().await.unwrap().users.is_empty());
    // then the next start shows another one, and that one counts.
    let (kept, path, secret, with, at) = open(settings.clone());
    let opened = Accounts::open(kept, path, secret, with, at, |first| async { show(first) });
    let accounts = opened.await.unwrap();
    let password = shown.lock().unwrap().pop().unwrap();
    assert_eq!(shown.lock().unwrap().len(), 1);
    assert_eq!(password.expose().len(), 35);
    let session = accounts
        .login(&call(0), "admin", password.clone())
        .await
        .unwrap();
    assert_eq!(session.user.role, Role::Admin);
    // It is written down that, and not with what.
    let audit = format!("{:?}", store.whole_audit());
    assert!(
        audit.contains("auth.first-start") && !audit.contains(password.expose()),
        "{audit}"
    );

    // A second start makes nobody, whatever the settings say now.
    let settings = AccountSettings {
        first_password: Some("another password".into()),
        ..settings
    };
    let path = folder.path();
    let again = Accounts::open(store.clone(), path, None, settings, now(0), |first| async {
        show(first);
    });
    let again = again.await.unwrap();
    assert_eq!(shown.lock().unwrap().len(), 1);
    assert!(again.login(&call(0), "admin", password).await.is_ok());
}

#[tokio::test]
async fn a_first_password_of_the_settings_is_taken_if_it_will_do() {
    let cluster = Cluster::new().await;
    assert_eq!(cluster.login("admin").await.user.user, name("admin"));

    let folder = tempfile::tempdir().unwrap();
    let short = AccountSettings {
        first_password: Some("short".into()),
        ..settings()
    };
    let store = Arc::new(MemoryAccounts::new());
    let error = Accounts::open(store, folder.path(), None, short, now(0), |_| async {})
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::FirstPassword { .. }));
    assert!(error.to_string().contains("at least 8") && !error.to_string().contains("short\""));
}

#[tokio::test]
async fn registration_is_as_the_settings_say() {
    let with = |registration| {
        Cluster::with(AccountSettings {
            registration,
            ..settings()
        })
    };

    let closed = with(Registration::Closed).await;
    let error = closed
        .accounts
        .register(&call(0), draft("ada"))
        .await
        .unwrap_err();
    assert!(matches!(error, RegisterError::Closed));

    let open = with(Registration::Open).await;
    let user = open
        .accounts
        .register(&call(0), draft("ada"))
        .await
        .unwrap();
    assert_eq!((user.role, user.state), (Role::User, AccountState::Active));
    open.login("ada").await;

    let approval = with(Registration::Approval).await;
    let user = approval
        .accounts
        .register(&call(0), draft("ada"))
        .await
        .unwrap();
    assert_eq!(user.state, AccountState::AwaitsApproval);
    let context = call(0);
    let login = || {
        let password = "password of ada".into();
        approval.accounts.login(&context, "ada", password)
    };
    assert!(matches!(login().await, Err(LoginError::AwaitsApproval)));
    let wrong = approval
        .accounts
        .login(&call(0), "ada", "another".into())
        .await;
    assert!(
        matches!(wrong, Err(LoginError::Wrong)),
        "only who knows the password is told"
    );
    let admin = approval.admin().await;
    approval
        .accounts
        .let_in(&call(0), &admin, &name("ada"))
        .await
        .unwrap();
    assert!(login().await.is_ok());
}

#[tokio::test]
async fn a_name_is_given_away_once_and_that_of_admin_never() {
    let cluster = Cluster::new().await;
    cluster.user("Ada").await;
    for taken in ["Ada", "ada", "ADA", "admin", "Admin"] {
        let error = cluster
            .accounts
            .register(&call(0), draft(taken))
            .await
            .unwrap_err();
        assert!(
            matches!(error, RegisterError::Taken { .. }),
            "{taken}: {error}"
        );
    }
    let bad = UserDraft {
        username: "no name".into(),
        password: "short".into(),
        ..draft("x")
    };
    let Err(RegisterError::Invalid(errors)) = cluster.accounts.register(&call(0), bad).await else {
        panic!("it was taken");
    };
    let fields: Vec<_> = errors.0.iter().map(|error| error.field).collect();
    assert_eq!(fields, ["username", "password"]);
}

#[tokio::test]
async fn of_many_who_want_a_name_at_once_one_gets_it() {
    let cluster = Cluster::new().await;
    let tries: Vec<_> = (0..16)
        .map(|_| {
            let accounts = cluster.accounts.clone();
            tokio::spawn(async move { accounts.register(&call(0), draft("ada")).await.is_ok() })
        })
        .collect();
    let mut made = 0;
    for one in tries {
        made += usize::from(one.await.unwrap());
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn a_registration_too_many_from_one_place_waits_and_a_cluster_has_its_most_users() {
    let cluster = Cluster::with(AccountSettings {
        most_users: 30,
        ..settings()
    })
    .await;
    let mut refused = None;
    for number in 0..25 {
        let made = cluster
            .accounts
            .register(&call(0), draft(&format!("u{number}")))
            .await;
        if let Err(error) = made {
            refused.get_or_insert((number, error));
        }
    }
    let (number, error) = refused.unwrap();
    assert_eq!(number, 21);
    assert!(matches!(error, RegisterError::Throttled { .. }), "{error}");
    let mut refused = None;
    for number in 30..50 {
        let elsewhere = call_from("192.0.2.2", 0);
        let made = cluster
            .accounts
            .register(&elsewhere, draft(&format!("u{number}")))
            .await;
        if let Err(error) = made {
            refused.get_or_insert((number, error));
        }
    }
    // 21 users and admin leave room for eight.
    let (number, error) = refused.unwrap();
    assert_eq!(number, 38);
    assert!(
        matches!(error, RegisterError::TooMany { most: 30 }),
        "{error}"
    );
    // Strangers who use it up keep no admin from making users.
    let made = cluster
        .accounts
        .create_user(&call(1), &Identity::local(), draft("ada"), Role::User)
        .await;
    made.unwrap();
}

#[tokio::test]
async fn a_login_gives_a_token_and_a_logout_ends_that_one_alone() {
    let cluster = Cluster::new().await;
    let (one, identity) = cluster.user("ada").await;
    let other = cluster.login("ada").await;
    assert_ne!(one.token, other.token);
    assert_eq!(one.expires_at, now(12 * 3600).wall);

    cluster.accounts.logout(&call(1), &identity).await.unwrap();
    let shown = Credential::bearer(one.token.expose());
    let error = cluster
        .accounts
        .authenticate(shown, now(1).wall)
        .unwrap_err();
    assert_eq!(error, AuthenticateError::LoggedOut);
    assert!(cluster.accounts.recheck(&identity, now(1).wall).is_err());
    assert!(cluster.is_in(&other));

    // Also after a restart.
    let cluster = cluster.restarted().await;
    assert!(!cluster.is_in(&one) && cluster.is_in(&other));
    let local = cluster.accounts.logout(&call(1), &Identity::local()).await;
    assert!(matches!(local, Err(LogoutError::NotLoggedIn)));
}

#[tokio::test]
async fn who_logs_out_in_a_loop_is_not_remembered_without_bound() {
    let cluster = Cluster::new().await;
    let (kept, identity) = cluster.user("ada").await;
    for number in 0..1000 {
        let mut one = identity.clone();
        if let crate::How::Token { id, .. } = &mut one.how {
            *id = number.to_string();
        }
        cluster.accounts.logout(&call(1), &one).await.unwrap();
    }
    assert!(cluster.is_in(&kept));
    let mut last = identity.clone();
    if let crate::How::Token { id, .. } = &mut last.how {
        *id = "last".into();
    }
    cluster.accounts.logout(&call(1), &last).await.unwrap();
    assert!(!cluster.is_in(&kept), "all end, which takes one number");
    assert!(cluster.is_in(&cluster.login("ada").await));
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_are_answered_alike_and_no_secret_is_written_down() {
    let cluster = Cluster::new().await;
    cluster.user("ada").await;
    for (user, password) in [
        ("ada", "hunter2-hunter2"),
        ("nobody", "hunter2-hunter2"),
        ("hunter2 in the wrong field", "x"),
        ("ada", ""),
        ("", ""),
    ] {
        let error = cluster
            .accounts
            .login(&call(0), user, password.into())
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the user name or the password is wrong",
            "{user}"
        );
    }
    let audit = format!("{:?}", cluster.store.whole_audit());
    assert!(!audit.contains("hunter2"), "{audit}");
    let lines = cluster.audit_lines();
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| line.ends_with("refused"))
        .collect();
    let (ada, unknown) = ("auth.login ada refused", "auth.login (unknown) refused");
    assert_eq!(refused, [ada, unknown, unknown, ada, unknown]);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_the_answer_says_for_how_long() {
    let cluster = Cluster::new().await;
    cluster.user("ada").await;
    let login = |from, password: &'static str, seconds| {
        let accounts = cluster.accounts.clone();
        async move {
            accounts
                .login(&call_from(from, seconds), "ada", password.into())
                .await
        }
    };
    for _ in 0..6 {
        let error = login("192.0.2.9", "guess", 0).await.unwrap_err();
        assert!(matches!(error, LoginError::Wrong));
    }
    let error = login("192.0.2.9", "password of ada", 0).await.unwrap_err();
    let pause =
        matches!(error, LoginError::Throttled { retry_after } if retry_after.as_secs() == 1);
    assert!(pause, "{error}");
    // The audit says so, too.
    assert!(cluster.last_audit().detail.starts_with("too many wrong"));
    assert!(
        login("192.0.2.1", "password of ada", 0).await.is_ok(),
        "from where she always does"
    );
    assert!(login("192.0.2.9", "password of ada", 1).await.is_ok());
}

#[tokio::test]
async fn a_changed_password_ends_all_tokens_and_gives_a_new_one() {
    let cluster = Cluster::new().await;
    let (one, identity) = cluster.user("ada").await;
    let other = cluster.login("ada").await;
    let change = |current: &'static str, new: &'static str| {
        let (accounts, identity) = (cluster.accounts.clone(), identity.clone());
        async move {
            accounts
                .change_password(&call(1), &identity, current.into(), new.into())
                .await
        }
    };

    let wrong = change("not hers", "an entirely new one").await;
    assert!(matches!(wrong, Err(PasswordError::Wrong)));
    let Err(PasswordError::Invalid(errors)) = change("password of ada", "short").await else {
        panic!("it was taken");
    };
    assert_eq!(errors.0[0].field, "new_password");
    assert!(cluster.is_in(&one) && cluster.is_in(&other));

    let session = change("password of ada", "an entirely new one")
        .await
        .unwrap();
    assert!(cluster.is_in(&session) && !cluster.is_in(&one) && !cluster.is_in(&other));
    let cluster = cluster.restarted().await;
    assert!(cluster.is_in(&session) && !cluster.is_in(&one));
    let old = cluster
        .accounts
        .login(&call(1), "ada", "password of ada".into())
        .await;
    assert!(matches!(old, Err(LoginError::Wrong)));
    let audit = format!("{:?}", cluster.store.whole_audit());
    assert!(!audit.contains("entirely"), "{audit}");
}

#[tokio::test]
async fn a_stolen_token_does_not_help_to_guess_the_password() {
    let cluster = Cluster::new().await;
    let (_, identity) = cluster.user("ada").await;
    let mut throttled = 0;
    for _ in 0..20 {
        let (from, new) = (call_from("192.0.2.66", 1), "an entirely new one".into());
        let change = cluster
            .accounts
            .change_password(&from, &identity, "a guess".into(), new);
        throttled += u32::from(matches!(change.await, Err(PasswordError::Throttled { .. })));
    }
    assert_eq!(throttled, 14);
}

#[tokio::test]
async fn a_hash_that_has_become_cheap_is_replaced_at_the_next_login() {
    let cluster = Cluster::new().await;
    let (session, _) = cluster.user("ada").await;
    let hash = || async {
        use crate::AccountStore as _;
        let users = cluster.store.load().await.unwrap().users;
        users
            .into_iter()
            .find(|user| user.user == name("ada"))
            .unwrap()
            .password_hash
    };
    let cheap = hash().await;
    assert!(cheap.contains("$m=8,"), "{cheap}");
    let dearer = AccountSettings {
        cost: PasswordCost::OWASP,
        ..settings()
    };
    let accounts = open(&cluster.store, cluster.folder.path(), dearer).await;
    let wrong = accounts.login(&call(0), "ada", "wrong".into()).await;
    assert!(wrong.is_err());
    assert_eq!(hash().await, cheap);
    // Of three who log in at once each comes in, also behind the one whose hash was replaced first.
    let at = call(0);
    let login = || accounts.login(&at, "ada", "password of ada".into());
    let (one, two, three) = tokio::join!(login(), login(), login());
    for session in [one, two, three] {
        session.unwrap();
    }
    let dear = hash().await;
    assert!(dear.contains("$m=19456,t=2,p=1$"), "{dear}");
    // It is the same password: nobody is thrown out.
    let shown = Credential::Token(session.token.expose());
    assert!(accounts.authenticate(shown, now(1).wall).is_ok());
    accounts
        .login(&call(0), "ada", "password of ada".into())
        .await
        .unwrap();
    assert_eq!(hash().await, dear);
}

#[tokio::test]
async fn tokens_of_who_is_removed_locked_or_made_anew_count_no_more() {
    let cluster = Cluster::new().await;
    let admin = cluster.admin().await;
    let (session, _) = cluster.user("ada").await;
    let shown = || {
        let shown = Credential::Token(session.token.expose());
        cluster
            .accounts
            .authenticate(shown, now(1).wall)
            .map(|_| ())
    };
    let ada = name("ada");

    cluster.accounts.lock(&call(1), &admin, &ada).await.unwrap();
    assert!(shown().is_err());
    let login = cluster
        .accounts
        .login(&call(1), "ada", "password of ada".into())
        .await;
    assert!(matches!(login, Err(LoginError::Locked)));
    cluster
        .accounts
        .let_in(&call(1), &admin, &ada)
        .await
        .unwrap();
    assert_eq!(
        shown(),
        Err(AuthenticateError::Ended),
        "it doesn't come back"
    );

    let second = cluster.login("ada").await;
    cluster
        .accounts
        .delete_user(&call(1), &admin, &ada)
        .await
        .unwrap();
    assert_eq!(shown(), Err(AuthenticateError::NoUser));
    cluster
        .accounts
        .register(&call(1), draft("ada"))
        .await
        .unwrap();
    assert_eq!(
        shown(),
        Err(AuthenticateError::Ended),
        "it is somebody else"
    );
    assert!(!cluster.is_in(&second));
}

#[tokio::test]
async fn a_token_ends_at_its_time_and_with_its_cluster() {
    let cluster = Cluster::new().await;
    let (session, identity) = cluster.user("ada").await;
    let shown = Credential::Token(session.token.expose());
    let error = cluster
        .accounts
        .authenticate(shown, session.expires_at)
        .unwrap_err();
    assert_eq!(error, AuthenticateError::Token(TokenError::Expired));
    let error = cluster
        .accounts
        .recheck(&identity, session.expires_at)
        .unwrap_err();
    assert_eq!(error, AuthenticateError::Token(TokenError::Expired));
    let other = AccountSettings {
        issuer: "c-other".into(),
        ..settings()
    };
    let other = open(&cluster.store, cluster.folder.path(), other).await;
    let error = other.authenticate(shown, now(1).wall).unwrap_err();
    assert_eq!(error, AuthenticateError::Token(TokenError::Issuer));
}

#[tokio::test]
async fn as_much_is_computed_for_nobody_as_for_somebody() {
    let cluster = Cluster::with(AccountSettings {
        registration: Registration::Approval,
        ..settings()
    })
    .await;
    cluster
        .accounts
        .register(&call(0), draft("ada"))
        .await
        .unwrap();
    let admin = cluster.admin().await;
    cluster
        .accounts
        .register(&call(0), draft("bob"))
        .await
        .unwrap();
    cluster
        .accounts
        .lock(&call(0), &admin, &name("bob"))
        .await
        .unwrap();
    let longest = "x".repeat(1024);
    let too_long = format!("{longest}x");
    for (user, password, hashes) in [
        ("admin", "wrong", 1),
        ("ada", "wrong", 1),
        ("bob", "wrong", 1),
        ("bob", "password of bob", 1),
        ("nobody", "wrong", 1),
        ("no name at all", "wrong", 1),
        ("nobody", longest.as_str(), 1),
        ("admin", longest.as_str(), 1),
        // Nobody has one of that length: nothing is computed for anybody.
        ("nobody", too_long.as_str(), 0),
        ("admin", too_long.as_str(), 0),
    ] {
        let before = cluster.accounts.0.hasher.computed();
        let login = cluster
            .accounts
            .login(&call(0), user, password.into())
            .await;
        assert!(login.is_err(), "{user}");
        assert_eq!(
            cluster.accounts.0.hasher.computed() - before,
            hashes,
            "{user}"
        );
    }
}
