//! StoredAccounts, changed specs and submit keys on their way through the journal.

use cloudai_model::{
    SubmitKey,
    account::AccountChange,
    record::{Record, TaskRecord},
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use super::{FakeDatabase, is_well, kill, open};
use crate::{
    AuditQuery, MemoryStore, ReadError, Store as _, SubmittedUnder,
    conformance::{arbitrary, commit, sample},
};

fn under(number: u64, key: &str) -> TaskRecord {
    let mut task = sample(number).task;
    task.spec.submit_key = Some(SubmitKey {
        key: key.to_owned(),
        body: [9; 32],
        index: 0,
    });
    task
}

fn added(task: &TaskRecord) -> Record {
    Record::TaskAdded(Box::new(task.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_and_changes_of_specs_are_carried_over_as_they_were_said() {
    // Given a database that is away,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    let expected = MemoryStore::new();
    let it = sample(1);
    for to in [&store as &dyn crate::Store, &expected] {
        commit(to, [it.added()]).await;
    }
    database.goes_away();

    // when accounts come and go, and a spec is changed in all ways, and the master is killed,
    let mut runner = TestRunner::deterministic();
    for number in 1..=60 {
        let life = arbitrary::life(number).new_tree(&mut runner).unwrap();
        let life = life.current();
        let mut batch = life.people.records().to_vec();
        let account = match number % 6 {
            0 => AccountChange::UserRemoved(life.people.user.user),
            1 => AccountChange::KeyRemoved(life.people.key.id),
            2 => AccountChange::TokensForgotten(life.people.token.until),
            3 => AccountChange::AuditForgotten(life.people.entry.at),
            _ => AccountChange::User(Box::new(life.people.user)),
        };
        batch.push(Record::Account(account));
        batch.push(Record::SpecChanged(it.id().clone(), life.change));
        for to in [&store as &dyn crate::Store, &expected] {
            commit(to, batch.clone()).await;
        }
    }
    let known = store.shared.journal.content().tasks.len();
    assert_eq!(known, 1, "of accounts nothing is held in memory");
    let error = store.accounts().await.unwrap_err();
    assert!(matches!(error, ReadError::OutOfReach { .. }), "{error}");
    kill(store).await;

    // then the database has all of it when it is back.
    database.comes_back();
    let store = open(folder.path(), &database).await;
    is_well(&store).await;
    let accounts = store.accounts().await.unwrap();
    assert!(accounts.users.len() > 40, "{}", accounts.users.len());
    assert_eq!(accounts, expected.accounts().await.unwrap());
    let every = AuditQuery::newest(99);
    let audit = expected.audit(&every).await.unwrap();
    assert_eq!(store.audit(&every).await.unwrap(), audit);
    let task = expected.task(it.id()).await.unwrap();
    assert_eq!(store.task(it.id()).await.unwrap(), task);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submit_is_found_under_its_key_wherever_it_lies() {
    // Given a submit in the database, one in the journal, and one that was accepted before the store
    // had been read,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    let stored = under(1, "stored");
    commit(&store, [added(&stored)]).await;
    database.goes_away();
    let journaled = [under(2, "journaled"), under(3, "journaled")];
    commit(&store, journaled.iter().map(added)).await;
    kill(store).await;
    let store = open(folder.path(), &database).await;
    let taken_in = TaskRecord {
        order: 0,
        ..under(4, "taken in")
    };
    store.take_in(taken_in.clone()).await.unwrap();
    let user = stored.spec.user.clone();
    let of =
        |tasks: &[TaskRecord]| -> Vec<_> { tasks.iter().filter_map(SubmittedUnder::of).collect() };

    // when each is asked for while the database is away,
    let found = async |key| store.submitted(&user, key).await;
    assert_eq!(found("journaled").await.unwrap(), of(&journaled));
    let one = std::slice::from_ref(&taken_in);
    assert_eq!(found("taken in").await.unwrap(), of(one));
    // what lies only there, or nowhere, is not answered with "there is none";
    for key in ["stored", "never"] {
        let error = found(key).await.unwrap_err();
        assert!(matches!(error, ReadError::OutOfReach { .. }), "{error}");
    }

    // then all are found when it is back.
    database.comes_back();
    is_well(&store).await;
    let one = std::slice::from_ref(&stored);
    assert_eq!(found("stored").await.unwrap(), of(one));
    assert_eq!(found("journaled").await.unwrap(), of(&journaled));
    let one = std::slice::from_ref(&taken_in);
    assert_eq!(found("taken in").await.unwrap(), of(one));
    assert_eq!(found("never").await.unwrap(), []);
    store.close().await.unwrap();
}
