//! What admins do with users, and who may not.

use cloudai_model::{AccountState, KeyScope, UserLimits};

use super::*;
use crate::{
    AuditError, AuditQuery, ChangeUserError, Forbidden, KeyDraft, PasswordError, RegisterError,
    UserChange, UserError,
};

#[tokio::test]
async fn users_may_nothing_of_all_this_and_each_try_is_written_down() {
    let cluster = Cluster::new().await;
    cluster.user("bob").await;
    let (_, ada) = cluster.user("ada").await;
    let (accounts, bob, call) = (&cluster.accounts, name("bob"), call(1));
    let needs = Forbidden::Role { needs: Role::Admin };
    let refused = |result: Result<(), UserError>| match result {
        Err(UserError::Forbidden(forbidden)) => assert_eq!(forbidden, needs),
        other => panic!("{other:?}"),
    };

    refused(accounts.lock(&call, &ada, &bob).await.map(|_| ()));
    refused(accounts.let_in(&call, &ada, &bob).await.map(|_| ()));
    refused(
        accounts
            .set_role(&call, &ada, &ada.user, Role::Admin)
            .await
            .map(|_| ()),
    );
    let limits = UserLimits::default();
    refused(
        accounts
            .set_limits(&call, &ada, &ada.user, limits)
            .await
            .map(|_| ()),
    );
    refused(accounts.delete_user(&call, &ada, &bob).await);
    refused(accounts.user(&ada, &bob).map(|_| ()));
    // Whether somebody is there isn't told either.
    refused(accounts.user(&ada, &name("nobody")).map(|_| ()));
    refused(accounts.users(&ada, None, 10).map(|_| ()));
    assert!(
        accounts
            .set_password(&call, &ada, &bob, "an entirely new one".into())
            .await
            .is_err()
    );
    assert!(accounts.keys(&ada, &bob).is_err());
    assert!(accounts.rotate_token_key(&call, &ada, true).await.is_err());
    let made = accounts
        .create_user(&call, &ada, draft("cyd"), Role::Admin)
        .await;
    assert!(matches!(made, Err(RegisterError::Forbidden(_))));
    let page = accounts
        .audit_page(
            &ada,
            AuditQuery {
                limit: 10,
                ..AuditQuery::default()
            },
        )
        .await;
    assert!(matches!(page, Err(AuditError::Forbidden(_))));

    let lines = cluster.audit_lines();
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| line.ends_with("refused"))
        .collect();
    assert_eq!(
        refused,
        [
            "user.lock bob refused",
            "user.unlock bob refused",
            "user.role ada refused",
            "user.limits ada refused",
            "user.delete bob refused",
            "user.password bob refused",
            "token-key.rotate  refused",
            "user.create cyd refused",
        ]
    );
    // What is wrong with a draft is in the audit by its field alone: a password may stand in the wrong one.
    let bad = UserDraft {
        username: "hunter2 hunter2".into(),
        password: "short".into(),
        ..draft("x")
    };
    assert!(
        accounts
            .create_user(&call, &Identity::local(), bad, Role::User)
            .await
            .is_err()
    );
    let key = "cak_0000000000000000_hunter2";
    assert!(accounts.delete_key(&call, &ada, key).await.is_err());
    let [.., draft, key] = &cluster.store.whole_audit()[..] else {
        panic!("it is empty");
    };
    let shown = |record: &AuditRecord| format!("{}: {}", record.target, record.detail);
    assert_eq!(shown(draft), "(no name): invalid: username, password");
    assert_eq!(shown(key), "(no id): there is no key of this id");
    // She sees herself.
    assert_eq!(accounts.user(&ada, &name("ada")).unwrap().user, name("ada"));
    assert_eq!(accounts.me(&ada).unwrap().role, Role::User);
}

#[tokio::test]
async fn the_last_active_admin_stays() {
    let cluster = Cluster::new().await;
    let (accounts, admin) = (&cluster.accounts, cluster.admin().await);
    cluster.user("ada").await;
    let (me, ada) = (name("admin"), name("ada"));
    let last = |result: Result<(), UserError>| {
        assert!(
            matches!(result, Err(UserError::LastAdmin { .. })),
            "{result:?}"
        );
    };
    last(accounts.lock(&call(1), &admin, &me).await.map(|_| ()));
    last(
        accounts
            .set_role(&call(1), &admin, &me, Role::User)
            .await
            .map(|_| ()),
    );
    last(accounts.delete_user(&call(1), &admin, &me).await);
    // An admin who is locked is no other one.
    accounts
        .set_role(&call(1), &admin, &ada, Role::Admin)
        .await
        .unwrap();
    accounts.lock(&call(1), &admin, &ada).await.unwrap();
    last(accounts.delete_user(&call(1), &admin, &me).await);
    accounts.let_in(&call(1), &admin, &ada).await.unwrap();
    accounts.delete_user(&call(1), &admin, &me).await.unwrap();
    let ada = cluster.identity(&cluster.login("ada").await);
    last(accounts.delete_user(&call(1), &ada, &name("ada")).await);
}

