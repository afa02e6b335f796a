//! Who may come in, and what they did: that it is kept, found, and goes when it should.

use std::sync::Arc;

use cloudai_model::{
    AccountState, KeyScope, Role, UserLimits, Wall,
    account::{AccountChange, AuditRecord, EndedToken, KeyRecord, UserRecord},
    record::Record,
};

use super::{Place, commit, sample};
use crate::{AuditQuery, CommitError, Store, StoredAccounts};

pub(crate) fn user(name: &str) -> UserRecord {
    UserRecord {
        user: name.parse().unwrap(),
        name: "Ann Example".to_owned(),
        email: "ann@example.org".to_owned(),
        password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned(),
        role: Role::User,
        state: AccountState::Active,
        generation: 3,
        limits: UserLimits {
            queued_tasks: Some(10),
            ..UserLimits::default()
        },
        created_at: Wall(1_700_000_000_000),
        updated_at: Wall(1_700_000_000_001),
    }
}

pub(crate) fn key(id: &str, user: &str) -> KeyRecord {
    KeyRecord {
        id: id.to_owned(),
        user: user.parse().unwrap(),
        name: "laptop".to_owned(),
        hash: [0xa5; 32],
        scope: KeyScope::Tasks,
        created_at: Wall(1_700_000_000_002),
        expires_at: None,
    }
}

pub(crate) fn token(id: &str, until: i64) -> EndedToken {
    EndedToken {
        id: id.to_owned(),
        until: Wall(until),
    }
}

/// The `number`th entry: made at second `number`.
pub(crate) fn entry(number: u64) -> AuditRecord {
    AuditRecord {
        number,
        at: Wall(i64::try_from(number).unwrap() * 1000),
        user: Some("ann".parse().unwrap()),
        key: None,
        from: "192.0.2.1".to_owned(),
        action: "task.submit".to_owned(),
        target: format!("task-{number}"),
        done: true,
        detail: String::new(),
        request: format!("req-{number}"),
    }
}

pub(crate) fn there(user: &UserRecord) -> Record {
    Record::Account(AccountChange::User(Box::new(user.clone())))
}

pub(crate) fn with_key(key: &KeyRecord) -> Record {
    Record::Account(AccountChange::Key(Box::new(key.clone())))
}

pub(crate) fn done(entry: &AuditRecord) -> Record {
    Record::Account(AccountChange::Audit(Box::new(entry.clone())))
}

fn gone(user: &str) -> Record {
    Record::Account(AccountChange::UserRemoved(user.parse().unwrap()))
}

fn ended(token: &EndedToken) -> Record {
    Record::Account(AccountChange::TokenEnded(token.clone()))
}

fn audit_forgotten(before: i64) -> Record {
    Record::Account(AccountChange::AuditForgotten(Wall(before)))
}

fn numbers(page: &[AuditRecord]) -> Vec<u64> {
    page.iter().map(|entry| entry.number).collect()
}

async fn all(store: &dyn Store) -> Vec<u64> {
    numbers(&store.audit(&AuditQuery::newest(99)).await.unwrap())
}

pub(crate) async fn users_and_keys_come_change_and_go(place: &Place) {
    // Given two users with keys,
    let store = place.empty();
    assert_eq!(store.accounts().await.unwrap(), StoredAccounts::default());
    let (ann, bob) = (user("ann"), user("bob"));
    let keys = [key("k-2", "ann"), key("k-1", "bob"), key("k-3", "ann")];
    let batch = [there(&bob), there(&ann)].into_iter();
    commit(&*store, batch.chain(keys.iter().map(with_key))).await;

    // when one has another password and a key that ends, and another key is deleted,
    let changed = UserRecord {
        password_hash: "$argon2id$v=19$another".to_owned(),
        role: Role::Admin,
        state: AccountState::Locked,
        generation: u64::MAX,
        limits: UserLimits::default(),
        updated_at: Wall(1_700_000_009_000),
        ..ann
    };
    let ending = KeyRecord {
        expires_at: Some(Wall(1_700_000_010_000)),
        ..keys[0].clone()
    };
    let removed = Record::Account(AccountChange::KeyRemoved("k-3".to_owned()));
    let never = Record::Account(AccountChange::KeyRemoved("never".to_owned()));
    commit(
        &*store,
        [there(&changed), with_key(&ending), removed, never],
    )
    .await;

    // then all is as it was written last, users by name and keys by id, also after a restart.
    let mut expected = StoredAccounts {
        users: vec![changed, bob],
        keys: vec![keys[1].clone(), ending],
        ..StoredAccounts::default()
    };
    assert_eq!(store.accounts().await.unwrap(), expected);
    let store = match place.restarted(store).await {
        Some(store) => {
            assert_eq!(store.accounts().await.unwrap(), expected);
            store
        }
        None => return,
    };

    // A user who is removed takes the keys along; one who was never there takes nothing.
    commit(&*store, [gone("ann"), gone("never")]).await;
    expected.users.remove(0);
    expected.keys.remove(1);
    assert_eq!(store.accounts().await.unwrap(), expected);
}

