//! What is answered is kept; what the store doesn't take is not there; keys and audit over time.

use super::*;
use crate::{Action, AuditEntry, How, LogoutError, RegisterError, RotateError, fakes::Fault};

#[tokio::test]
async fn what_the_store_refuses_is_not_there() {
    let cluster = Cluster::new().await;
    let (session, ada) = cluster.user("ada").await;
    cluster.store.set_fault(Fault::Refuses);
    let made = cluster.accounts.register(&call(1), draft("bob")).await;
    assert!(matches!(made, Err(RegisterError::Store(_))));
    let out = cluster.accounts.logout(&call(1), &ada).await;
    assert!(matches!(out, Err(LogoutError::Store(_))));
    assert!(cluster.is_in(&session));

    cluster.store.set_fault(Fault::None);
    cluster
        .accounts
        .register(&call(1), draft("bob"))
        .await
        .unwrap();
    cluster.accounts.logout(&call(1), &ada).await.unwrap();
    let cluster = cluster.restarted().await;
    assert!(!cluster.is_in(&session));
    cluster.login("bob").await;
}

#[tokio::test]
async fn what_was_kept_in_spite_of_an_error_is_found_before_the_next_change() {
    let cluster = Cluster::new().await;
    cluster.store.set_fault(Fault::KeepsAndFails);
    let made = cluster.accounts.register(&call(1), draft("bob")).await;
    assert!(matches!(made, Err(RegisterError::Store(_))));
    cluster.store.set_fault(Fault::None);
    // Nobody was told that bob is there, and nobody else gets the name.
    let again = cluster.accounts.register(&call(1), draft("bob")).await;
    assert!(
        matches!(again, Err(RegisterError::Taken { .. })),
        "{again:?}"
    );
    cluster.login("bob").await;
}

#[tokio::test]
async fn a_full_disk_keeps_nobody_out_and_the_audit_is_kept_once_there_is_room() {
    let cluster = Cluster::new().await;
    cluster.user("ada").await;
    cluster.store.set_fault(Fault::Refuses);
    let admin = cluster.admin().await;
    let wrong = cluster
        .accounts
        .login(&call(0), "ada", "wrong".into())
        .await;
    assert!(wrong.is_err());
    let entry = AuditEntry::new(&call(2), Some(&admin), Action::TaskCancel).target("task-7");
    assert!(cluster.accounts.audit(entry).await.is_err());
    let before = cluster.store.whole_audit().len();

    cluster.store.set_fault(Fault::None);
    let entry = AuditEntry::new(&call(3), Some(&admin), Action::TaskCancel).target("task-8");
    cluster.accounts.audit(entry).await.unwrap();
    let lines = cluster.audit_lines();
    assert_eq!(
        lines[before..],
        [
            "auth.login admin done",
            "auth.login ada refused",
            "task.cancel task-7 done",
            "task.cancel task-8 done",
        ]
    );
    let numbers: Vec<_> = cluster
        .store
        .whole_audit()
        .iter()
        .map(|it| it.number)
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[tokio::test]
async fn a_store_that_answers_nothing_keeps_nobody_out() {
    // Given a store that waits for room on its disk, and a change that waits for it,
    let cluster = Cluster::new().await;
    let (_, ada) = cluster.user("ada").await;
    cluster.store.set_fault(Fault::Hangs);
    let accounts = cluster.accounts.clone();
    let change = tokio::spawn(async move { accounts.logout(&call(1), &ada).await });
    tokio::task::yield_now().await;

    // then logins, right and wrong, refusals and records are answered at once,
    let at_once = async {
        let admin = cluster.admin().await;
        let here = call(0);
        let wrong = cluster.accounts.login(&here, "ada", "wrong".into());
        assert!(matches!(wrong.await, Err(crate::LoginError::Wrong)));
        let entry = AuditEntry::new(&call(2), Some(&admin), Action::TaskCancel).target("task-7");
        assert!(cluster.accounts.audit(entry).await.is_err());
    };
    let within = Duration::from_secs(20);
    tokio::time::timeout(within, at_once).await.unwrap();
    assert!(!change.is_finished());

    // and once there is room all of them are kept, in their order, without a further word.
    cluster.store.set_fault(Fault::None);
    change.await.unwrap().unwrap();
    let lines = || cluster.audit_lines();
    let kept = async {
        while lines()
            .last()
            .is_none_or(|line| line != "task.cancel task-7 done")
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), kept)
        .await
        .unwrap();
    let wanted = [
        "auth.logout ada done",
        "auth.login admin done",
        "auth.login ada refused",
    ];
    for wanted in wanted {
        assert!(
            lines().iter().any(|line| line == wanted),
            "{wanted}: {:?}",
            lines()
        );
    }
}