#[tokio::test]
async fn of_two_admins_who_remove_each_other_at_once_one_stays() {
    for _ in 0..20 {
        let cluster = Cluster::new().await;
        let admin = cluster.admin().await;
        let made = cluster
            .accounts
            .create_user(&call(0), &admin, draft("ada"), Role::Admin)
            .await;
        made.unwrap();
        let ada = cluster.identity(&cluster.login("ada").await);
        let (other, me) = (name("ada"), name("admin"));
        let context = call(1);
        let (one, two) = tokio::join!(
            cluster.accounts.delete_user(&context, &admin, &other),
            cluster.accounts.delete_user(&context, &ada, &me),
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
}

#[tokio::test]
async fn a_role_counts_from_the_next_request_on() {
    let cluster = Cluster::new().await;
    let admin = cluster.admin().await;
    let (session, before) = cluster.user("ada").await;
    let ada = name("ada");
    cluster
        .accounts
        .set_role(&call(1), &admin, &ada, Role::Admin)
        .await
        .unwrap();
    assert_eq!(cluster.identity(&session).role, Role::Admin);
    assert_eq!(
        cluster.accounts.recheck(&before, now(1).wall).unwrap().role,
        Role::Admin
    );
    assert_eq!(cluster.last_audit().detail, "from user to admin");
    cluster
        .accounts
        .set_role(&call(1), &admin, &ada, Role::User)
        .await
        .unwrap();
    assert_eq!(cluster.identity(&session).role, Role::User);
}

#[tokio::test]
async fn states_lead_where_they_should() {
    let approval = AccountSettings {
        registration: Registration::Approval,
        ..settings()
    };
    let cluster = Cluster::with(approval).await;
    let (accounts, admin) = (&cluster.accounts, cluster.admin().await);
    accounts.register(&call(0), draft("ada")).await.unwrap();
    let ada = name("ada");
    let state = |result: Result<crate::User, UserError>| match result {
        Ok(user) => user.state,
        Err(UserError::State { expected, .. }) => panic!("expected {expected}"),
        Err(error) => panic!("{error}"),
    };
    // Who awaits approval may be kept out at once, and that twice is as good as once.
    for _ in 0..2 {
        assert_eq!(
            state(accounts.lock(&call(1), &admin, &ada).await),
            AccountState::Locked
        );
    }
    // The way back is in; nobody is sent back to await approval.
    assert_eq!(
        state(accounts.let_in(&call(1), &admin, &ada).await),
        AccountState::Active
    );
    let awaits = AccountState::AwaitsApproval;
    assert!(matches!(
        accounts.in_state(&call(1), &admin, &ada, awaits).await,
        Err(UserError::State {
            expected: AccountState::AwaitsApproval,
            ..
        })
    ));
    assert!(matches!(
        accounts.lock(&call(1), &admin, &name("nobody")).await,
        Err(UserError::NoSuchUser { .. })
    ));
}

#[tokio::test]
async fn a_set_password_ends_the_tokens_of_whoever_had_the_old_one() {
    let cluster = Cluster::new().await;
    let admin = cluster.admin().await;
    let (session, _) = cluster.user("ada").await;
    let new = || Secret::from("an entirely new one");
    cluster
        .accounts
        .set_password(&call(1), &admin, &name("ada"), new())
        .await
        .unwrap();
    assert!(!cluster.is_in(&session));
    assert!(cluster.accounts.login(&call(1), "ada", new()).await.is_ok());
    // The console can do it too, for an admin who has forgotten theirs.
    let local = Identity::local();
    cluster
        .accounts
        .set_password(&call(1), &local, &name("admin"), new())
        .await
        .unwrap();
    assert!(
        cluster
            .accounts
            .login(&call(1), "admin", new())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn users_are_listed_by_name_and_page_with_nothing_secret() {
    let cluster = Cluster::new().await;
    let admin = cluster.admin().await;
    for user in ["dan", "bob", "cyd"] {
        cluster.user(user).await;
    }
    let (page, next) = cluster.accounts.users(&admin, None, 3).unwrap();
    let names = |page: &[crate::User]| -> Vec<String> {
        page.iter().map(|user| user.user.to_string()).collect()
    };
    assert_eq!(names(&page), ["admin", "bob", "cyd"]);
    // Somebody comes in between, and the pages stay right.
    cluster.user("abe").await;
    let (rest, end) = cluster.accounts.users(&admin, next.as_ref(), 3).unwrap();
    assert_eq!((names(&rest), end), (vec!["dan".to_owned()], None));
    assert!(!format!("{page:?}").contains("argon2"));
}

#[tokio::test]
async fn limits_of_ones_own_are_kept() {
    let cluster = Cluster::new().await;
    let admin = cluster.admin().await;
    cluster.user("ada").await;
    let own = UserLimits {
        queued_tasks: Some(99),
        ..UserLimits::default()
    };
    cluster
        .accounts
        .set_limits(&call(1), &admin, &name("ada"), own)
        .await
        .unwrap();
    assert_eq!(cluster.last_audit().detail, "queued_tasks 99");
    let cluster = cluster.restarted().await;
    let (_, kept) = (cluster.admin().await, cluster.accounts.directory());
    assert_eq!(kept.user(&name("ada")).unwrap().limits, own);
}

#[tokio::test]
async fn the_audit_is_read_by_pages_that_stay_right_while_it_grows() {
    let cluster = Cluster::new().await;
    let admin = cluster.admin().await;
    for user in ["a", "b", "c", "d", "e"] {
        let made = cluster
            .accounts
            .create_user(&call(5), &admin, draft(user), Role::User)
            .await;
        made.unwrap();
    }
    let query = AuditQuery {
        user: Some(name("admin")),
        action: Some("user.create".into()),
        limit: 2,
        ..AuditQuery::default()
    };
    let mut targets = Vec::new();
    let mut before = None;
    loop {
        let query = AuditQuery {
            before,
            ..query.clone()
        };
        let page = cluster.accounts.audit_page(&admin, query).await.unwrap();
        assert!(page.records.len() <= 2);
        targets.extend(page.records.into_iter().map(|record| record.target));
        cluster
            .accounts
            .create_user(&call(9), &admin, draft("late"), Role::User)
            .await
            .ok();
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(targets, ["e", "d", "c", "b", "a"]);
    let since = AuditQuery {
        since: Some(now(6).wall),
        limit: 10,
        ..AuditQuery::default()
    };
    let page = cluster.accounts.audit_page(&admin, since).await.unwrap();
    assert!(
        page.records.iter().all(|record| record.target == "late"),
        "{page:?}"
    );
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn several_things_of_a_user_are_changed_at_once_or_none_is() {
    // Given a user and an admin,
    let cluster = Cluster::new().await;
    let (session, _) = cluster.user("ada").await;
    let admin = cluster.admin().await;
    let ada = name("ada");
    let limits = UserLimits {
        queued_tasks: Some(7),
        ..UserLimits::default()
    };
    let all = |password: &str| UserChange {
        role: Some(Role::Admin),
        state: Some(AccountState::Active),
        limits: Some(limits),
        password: Some(password.into()),
    };

    // when the last thing of a change won't do, then nothing of it was done,
    let before = cluster.accounts.user(&admin, &ada).unwrap();
    let refused = cluster
        .accounts
        .change_user(&call(2), &admin, &ada, all("short"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            ChangeUserError::Password(PasswordError::Invalid(_))
        ),
        "{refused:?}"
    );
    assert_eq!(cluster.accounts.user(&admin, &ada).unwrap(), before);
    assert!(cluster.is_in(&session) && !cluster.last_audit().done);

    // and when all will do, all of it is one commit, with a record of each thing.
    let lists = cluster.store.lists();
    let changed = cluster
        .accounts
        .change_user(&call(3), &admin, &ada, all("another password"))
        .await
        .unwrap();
    assert_eq!((changed.role, changed.limits), (Role::Admin, limits));
    assert_eq!(cluster.store.lists(), lists + 1);
    let lines = cluster.audit_lines();
    assert_eq!(
        lines[lines.len() - 4..],
        [
            "user.role ada done",
            "user.unlock ada done",
            "user.limits ada done",
            "user.password ada done"
        ]
    );
    assert!(
        !cluster.is_in(&session),
        "a new password ends the tokens of the old one"
    );
    let nothing = cluster
        .accounts
        .change_user(&call(4), &admin, &ada, UserChange::default())
        .await;
    assert_eq!(nothing.unwrap(), changed);
    assert_eq!(
        cluster.store.lists(),
        lists + 1,
        "where nothing changes nothing is written"
    );
}

#[tokio::test]
async fn of_a_change_of_several_things_each_needs_what_it_needs_alone() {
    let cluster = Cluster::new().await;
    let (_, ada) = cluster.user("ada").await;
    let admin = cluster.admin().await;
    let draft = KeyDraft {
        name: "ops".to_owned(),
        scope: KeyScope::All,
        expires_at: None,
    };
    let (_, key) = cluster
        .accounts
        .create_key(&call(1), &admin, draft)
        .await
        .unwrap();
    let key = Credential::bearer(key.expose());
    let key = cluster.accounts.authenticate(key, now(1).wall).unwrap();
    let locked = UserChange {
        state: Some(AccountState::Locked),
        ..UserChange::default()
    };
    let promoted = UserChange {
        role: Some(Role::Admin),
        ..locked.clone()
    };
    let user = name("ada");
    for (by, change, may) in [
        (&ada, locked.clone(), false),
        (&key, promoted, false),
        (&key, locked.clone(), true),
    ] {
        let changed = cluster
            .accounts
            .change_user(&call(2), by, &user, change)
            .await;
        assert_eq!(changed.is_ok(), may, "{changed:?}");
    }
    // The last admin locks nobody out by oneself, in whatever company.
    let both = UserChange {
        limits: Some(UserLimits::default()),
        ..locked
    };
    let refused = cluster
        .accounts
        .change_user(&call(3), &admin, &name("admin"), both)
        .await;
    assert!(
        matches!(
            refused,
            Err(ChangeUserError::User(UserError::LastAdmin { .. }))
        ),
        "{refused:?}"
    );
    let nobody = cluster
        .accounts
        .change_user(&call(3), &admin, &name("bob"), UserChange::default())
        .await;
    assert!(
        matches!(
            nobody,
            Err(ChangeUserError::User(UserError::NoSuchUser { .. }))
        ),
        "{nobody:?}"
    );
}

#[tokio::test]
async fn a_name_whose_tasks_are_there_is_given_away_by_admins_alone() {
    // Given a user who has left tasks and was removed,
    let cluster = Cluster::new().await;
    cluster.user("ada").await;
    let (admin, ada) = (cluster.admin().await, name("ada"));
    cluster.store.set_has_tasks(&ada, true);
    cluster
        .accounts
        .delete_user(&call(2), &admin, &ada)
        .await
        .unwrap();

    // then whoever registers under the name doesn't get them: it is taken, in the words for any other.
    let refused = cluster
        .accounts
        .register(&call(3), draft("ada"))
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the user name ada is taken: expected another one"
    );
    // An admin gives them to whom they make a user; and once nothing is left anybody may have the name.
    cluster
        .accounts
        .create_user(&call(4), &admin, draft("ada"), Role::User)
        .await
        .unwrap();
    cluster
        .accounts
        .delete_user(&call(5), &admin, &ada)
        .await
        .unwrap();
    cluster.store.set_has_tasks(&ada, false);
    cluster
        .accounts
        .register(&call(6), draft("ada"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_password_that_is_made_anew_is_answered_once_and_counts() {
    let cluster = Cluster::new().await;
    let (session, _) = cluster.user("ada").await;
    let local = Identity::local();
    let made = cluster
        .accounts
        .reset_password(&call(1), &local, &name("ada"))
        .await
        .unwrap();
    assert!(!cluster.is_in(&session));
    cluster.accounts.login(&call(2), "ada", made).await.unwrap();
    let audit = format!("{:?}", cluster.store.whole_audit());
    assert!(audit.contains("user.password"), "{audit}");
}

#[tokio::test]
async fn a_password_that_may_be_kept_all_the_same_is_told_with_the_error() {
    let cluster = Cluster::new().await;
    cluster.user("ada").await;
    let (accounts, local, user) = (&cluster.accounts, Identity::local(), name("ada"));
    // Given a store that keeps a new password and fails all the same,
    cluster.store.set_fault(crate::fakes::Fault::KeepsAndFails);
    let reset = accounts.reset_password(&call(1), &local, &user).await;
    let error = reset.unwrap_err();
    let words = error.to_string();
    let crate::ResetPasswordError::Doubtful { password, .. } = error else {
        panic!("{words}");
    };
    // then it is in the words, and counts once the store can be read.
    assert!(words.contains(password.expose()), "{words}");
    cluster.store.set_fault(crate::fakes::Fault::None);
    let _ = accounts
        .reset_password(&call(1), &local, &name("nobody"))
        .await;
    let cluster = cluster.restarted().await;
    let session = cluster.accounts.login(&call(2), "ada", password).await;
    session.unwrap();
}
