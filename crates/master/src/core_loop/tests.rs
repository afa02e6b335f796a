//! Records of the shell's own: behind the core's, in their order, flushed before they are answered,
//! and tried as long as those.

use std::{future::Future, sync::Arc, task::Poll, time::Duration};

use cloudai_core::{Answer, Core, Effect, Input, policy};
use cloudai_model::{
    AccountState, ClusterId, Role, TaskDraft, TaskId, UserLimits, UserName, Wall,
    account::{AccountChange, AuditRecord, UserRecord},
    record::{Record, TaskRecord},
};
use cloudai_store::{
    AuditQuery, CommitError, FakeDatabase, JournalSettings, JournaledStore, MemoryStore, Store,
    TaskQuery,
};
use tempfile::TempDir;

use super::{CoreHandle, Effects, KeepError, LoopError, Started, Stopped, start};
use crate::{room::Room, snapshot::Snapshots};

struct NoEffects;

impl Effects for NoEffects {
    fn added(&mut self, _: &TaskRecord) {}

    fn changed(&mut self, _: &TaskId) {}

    fn run(&mut self, _: Effect) {}
}

fn started_on(store: Arc<dyn Store>) -> Started {
    let cluster: ClusterId = "c-1".parse().unwrap();
    let settings = cloudai_core::Settings::default();
    let core = Core::new(settings, Box::new(policy::RoundRobin), cluster.clone());
    let snapshots = Snapshots::unready(cluster);
    start(core, store, NoEffects, snapshots, Room::endless())
}

/// A loop whose database is away as told, with no journal to go on with.
pub(crate) async fn on_a_fake(required: bool) -> (Started, FakeDatabase, Arc<dyn Store>, TempDir) {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let settings = JournalSettings {
        data_dir: folder.path().to_owned(),
        required,
        journal_after: Duration::from_secs(5),
    };
    if !required {
        database.goes_away();
    }
    let store = JournaledStore::open_over_fake(settings, &database).await;
    let store: Arc<dyn Store> = Arc::new(store.unwrap());
    (started_on(store.clone()), database, store, folder)
}

pub(crate) fn user(name: &str) -> Record {
    let at = Wall(1_700_000_000_000);
    Record::Account(AccountChange::User(Box::new(UserRecord {
        user: name.parse().unwrap(),
        name: String::new(),
        email: String::new(),
        password_hash: String::new(),
        role: Role::User,
        state: AccountState::Active,
        generation: 0,
        limits: UserLimits::default(),
        created_at: at,
        updated_at: at,
    })))
}

fn gone(name: &str) -> Record {
    Record::Account(AccountChange::UserRemoved(name.parse().unwrap()))
}

fn entry(number: u64, action: &str) -> Record {
    Record::Account(AccountChange::Audit(Box::new(AuditRecord {
        number,
        at: Wall(1_700_000_000_000),
        user: Some(UserName::admin()),
        key: None,
        from: "console".to_owned(),
        action: action.to_owned(),
        target: String::new(),
        done: true,
        detail: String::new(),
        request: String::new(),
    })))
}

async fn submit(core: CoreHandle) -> Result<Answer, Stopped> {
    let draft = TaskDraft {
        docker_image: "busybox".to_owned(),
        ..TaskDraft::default()
    };
    let (task, spec) = draft.check().unwrap();
    let spec = Arc::new(spec);
    core.call(move |call| Input::Submit { call, task, spec })
        .await
}

async fn names(store: &dyn Store) -> Vec<String> {
    let users = store.accounts().await.unwrap().users;
    users.iter().map(|user| user.user.to_string()).collect()
}

/// Lets it hand its message in; whether it has been answered by then.
async fn begun<F: Future + Unpin>(work: &mut F) -> bool {
    std::future::poll_fn(|context| {
        Poll::Ready(std::pin::Pin::new(&mut *work).poll(context).is_ready())
    })
    .await
}