pub(crate) async fn a_key_that_comes_behind_the_removal_of_its_user_is_not_kept(place: &Place) {
    // Given a user who is removed while one of their programs gets a key,
    let store = place.empty();
    commit(&*store, [there(&user("ann"))]).await;
    commit(&*store, [gone("ann")]).await;
    commit(&*store, [with_key(&key("k-1", "ann"))]).await;

    // when somebody else gets the name,
    let batch = [
        there(&user("ann")),
        with_key(&key("k-2", "ann")),
        gone("ann"),
        with_key(&key("k-3", "ann")),
        there(&user("ann")),
        with_key(&key("k-4", "ann")),
    ];
    commit(&*store, batch).await;

    // then they have their own key alone.
    let accounts = store.accounts().await.unwrap();
    assert_eq!(accounts.keys, [key("k-4", "ann")]);
}

pub(crate) async fn ended_tokens_are_kept_until_they_are_forgotten(place: &Place) {
    let store = place.empty();
    let tokens = [
        token("t-1", 1_000),
        token("t-2", 2_000),
        token("t-3", 3_000),
    ];
    commit(&*store, tokens.iter().rev().map(ended)).await;
    assert_eq!(store.accounts().await.unwrap().ended_tokens, tokens);

    let forgotten = |before| Record::Account(AccountChange::TokensForgotten(Wall(before)));
    let batch = [ended(&token("t-0", 5)), forgotten(2_000)];
    commit(&*store, batch).await;

    assert_eq!(store.accounts().await.unwrap().ended_tokens, tokens[1..]);
    commit(&*store, [forgotten(i64::MAX)]).await;
    assert_eq!(store.accounts().await.unwrap(), StoredAccounts::default());
}

