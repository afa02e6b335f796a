//! Keys for programs.

use cloudai_model::KeyScope;

use super::*;
use crate::{
    AuthenticateError, Forbidden, KeyDraft, KeyError, PasswordError, Permission, UserError,
};

fn key_draft(scope: KeyScope) -> KeyDraft {
    KeyDraft {
        name: "nightly build".into(),
        scope,
        expires_at: None,
    }
}

fn shown(cluster: &Cluster, key: &Secret, seconds: u64) -> Result<Identity, AuthenticateError> {
    cluster
        .accounts
        .authenticate(Credential::bearer(key.expose()), now(seconds).wall)
}

#[tokio::test]
async fn a_key_is_shown_once_and_comes_in_as_its_user() {
    let cluster = Cluster::new().await;
    let (_, ada) = cluster.user("ada").await;
    let made = cluster
        .accounts
        .create_key(&call(1), &ada, key_draft(KeyScope::Tasks))
        .await;
    let (key, secret) = made.unwrap();
    let who = shown(&cluster, &secret, 2).unwrap();
    assert_eq!(
        (who.user.as_str(), who.scope, who.key()),
        ("ada", KeyScope::Tasks, Some(&*key.id))
    );
    // Nothing of it but its id is kept, or written down, or listed.
    use crate::AccountStore as _;
    let (_, rest) = secret.expose().rsplit_once('_').unwrap();
    let kept = format!(
        "{:?} {:?}",
        cluster.store.load().await.unwrap(),
        cluster.store.whole_audit()
    );
    assert!(kept.contains(&key.id) && !kept.contains(rest));
    assert_eq!(
        cluster.accounts.keys(&ada, &name("ada")).unwrap(),
        std::slice::from_ref(&key)
    );

    let cluster = cluster.restarted().await;
    assert!(shown(&cluster, &secret, 2).is_ok());
    // Of one character less or another none is right.
    for at in 0..secret.expose().len() {
        let short = Secret::from(&secret.expose()[..at]);
        assert!(shown(&cluster, &short, 2).is_err(), "{at} characters");
        let mut other = secret.expose().as_bytes().to_vec();
        other[at] = if other[at] == b'0' { b'1' } else { b'0' };
        let other = Secret::new(String::from_utf8(other).unwrap());
        assert!(shown(&cluster, &other, 2).is_err(), "character {at}");
    }
}

#[tokio::test]
async fn a_key_ends_with_its_time_its_deletion_and_its_user() {
    let cluster = Cluster::new().await;
    let admin = cluster.admin().await;
    let (_, ada) = cluster.user("ada").await;
    let make = |expires_at| {
        let draft = KeyDraft {
            expires_at,
            ..key_draft(KeyScope::All)
        };
        let (accounts, ada) = (cluster.accounts.clone(), ada.clone());
        async move { accounts.create_key(&call(1), &ada, draft).await }
    };
    let (_, timed) = make(Some(now(100).wall)).await.unwrap();
    let who = shown(&cluster, &timed, 99).unwrap();
    assert_eq!(
        shown(&cluster, &timed, 100),
        Err(AuthenticateError::ExpiredKey)
    );
    let rechecked = cluster.accounts.recheck(&who, now(100).wall);
    assert_eq!(rechecked, Err(AuthenticateError::ExpiredKey));

    let (key, deleted) = make(None).await.unwrap();
    cluster
        .accounts
        .delete_key(&call(1), &ada, &key.id)
        .await
        .unwrap();
    assert_eq!(
        shown(&cluster, &deleted, 2),
        Err(AuthenticateError::UnknownKey)
    );
    let again = cluster.accounts.delete_key(&call(1), &ada, &key.id).await;
    assert!(matches!(again, Err(KeyError::NoSuchKey)));

    let (_, locked) = make(None).await.unwrap();
    cluster
        .accounts
        .lock(&call(1), &admin, &name("ada"))
        .await
        .unwrap();
    assert!(matches!(
        shown(&cluster, &locked, 2),
        Err(AuthenticateError::NotActive { .. })
    ));
    cluster
        .accounts
        .let_in(&call(1), &admin, &name("ada"))
        .await
        .unwrap();
    assert!(shown(&cluster, &locked, 2).is_ok());
    cluster
        .accounts
        .delete_user(&call(1), &admin, &name("ada"))
        .await
        .unwrap();
    assert_eq!(
        shown(&cluster, &locked, 2),
        Err(AuthenticateError::UnknownKey)
    );
    cluster
        .accounts
        .register(&call(1), draft("ada"))
        .await
        .unwrap();
    let cluster = cluster.restarted().await;
    assert_eq!(
        shown(&cluster, &locked, 2),
        Err(AuthenticateError::UnknownKey)
    );
}