#[tokio::test]
async fn what_is_kept_is_stored_when_it_is_answered_and_in_order() {
    // Given a loop that has read its store,
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let Started { core, ready, .. } = started_on(store.clone());
    ready.await.unwrap();

    // when records are kept, each call's flushed before it returns,
    core.keep(vec![user("ann"), entry(1, "user.make")])
        .await
        .unwrap();
    assert_eq!(names(&*store).await, ["ann"]);
    core.keep(Vec::new()).await.unwrap();

    // and several wait at once, among them a submit,
    let calls = tokio::join!(
        submit(core.clone()),
        core.keep(vec![user("bob")]),
        core.keep(vec![gone("ann"), user("cem")]),
        core.keep(vec![gone("bob"), entry(2, "user.remove")]),
        submit(core.clone()),
        core.keep(vec![user("ann")]),
    );

    // then all of them are there as they came one behind the other.
    assert!(matches!(calls.0, Ok(Answer::Submitted(Ok(_)))));
    assert_eq!(
        (calls.1, calls.2, calls.3, calls.5),
        (Ok(()), Ok(()), Ok(()), Ok(()))
    );
    assert_eq!(names(&*store).await, ["ann", "cem"]);
    let audit = store.audit(&AuditQuery::newest(9)).await.unwrap();
    let numbers: Vec<_> = audit.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [2, 1]);
    assert_eq!(store.tasks(&TaskQuery::newest(9)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_a_user_may_have_holds_with_the_record_that_says_so() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let Started { core, ready, .. } = started_on(store.clone());
    ready.await.unwrap();
    let at_most = |queued_tasks| {
        let Record::Account(AccountChange::User(mut user)) = user("admin") else {
            unreachable!("a user is one");
        };
        user.limits.queued_tasks = queued_tasks;
        vec![Record::Account(AccountChange::User(user))]
    };
    let is_taken = async || {
        let answer = submit(core.clone()).await.unwrap();
        matches!(answer, Answer::Submitted(Ok(_)))
    };
    // Of two at once the one that is stored last holds.
    let both = tokio::join!(core.keep(at_most(Some(9))), core.keep(at_most(Some(1))));
    assert_eq!(both, (Ok(()), Ok(())));
    assert!(is_taken().await && !is_taken().await);
    core.keep(at_most(Some(2))).await.unwrap();
    assert!(is_taken().await && !is_taken().await);
    core.keep(vec![gone("admin")]).await.unwrap();
    assert!(is_taken().await && is_taken().await);
}

#[tokio::test]
async fn while_the_store_is_stuck_nothing_is_answered_and_then_all_of_it_is_there() {
    // Given a store that can't be written,
    let (Started { core, ready, .. }, database, _, _folder) = on_a_fake(true).await;
    ready.await.unwrap();
    database.goes_away();

    // when a task is submitted and records are kept behind it,
    let mut submitted = Box::pin(submit(core.clone()));
    let mut kept = Box::pin(core.keep(vec![user("ann")]));
    let mut more = Box::pin(core.keep(vec![gone("ann"), user("bob")]));
    assert!(!begun(&mut submitted).await && !begun(&mut kept).await && !begun(&mut more).await);
    let soon = Duration::from_millis(300);
    let early = tokio::time::timeout(soon, &mut more).await;
    early.expect_err("nothing is answered before it is flushed");
    assert!(database.kept().accounts().await.unwrap().users.is_empty());

    // then they are tried again until the store takes them, in the same order.
    database.comes_back();
    assert_eq!(more.await, Ok(()));
    let stored = database.kept();
    assert_eq!(names(stored).await, ["bob"]);
    assert_eq!(stored.tasks(&TaskQuery::newest(9)).await.unwrap().len(), 1);
    assert!(matches!(submitted.await, Ok(Answer::Submitted(Ok(_)))));
    assert_eq!(kept.await, Ok(()));
}

#[tokio::test]
async fn nothing_is_kept_before_the_store_has_been_read() {
    let (Started { core, ready, .. }, database, _, _folder) = on_a_fake(false).await;

    assert_eq!(core.keep(vec![user("ann")]).await, Err(KeepError::NotReady));

    database.comes_back();
    ready.await.unwrap();
    core.keep(vec![user("bob")]).await.unwrap();
    assert_eq!(names(database.kept()).await, ["bob"]);
}

#[tokio::test]
async fn what_was_handed_in_before_the_end_is_flushed_and_what_comes_later_is_refused() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let Started { core, ready, ended } = started_on(store.clone());
    ready.await.unwrap();

    let (kept, ()) = tokio::join!(core.keep(vec![user("ann")]), core.stop());

    assert_eq!(kept, Ok(()));
    ended.await.unwrap().unwrap();
    assert_eq!(names(&*store).await, ["ann"]);
    let refused = core.keep(vec![user("bob")]).await;
    assert_eq!(refused, Err(KeepError::Stopped(Stopped)));
}

#[tokio::test]
async fn what_the_store_refuses_for_good_ends_the_loop_and_is_not_called_kept() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let Started { core, ready, ended } = started_on(store.clone());
    ready.await.unwrap();
    core.keep(vec![entry(1, "login")]).await.unwrap();

    let refused = core.keep(vec![user("ann"), entry(1, "another")]).await;

    assert_eq!(refused, Err(KeepError::Stopped(Stopped)));
    let error = ended.await.unwrap().unwrap_err();
    let conflict = matches!(error, LoopError::Commit(CommitError::Conflict { .. }));
    assert!(conflict, "{error:?}");
    assert!(names(&*store).await.is_empty());
}