pub(crate) async fn the_audit_is_read_by_page_and_by_what_is_asked(place: &Place) {
    // Given what three did, one of them unknown, by turns and by four actions,
    let store = place.empty();
    let mut entries = Vec::new();
    for number in 1..=24 {
        let user = ["ann", "bob"].get(number as usize % 3);
        let action = ["login", "task.submit", "task.cancel", "key.make"][number as usize % 4];
        entries.push(AuditRecord {
            user: user.map(|name| name.parse().unwrap()),
            action: action.to_owned(),
            ..entry(number)
        });
    }
    commit(&*store, entries.iter().map(done)).await;
    assert_eq!(store.accounts().await.unwrap().highest_audit, 24);

    // when it is asked for by every mixture of user, action, span and place,
    let users = [
        None,
        Some("ann".parse().unwrap()),
        Some("eve".parse().unwrap()),
    ];
    let actions = [None, Some("login".to_owned()), Some("none".to_owned())];
    let spans = [(None, None), (Some(Wall(7_000)), Some(Wall(20_000)))];
    for user in &users {
        for action in &actions {
            for (since, until) in spans {
                for before in [None, Some(13), Some(u64::MAX)] {
                    let query = AuditQuery {
                        user: user.clone(),
                        action: action.clone(),
                        since,
                        until,
                        before,
                        limit: 5,
                    };
                    // then it is what a plain filter gives, newest first.
                    let fits = |entry: &&AuditRecord| {
                        let seconds = entry.at.0 / 1000;
                        user.as_ref()
                            .is_none_or(|it| Some(it) == entry.user.as_ref())
                            && action.as_ref().is_none_or(|it| *it == entry.action)
                            && (since.is_none() || (7..20).contains(&seconds))
                            && before.is_none_or(|before| entry.number < before)
                    };
                    let expected = entries.iter().rev().filter(fits).take(5).cloned();
                    let expected: Vec<_> = expected.collect();
                    assert_eq!(store.audit(&query).await.unwrap(), expected, "{query:?}");
                }
            }
        }
    }
    // A reader sees each entry once, also while more are written.
    let mut query = AuditQuery::newest(10);
    let mut seen = Vec::new();
    loop {
        let page = store.audit(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.before = Some(last.number);
        seen.extend(numbers(&page));
        let next = store.accounts().await.unwrap().highest_audit + 1;
        commit(&*store, [done(&entry(next))]).await;
    }
    assert_eq!(seen, (1..=24).rev().collect::<Vec<_>>());
    query.limit = 0;
    assert_eq!(store.audit(&query).await.unwrap(), []);
}

pub(crate) async fn an_entry_of_the_audit_is_never_changed(place: &Place) {
    let store = place.empty();
    commit(&*store, [done(&entry(1))]).await;

    let other = AuditRecord {
        done: false,
        ..entry(1)
    };
    let batch = vec![there(&user("eve")), done(&entry(2)), done(&other)];
    let error = store.commit(Arc::new(batch)).await.unwrap_err();

    let conflict = CommitError::Conflict {
        what: "audit entry",
        key: "1".to_owned(),
    };
    assert_eq!(error.to_string(), conflict.to_string());
    assert!(!error.may_retry());
    let page = store.audit(&AuditQuery::newest(9)).await.unwrap();
    assert_eq!(page, [entry(1)]);
    assert_eq!(store.accounts().await.unwrap().users, []);
}

pub(crate) async fn the_audit_forgets_what_is_old_in_steps_and_never_its_last_entry(place: &Place) {
    // Given entries of which the clock was set back for the third,
    let store = place.empty();
    let mut entries: Vec<_> = (1..=6).map(entry).collect();
    entries[2].at = Wall(500);
    commit(&*store, entries.iter().map(done)).await;

    // when one asks what is oldest, and what is older than the last two is forgotten,
    let oldest = async |before, limit| store.oldest_audit(Wall(before), limit).await.unwrap();
    assert_eq!(oldest(5_000, 2).await, [Wall(500), Wall(1_000)]);
    assert_eq!(
        oldest(5_000, 9).await,
        [Wall(500), Wall(1_000), Wall(2_000), Wall(4_000)]
    );
    assert_eq!(oldest(5_000, 0).await, []);
    commit(&*store, [audit_forgotten(1_001)]).await;
    assert_eq!(all(&*store).await, [6, 5, 4, 2]);
    commit(&*store, [audit_forgotten(5_000)]).await;
    assert_eq!(all(&*store).await, [6, 5]);

    // then the last entry stays, however old it is, and with it its number.
    commit(&*store, [audit_forgotten(i64::MAX)]).await;
    assert_eq!(all(&*store).await, [6]);
    assert_eq!(oldest(i64::MAX, 9).await, []);
    assert_eq!(store.accounts().await.unwrap().highest_audit, 6);

    // What one batch adds and forgets is gone, but for its last.
    let batch = [7, 8].map(|number| done(&entry(number)));
    commit(&*store, batch.into_iter().chain([audit_forgotten(9_000)])).await;
    assert_eq!(all(&*store).await, [8]);
}

pub(crate) async fn a_batch_that_fails_leaves_accounts_as_they_were(place: &Place) {
    // Given a bit of everything,
    let store = place.empty();
    let before = [
        there(&user("ann")),
        with_key(&key("k-1", "ann")),
        ended(&token("t-1", 1)),
        done(&entry(1)),
        done(&entry(2)),
    ];
    commit(&*store, before).await;
    let accounts = store.accounts().await.unwrap();

    // when a batch changes all of it and fails at its end,
    let changed = UserRecord {
        generation: 9,
        ..user("ann")
    };
    let batch = vec![
        there(&changed),
        there(&user("bob")),
        with_key(&key("k-2", "ann")),
        gone("ann"),
        Record::Account(AccountChange::KeyRemoved("k-1".to_owned())),
        ended(&token("t-2", 2)),
        Record::Account(AccountChange::TokensForgotten(Wall(9))),
        done(&entry(3)),
        audit_forgotten(9_000),
        sample(1).now_running(),
    ];
    store.commit(Arc::new(batch)).await.unwrap_err();

    // then all is as it was.
    assert_eq!(store.accounts().await.unwrap(), accounts);
    assert_eq!(all(&*store).await, [2, 1]);
}

pub(crate) async fn a_batch_of_accounts_may_be_sent_again(place: &Place) {
    let store = place.empty();
    commit(&*store, [there(&user("bob")), with_key(&key("k-0", "bob"))]).await;
    let batch = Arc::new(vec![
        there(&user("ann")),
        with_key(&key("k-1", "ann")),
        with_key(&key("k-2", "bob")),
        gone("bob"),
        ended(&token("t-1", 1_000)),
        ended(&token("t-2", 3_000)),
        Record::Account(AccountChange::TokensForgotten(Wall(2_000))),
        done(&entry(1)),
        done(&entry(2)),
        audit_forgotten(2_000),
    ]);
    store.commit(Arc::clone(&batch)).await.unwrap();
    let once = store.accounts().await.unwrap();

    store.commit(batch).await.unwrap();

    assert_eq!(store.accounts().await.unwrap(), once);
    assert_eq!(once.users, [user("ann")]);
    assert_eq!(once.keys, [key("k-1", "ann")]);
    assert_eq!(once.ended_tokens, [token("t-2", 3_000)]);
    assert_eq!(all(&*store).await, [2]);
}
