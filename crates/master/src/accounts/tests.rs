//! A change that the store doesn't take in time is answered, and none is decided on before it is known
//! what became of it.

use std::{sync::Arc, time::Duration};

use cloudai_accounts::AccountStore as _;
use cloudai_model::{account::AccountChange, record::Record};

use super::KeptAccounts;
use crate::{
    core_loop::{
        Started,
        tests::{on_a_fake, user},
    },
    room::Room,
};

fn change(name: &str) -> Vec<AccountChange> {
    match user(name) {
        Record::Account(change) => vec![change],
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_change_behind_a_stuck_store_is_answered_and_the_next_waits_for_what_comes_of_it() {
    // Given a store that can't be written,
    let (Started { core, ready, .. }, database, store, _folder) = on_a_fake(true).await;
    ready.await.unwrap();
    let kept = KeptAccounts {
        within: Duration::from_millis(200),
        ..KeptAccounts::new(store, core, Room::endless())
    };
    kept.keep(change("ann")).await.unwrap();
    database.goes_away();

    // when a change comes, then it is answered that it may yet be made;
    let error = kept.keep(change("bob")).await.unwrap_err();
    assert!(format!("{error:?}").contains("may yet"), "{error:?}");
    // until that is known nothing is read, and nothing else changed.
    assert!(kept.load().await.is_err());
    let error = kept.keep(change("cem")).await.unwrap_err();
    assert!(format!("{error:?}").contains("before"), "{error:?}");

    // When the store is back, then it was made, and whoever reads sees it.
    database.comes_back();
    let read = async {
        loop {
            match kept.load().await {
                Ok(read) => break read,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .unwrap();
    let names: Vec<_> = read.users.iter().map(|user| user.user.as_str()).collect();
    assert_eq!(names, ["ann", "bob"]);
    kept.keep(change("cem")).await.unwrap();
}

#[tokio::test]
async fn where_there_is_no_room_a_change_is_refused_at_once() {
    let (Started { core, ready, .. }, _database, store, _folder) = on_a_fake(true).await;
    ready.await.unwrap();
    let room = Room::endless();
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let _ = room.store_found_none(&full, false);
    assert!(room.store_waits().is_some());
    let kept = KeptAccounts::new(store, core, room);
    let error = kept.keep(change("ann")).await.unwrap_err();
    assert!(Arc::new(error).to_string().contains("keep a change"));
}
