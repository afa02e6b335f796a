//! The directory after changes is the directory that a start would read.

use std::collections::BTreeMap;

use cloudai_model::{
    KeyScope, UserLimits,
    account::{AuditRecord, EndedToken},
};
use proptest::prelude::*;

use super::*;

fn user(name: &str, role: Role, state: AccountState) -> UserRecord {
    UserRecord {
        user: name.parse().unwrap(),
        name: String::new(),
        email: String::new(),
        password_hash: String::new(),
        role,
        state,
        generation: 1,
        limits: UserLimits::default(),
        created_at: Wall(0),
        updated_at: Wall(0),
    }
}

fn key(id: &str, owner: &str) -> KeyRecord {
    KeyRecord {
        id: id.into(),
        user: owner.parse().unwrap(),
        name: "n".into(),
        hash: [0; 32],
        scope: KeyScope::All,
        created_at: Wall(0),
        expires_at: None,
    }
}

fn put(directory: &mut Directory, record: UserRecord) {
    directory.apply(AccountChange::User(Box::new(record)));
}

#[test]
fn the_last_admin_who_can_come_in_is_known() {
    let mut directory = Directory::default();
    let (ada, bob) = ("ada".parse().unwrap(), "bob".parse().unwrap());
    put(
        &mut directory,
        user("ada", Role::Admin, AccountState::Active),
    );
    put(
        &mut directory,
        user("bob", Role::Admin, AccountState::Locked),
    );
    assert!(directory.is_last_admin(&ada) && !directory.is_last_admin(&bob));
    put(
        &mut directory,
        user("bob", Role::Admin, AccountState::Active),
    );
    assert!(!directory.is_last_admin(&ada) && !directory.is_last_admin(&bob));
    directory.apply(AccountChange::UserRemoved(ada));
    assert!(directory.is_last_admin(&bob));
}

#[test]
fn names_that_differ_in_case_alone_are_one() {
    let mut directory = Directory::default();
    put(
        &mut directory,
        user("Ada", Role::User, AccountState::Active),
    );
    let ada = "Ada".parse().unwrap();
    assert_eq!(directory.spelled_like(&"aDA".parse().unwrap()), Some(&ada));
    assert_eq!(directory.spelled_like(&"ada2".parse().unwrap()), None);
    directory.apply(AccountChange::UserRemoved(ada));
    assert_eq!(directory.spelled_like(&"ada".parse().unwrap()), None);
}

#[test]
fn keys_go_with_their_user_and_no_others_do() {
    let mut directory = Directory::default();
    for (id, owner) in [("1", "ab"), ("2", "a"), ("3", "ab"), ("4", "abc")] {
        directory.apply(AccountChange::Key(Box::new(key(id, owner))));
    }
    let of = |directory: &Directory, owner: &str| -> Vec<String> {
        let owner = owner.parse().unwrap();
        directory
            .keys_of(&owner)
            .map(|key| key.id.clone())
            .collect()
    };
    assert_eq!(of(&directory, "ab"), ["1", "3"]);
    directory.apply(AccountChange::UserRemoved("ab".parse().unwrap()));
    assert_eq!(of(&directory, "ab"), [""; 0]);
    assert!(directory.key("1").is_none());
    assert_eq!(
        (of(&directory, "a"), of(&directory, "abc")),
        (vec!["2".into()], vec!["4".into()])
    );
    directory.apply(AccountChange::KeyRemoved("2".into()));
    assert_eq!(of(&directory, "a"), [""; 0]);
}

fn any_change() -> impl Strategy<Value = AccountChange> {
    let names = prop::sample::select(vec!["ada", "ADA2", "bob", "cyd"]);
    let roles = prop::sample::select(Role::ALL.to_vec());
    let states = prop::sample::select(AccountState::ALL.to_vec());
    let walls = (0_i64..50).prop_map(Wall);
    let ids = "[a-d]";
    prop_oneof![
        (names.clone(), roles, states)
            .prop_map(|(name, role, state)| AccountChange::User(Box::new(user(name, role, state)))),
        names
            .clone()
            .prop_map(|name| AccountChange::UserRemoved(name.parse().unwrap())),
        (ids, names).prop_map(|(id, name)| AccountChange::Key(Box::new(key(&id, name)))),
        ids.prop_map(AccountChange::KeyRemoved),
        (ids, walls.clone())
            .prop_map(|(id, until)| AccountChange::TokenEnded(EndedToken { id, until })),
        walls.clone().prop_map(AccountChange::TokensForgotten),
        walls.prop_map(AccountChange::AuditForgotten),
    ]
}

proptest! {
    /// The store in memory keeps the same changes in its own way.
    #[test]
    fn it_holds_what_the_store_does(changes in prop::collection::vec(any_change(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = crate::fakes::MemoryAccounts::new();
        let mut directory = Directory::default();
        let mut owners: BTreeMap<String, UserName> = BTreeMap::new();
        for change in changes {
            // A key has one owner for good, as ids are random.
            if let AccountChange::Key(key) = &change {
                let owner = owners.entry(key.id.clone()).or_insert_with(|| key.user.clone());
                if *owner != key.user {
                    continue;
                }
            }
            runtime.block_on(crate::store::AccountStore::keep(&store, vec![change.clone()])).unwrap();
            directory.apply(change);
        }
        let read = Directory::new(runtime.block_on(crate::store::AccountStore::load(&store)).unwrap());
        prop_assert_eq!(&directory.users, &read.users);
        prop_assert_eq!(&directory.spellings, &read.spellings);
        prop_assert_eq!(&directory.keys, &read.keys);
        prop_assert_eq!(&directory.keys_of, &read.keys_of);
        prop_assert_eq!(&directory.ended, &read.ended);
        prop_assert_eq!(directory.active_admins, read.active_admins);
        let active = directory.users.values().filter(|user| is_active_admin(user)).count();
        prop_assert_eq!(directory.active_admins, active);
    }
}

#[test]
fn the_audit_is_not_in_memory() {
    let mut directory = Directory::default();
    let record = AuditRecord {
        number: 1,
        at: Wall(0),
        user: None,
        key: None,
        from: "console".into(),
        action: "auth.login".into(),
        target: String::new(),
        done: true,
        detail: String::new(),
        request: String::new(),
    };
    directory.apply(AccountChange::Audit(Box::new(record)));
    assert_eq!(directory.user_count(), 0);
}