#[tokio::test]
async fn no_key_makes_keys_passwords_or_admins() {
    let cluster = Cluster::new().await;
    let admin = cluster.admin().await;
    let made = cluster
        .accounts
        .create_key(&call(1), &admin, key_draft(KeyScope::All))
        .await;
    let (key, secret) = made.unwrap();
    let program = shown(&cluster, &secret, 2).unwrap();
    let accounts = &cluster.accounts;
    let call = call(2);

    let made = accounts
        .create_key(&call, &program, key_draft(KeyScope::All))
        .await;
    assert!(matches!(
        made,
        Err(KeyError::Forbidden(Forbidden::NotWithAKey))
    ));
    let deleted = accounts.delete_key(&call, &program, &key.id).await;
    assert!(matches!(
        deleted,
        Err(KeyError::Forbidden(Forbidden::NotWithAKey))
    ));
    assert!(accounts.keys(&program, &name("admin")).is_err());
    let (old, new) = ("password of admin".into(), "an entirely new one".into());
    let changed = accounts.change_password(&call, &program, old, new).await;
    assert!(matches!(
        changed,
        Err(PasswordError::Forbidden(Forbidden::NotWithAKey))
    ));
    let me = name("admin");
    let set = accounts.set_password(&call, &program, &me, "an entirely new one".into());
    assert!(matches!(set.await, Err(PasswordError::Forbidden(_))));
    let role = accounts
        .set_role(&call, &program, &name("admin"), Role::Admin)
        .await;
    assert!(matches!(
        role,
        Err(UserError::Forbidden(Forbidden::NotWithAKey))
    ));
    assert!(
        accounts
            .create_user(&call, &program, draft("eve"), Role::Admin)
            .await
            .is_err()
    );
    assert!(
        accounts
            .rotate_token_key(&call, &program, false)
            .await
            .is_err()
    );
    // It administers else.
    assert!(accounts.users(&program, None, 10).is_ok());
    assert!(program.authorize(Permission::Administer).is_ok());
    assert_eq!(cluster.last_audit().key, Some(key.id));
}

#[tokio::test]
async fn anothers_key_is_not_there_and_an_admins_hand_reaches_it() {
    let cluster = Cluster::new().await;
    let admin = cluster.admin().await;
    let (_, ada) = cluster.user("ada").await;
    let (_, bob) = cluster.user("bob").await;
    let made = cluster
        .accounts
        .create_key(&call(1), &ada, key_draft(KeyScope::Read))
        .await;
    let (key, secret) = made.unwrap();
    let theirs = cluster
        .accounts
        .delete_key(&call(1), &bob, &key.id)
        .await
        .unwrap_err();
    let nobodys = cluster
        .accounts
        .delete_key(&call(1), &bob, "0000")
        .await
        .unwrap_err();
    assert_eq!(theirs.to_string(), nobodys.to_string());
    assert!(shown(&cluster, &secret, 2).is_ok());
    assert_eq!(
        cluster.accounts.keys(&admin, &name("ada")).unwrap(),
        std::slice::from_ref(&key)
    );
    cluster
        .accounts
        .delete_key(&call(1), &admin, &key.id)
        .await
        .unwrap();
    assert!(shown(&cluster, &secret, 2).is_err());
    assert_eq!(cluster.last_audit().detail, "of ada");
}

#[tokio::test]
async fn a_draft_is_checked_whole_and_there_are_not_many_keys() {
    let cluster = Cluster::with(AccountSettings {
        most_keys: 3,
        ..settings()
    })
    .await;
    let (_, ada) = cluster.user("ada").await;
    let bad = KeyDraft {
        name: " ".into(),
        scope: KeyScope::Read,
        expires_at: Some(now(1).wall),
    };
    let made = cluster.accounts.create_key(&call(1), &ada, bad).await;
    let Err(KeyError::Invalid(errors)) = made else {
        panic!("it was taken");
    };
    let fields: Vec<_> = errors.0.iter().map(|error| error.field).collect();
    assert_eq!(fields, ["name", "expires_at"]);
    for _ in 0..3 {
        let made = cluster
            .accounts
            .create_key(&call(1), &ada, key_draft(KeyScope::Read))
            .await;
        made.unwrap();
    }
    let made = cluster
        .accounts
        .create_key(&call(1), &ada, key_draft(KeyScope::Read))
        .await;
    assert!(matches!(made, Err(KeyError::TooMany { most: 3, .. })));
}

#[tokio::test]
async fn who_is_an_admin_no_more_may_not_watch_others() {
    // Given an admin who watches what is bob's, and their own,
    let cluster = Cluster::new().await;
    let (session, _) = cluster.user("ada").await;
    let (accounts, local, user) = (&cluster.accounts, Identity::local(), name("ada"));
    let role = |role| crate::UserChange {
        role: Some(role),
        ..crate::UserChange::default()
    };
    accounts
        .change_user(&call(0), &local, &user, role(Role::Admin))
        .await
        .unwrap();
    let ada = cluster.identity(&session);
    let may = |owner: &str| {
        crate::StillMay::new(accounts.clone(), ada.clone(), Some(name(owner))).check(now(1).wall)
    };
    assert_eq!((may("bob"), may("ada")), (Ok(()), Ok(())));
    // when they are a user again, then it is their own alone.
    accounts
        .change_user(&call(1), &local, &user, role(Role::User))
        .await
        .unwrap();
    assert_eq!(
        (may("bob"), may("ada")),
        (Err(crate::MayNoMore::Role), Ok(()))
    );
}