#[tokio::test]
async fn records_of_many_at_a_time_are_few_commits_and_all_there() {
    let cluster = Cluster::new().await;
    let before = cluster.store.whole_audit().len();
    let lists = cluster.store.lists();
    let tasks: Vec<_> = (0..500)
        .map(|number| {
            let accounts = cluster.accounts.clone();
            tokio::spawn(async move {
                let entry = AuditEntry::new(&call(1), None, Action::TaskSubmit);
                accounts.audit(entry.target(format!("task-{number}"))).await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(cluster.store.whole_audit().len(), before + 500);
    let commits = cluster.store.lists() - lists;
    assert!(commits < 250, "{commits} commits");
}

#[tokio::test]
async fn a_change_that_has_begun_ends_also_when_nobody_waits_for_it() {
    let cluster = Cluster::new().await;
    let (session, ada) = cluster.user("ada").await;
    let guard = cluster.accounts.0.writer.lock().await;
    let accounts = cluster.accounts.clone();
    let caller = tokio::spawn(async move { accounts.logout(&call(1), &ada).await });
    tokio::task::yield_now().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    drop(guard);
    // Whoever has the lock next comes behind it.
    let ended = async {
        while cluster.is_in(&session) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .unwrap();
    assert_eq!(cluster.last_audit().action, "auth.logout");
}

#[tokio::test]
async fn refusals_of_one_place_fill_no_disk() {
    let cluster = Cluster::new().await;
    let (_, ada) = cluster.user("ada").await;
    let before = cluster.store.whole_audit().len();
    for _ in 0..1000 {
        let refused = cluster.accounts.lock(&call(1), &ada, &name("admin")).await;
        assert!(refused.is_err());
    }
    let written = cluster.store.whole_audit().len() - before;
    assert!((50..=101).contains(&written), "{written}");
}

#[tokio::test]
async fn a_rotated_key_leaves_tokens_be_and_one_that_was_seen_ends_them() {
    let cluster = Cluster::new().await;
    let (old, _) = cluster.user("ada").await;
    let admin = cluster.admin().await;
    cluster
        .accounts
        .rotate_token_key(&call(1), &admin, false)
        .await
        .unwrap();
    let new = cluster.login("ada").await;
    assert_ne!(
        old.token.expose().split('.').next(),
        new.token.expose().split('.').next()
    );
    assert!(cluster.is_in(&old) && cluster.is_in(&new));
    let cluster = cluster.restarted().await;
    assert!(cluster.is_in(&old) && cluster.is_in(&new));

    cluster
        .accounts
        .rotate_token_key(&call(1), &admin, true)
        .await
        .unwrap();
    assert!(!cluster.is_in(&old) && !cluster.is_in(&new));
    assert_eq!(cluster.last_audit().detail, "all tokens end");
    let cluster = cluster.restarted().await;
    assert!(!cluster.is_in(&old));
    assert!(cluster.is_in(&cluster.login("ada").await));
}

#[tokio::test]
async fn a_secret_that_was_set_signs_and_is_rotated_by_setting_another() {
    let store = Arc::new(MemoryAccounts::new());
    let folder = tempfile::tempdir().unwrap();
    let open = |secret: &str| {
        let (store, secret) = (store.clone(), Secret::from(secret));
        let path = folder.path();
        Accounts::open(store, path, Some(secret), settings(), now(0), |_| async {})
    };
    let one = "1".repeat(32);
    let accounts = open(&one).await.unwrap();
    let password = || Secret::from("password of admin");
    let session = accounts.login(&call(0), "admin", password()).await.unwrap();
    let shown = Credential::Token(session.token.expose());
    let error = accounts
        .rotate_token_key(&call(1), &Identity::local(), true)
        .await
        .unwrap_err();
    assert!(matches!(error, RotateError::Ring(_)), "{error}");

    let accounts = open(&"2".repeat(32)).await.unwrap();
    assert!(accounts.authenticate(shown, now(1).wall).is_ok());
    let error = open("short").await.map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("JWT_SECRET is 5 bytes long: expected 32"),
        "{error}"
    );
}

#[tokio::test]
async fn tending_rotates_an_old_key_and_forgets_what_counts_no_more() {
    let cluster = Cluster::new().await;
    let (_, ada) = cluster.user("ada").await;
    cluster.accounts.logout(&call(1), &ada).await.unwrap();
    let How::Token { id, .. } = &ada.how else {
        panic!("{ada:?}");
    };
    let days = |days: u64| now(days * 86_400);
    let kids = || cluster.accounts.ring().kids().count();

    cluster.accounts.tend(now(1)).await.unwrap();
    // The day after the token's end it is remembered still: a clock may be set back.
    cluster.accounts.tend(now(24 * 3600)).await.unwrap();
    assert!(cluster.accounts.directory().has_ended(id));
    cluster.accounts.tend(days(2)).await.unwrap();
    assert!(!cluster.accounts.directory().has_ended(id));
    assert_eq!(kids(), 1);

    cluster.accounts.tend(days(91)).await.unwrap();
    assert_eq!(kids(), 2);
    assert_eq!(cluster.last_audit().action, "token-key.rotate");
    cluster.accounts.tend(days(92)).await.unwrap();
    assert_eq!(kids(), 1);
}

#[tokio::test]
async fn what_waits_its_turn_is_not_done_for_somebody_who_was_ended_meanwhile() {
    // Given a slow store, a new password for ada, and behind it a key with a token of the old one,
    let cluster = Cluster::new().await;
    let (_, ada) = cluster.user("ada").await;
    let admin = cluster.admin().await;
    let guard = cluster.accounts.0.writer.lock().await;
    let accounts = cluster.accounts.clone();
    let set = tokio::spawn(async move {
        let (call, user) = (call(1), name("ada"));
        let set = accounts.set_password(&call, &admin, &user, "another password".into());
        set.await
    });
    let waits = |count| {
        let computed = cluster.accounts.0.hasher.computed() + count;
        let accounts = cluster.accounts.clone();
        async move {
            while accounts.0.hasher.computed() < computed {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    waits(1).await;
    let accounts = cluster.accounts.clone();
    let key = tokio::spawn(async move {
        let draft = crate::KeyDraft {
            name: "stolen".into(),
            scope: cloudai_model::KeyScope::All,
            expires_at: None,
        };
        accounts.create_key(&call(1), &ada, draft).await
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    // when it is their turn,
    drop(guard);
    set.await.unwrap().unwrap();
    // then there is no key.
    let made = key.await.unwrap();
    let ended = crate::KeyError::Forbidden(crate::Forbidden::Ended);
    assert_eq!(made.unwrap_err().to_string(), ended.to_string());
    let local = Identity::local();
    assert!(
        cluster
            .accounts
            .keys(&local, &name("ada"))
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_open_ends_with_the_key_that_signed_its_token() {
    let cluster = Cluster::new().await;
    let (_, ada) = cluster.user("ada").await;
    let admin = cluster.admin().await;
    let holds = || cluster.accounts.recheck(&ada, now(2).wall).is_ok();
    let rotate = |at_once| {
        let (accounts, admin) = (cluster.accounts.clone(), admin.clone());
        async move { accounts.rotate_token_key(&call(1), &admin, at_once).await }
    };
    rotate(false).await.unwrap();
    assert!(holds());
    rotate(true).await.unwrap();
    assert!(!holds());
}

#[tokio::test]
async fn a_clock_that_was_set_forth_takes_no_key_away_and_leaves_none_of_tomorrow() {
    let cluster = Cluster::new().await;
    let (session, _) = cluster.user("ada").await;
    let local = Identity::local();
    let here = call(1);
    let rotated = cluster.accounts.rotate_token_key(&here, &local, false);
    rotated.await.unwrap();
    let year = Duration::from_secs(366 * 86_400);
    let (ahead, back) = (now(10), now(70));
    let ahead = Now {
        wall: ahead.wall.after(year),
        ..ahead
    };
    cluster.accounts.tend(now(0)).await.unwrap();
    cluster.accounts.tend(ahead).await.unwrap();
    cluster.accounts.tend(back).await.unwrap();
    assert_eq!(cluster.accounts.ring().kids().count(), 2);
    assert!(cluster.is_in(&session));

    // One that was made while the clock was ahead is made anew once it has been right for an hour.
    let call = CallContext {
        now: ahead,
        ..call(0)
    };
    let made = cluster.accounts.rotate_token_key(&call, &local, false);
    made.await.unwrap();
    let of_tomorrow = cluster.accounts.ring().current_since().0;
    assert!(of_tomorrow > back.wall);
    cluster.accounts.tend(now(80)).await.unwrap();
    cluster.accounts.tend(now(80 + 3700)).await.unwrap();
    assert!(cluster.accounts.ring().current_since().0 < of_tomorrow);
}

#[tokio::test]
async fn names_are_not_tried_without_end_and_that_is_written_down() {
    let cluster = Cluster::new().await;
    let mut taken = 0;
    let throttled = loop {
        match cluster.accounts.register(&call(1), draft("Admin")).await {
            Err(RegisterError::Taken { .. }) => taken += 1,
            refused => break refused,
        }
        assert!(taken < 100, "nobody counts them");
    };
    assert!(
        matches!(throttled, Err(RegisterError::Throttled { .. })),
        "{throttled:?}"
    );
    let record = cluster.last_audit();
    assert_eq!(
        (record.action.as_str(), record.done),
        ("auth.register", false)
    );
    assert!(!format!("{:?}", cluster.store.whole_audit()).contains("Admin"));
}

#[tokio::test]
async fn with_another_password_only_its_place_is_known() {
    let cluster = Cluster::new().await;
    cluster.user("ada").await;
    let thief = call_from("192.0.2.66", 0);
    let password = || Secret::from("password of ada");
    cluster
        .accounts
        .login(&thief, "ada", password())
        .await
        .unwrap();
    let session = cluster.login("ada").await;
    let ada = cluster.identity(&session);
    let new = Secret::from("quite another one");
    let here = call(1);
    let changed = cluster
        .accounts
        .change_password(&here, &ada, password(), new);
    changed.await.unwrap();
    let known = |address: &str| {
        let address: std::net::IpAddr = address.parse().unwrap();
        let tried =
            cluster
                .accounts
                .throttle()
                .begin(Some(&name("ada")), address.into(), now(2).mono);
        tried.unwrap().is_known()
    };
    assert!(known("192.0.2.1") && !known("192.0.2.66"));
}

#[tokio::test]
async fn what_waits_for_the_store_is_kept_before_it_is_closed() {
    // Given a store that took nothing when something was done,
    let cluster = Cluster::new().await;
    let entry = || AuditEntry::new(&call(2), None, Action::TaskCancel).target("task-7");
    cluster.store.set_fault(Fault::Refuses);
    assert!(cluster.accounts.audit(entry()).await.is_err());
    assert!(cluster.accounts.close().await.is_err());
    // when it takes records again and all ends in order, then none is lost.
    cluster.store.set_fault(Fault::None);
    cluster.accounts.close().await.unwrap();
    assert_eq!(cluster.last_audit().action, "task.cancel");
}

#[tokio::test]
async fn how_many_records_found_no_room_to_wait_is_written_down() {
    const MANY: usize = crate::accounts::MOST_PENDING + 100;
    // Given a store that takes its time, and more records than may wait for it,
    let cluster = Cluster::new().await;
    cluster.store.set_fault(Fault::Hangs);
    let mut auditing = tokio::task::JoinSet::new();
    for _ in 0..MANY {
        let accounts = cluster.accounts.clone();
        let entry = AuditEntry::new(&call(2), None, Action::TaskCancel);
        auditing.spawn(async move { accounts.audit(entry).await });
    }
    while auditing.join_next().await.is_some() {}
    // when it takes them, then it is told how many are missing.
    cluster.store.set_fault(Fault::None);
    cluster.accounts.close().await.unwrap();
    let audit = cluster.store.whole_audit();
    let kept = audit.iter().filter(|it| it.action == "task.cancel").count();
    let lost: Vec<_> = audit
        .iter()
        .filter(|it| it.action == "audit.lost")
        .collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(kept < MANY, "{kept}");
    assert_eq!(lost[0].detail, format!("{} records were lost", MANY - kept));
}

#[tokio::test]
async fn the_key_of_tokens_is_not_rotated_for_somebody_who_may_not_any_more() {
    // Given an admin who was locked since they came in,
    let cluster = Cluster::new().await;
    let (session, _) = cluster.user("ada").await;
    let role = crate::UserChange {
        role: Some(Role::Admin),
        ..crate::UserChange::default()
    };
    let local = Identity::local();
    let (accounts, user) = (&cluster.accounts, name("ada"));
    accounts
        .change_user(&call(0), &local, &user, role)
        .await
        .unwrap();
    let ada = cluster.identity(&session);
    let lock = crate::UserChange {
        state: Some(cloudai_model::AccountState::Locked),
        ..crate::UserChange::default()
    };
    accounts
        .change_user(&call(1), &local, &user, lock)
        .await
        .unwrap();
    // when what they asked for has its turn, then it is not done.
    let admin = cluster.login("admin").await;
    let rotated = accounts.rotate_token_key(&call(2), &ada, true).await;
    assert!(
        matches!(rotated, Err(RotateError::Forbidden(_))),
        "{rotated:?}"
    );
    assert!(cluster.is_in(&admin));
}
