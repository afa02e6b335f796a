//! Over real servers: MongoDB with a journal before it is the same store, and what one of them misses
//! it has when it is back.

use std::{
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mongodb::bson::doc;

use super::{is_degraded, is_well, kill, life};
use crate::{
    JournalSettings, JournaledOpenError, JournaledStore, MongoSettings, MongoStore, Store as _,
    TaskQuery,
    conformance::{Place, loaded, sample},
    mongod::{READY_WITHIN, ReplicaSet, Server, client},
};

async fn open(data_dir: &Path, mongodb: &MongoSettings) -> JournaledStore {
    open_within(Duration::from_secs(1), data_dir, mongodb).await
}

async fn open_within(
    journal_after: Duration,
    data_dir: &Path,
    mongodb: &MongoSettings,
) -> JournaledStore {
    let settings = JournalSettings {
        data_dir: data_dir.to_owned(),
        required: false,
        journal_after,
    };
    JournaledStore::open(settings, mongodb.clone())
        .await
        .unwrap()
}

mod on_a_single_server {
    use super::{Arc, LazyLock, Place, READY_WITHIN, Server, open_within};

    static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(&[]));

    fn place() -> (Place, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (data_dir, mongodb) = (folder.path().to_owned(), SERVER.settings());
        let open = move || {
            // A slow machine makes no outage here.
            let opening = open_within(READY_WITHIN, &data_dir, &mongodb);
            let runtime = tokio::runtime::Handle::current();
            let store = tokio::task::block_in_place(|| runtime.block_on(opening));
            Arc::new(store) as Arc<dyn crate::Store>
        };
        let place = Place {
            open: Box::new(open),
            keeps: true,
        };
        (place, folder)
    }

    crate::conformance::suite!(super::place);
}

/// That every task up to the last is there once, whole.
async fn all_are_there(mongodb: &MongoSettings, last: u64) {
    let store = MongoStore::open(mongodb).await.unwrap();
    assert_eq!(loaded(&store).await.1.order, last);
    let tasks = store
        .tasks(&TaskQuery::newest(usize::MAX >> 1))
        .await
        .unwrap();
    let orders: Vec<u64> = tasks.iter().rev().map(|task| task.order).collect();
    assert_eq!(orders, (1..=last).collect::<Vec<_>>());
    for number in 1..=last {
        let it = sample(number);
        assert_eq!(store.task(it.id()).await.unwrap().unwrap().state, it.done);
        assert_eq!(
            store.result(it.id()).await.unwrap(),
            Some(it.result.clone())
        );
        assert_eq!(store.files(it.id()).await.unwrap(), Some(it.files));
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_commits_has_all_of_them_when_it_is_back() {
    // Given a stream of commits to a single server, which is killed in the midst of it,
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start(&[]));
    let mongodb = server.settings();
    let store = Arc::new(open(folder.path(), &mongodb).await);
    let said = Arc::new(AtomicU64::new(0));
    let stream = tokio::spawn({
        let (store, said) = (Arc::clone(&store), Arc::clone(&said));
        async move {
            for number in 1..=120 {
                store.commit(life(number)).await.unwrap();
                said.store(number, Ordering::Relaxed);
            }
        }
    });
    super::eventually("some commits", async || said.load(Ordering::Relaxed) >= 20).await;
    tokio::task::block_in_place(|| server.kill());

    // when all are answered, the master is killed, and starts again without it,
    stream.await.unwrap();
    is_degraded(&store).await;
    kill(Arc::into_inner(store).unwrap()).await;
    let store = open(folder.path(), &mongodb).await;
    assert!(store.degraded().unwrap().changes > 0);

    // then all are there once, when it is back.
    tokio::task::block_in_place(|| server.again());
    is_well(&store).await;
    store.commit(life(121)).await.unwrap();
    assert_eq!(JournaledStore::left_in(folder.path()), None);
    store.close().await.unwrap();
    drop(store);
    all_are_there(&mongodb, 121).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_set_without_a_primary_is_out_of_reach_and_well_again_by_itself() {
    let (folder, set) = (tempfile::tempdir().unwrap(), ReplicaSet::start());
    let mongodb = set.settings();
    let store = open(folder.path(), &mongodb).await;
    store.commit(life(1)).await.unwrap();
    // One of three is no majority.
    let others = &set.members[1..];
    tokio::task::block_in_place(|| others.iter().for_each(Server::kill));
    for number in 2..=30 {
        store.commit(life(number)).await.unwrap();
    }
    assert!(store.degraded().is_some());
    tokio::task::block_in_place(|| others.iter().for_each(Server::again));
    is_well(&store).await;
    store.commit(life(31)).await.unwrap();
    store.close().await.unwrap();
    all_are_there(&mongodb, 31).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_another_master_took_while_this_one_was_down_is_left_alone() {
    // Given a journal that a server lacks,
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start(&[]));
    let mongodb = server.settings();
    let store = open(folder.path(), &mongodb).await;
    tokio::task::block_in_place(|| server.kill());
    store.commit(life(1)).await.unwrap();
    kill(store).await;
    tokio::task::block_in_place(|| server.again());
    let database = client(&server.uri()).await;
    let database = database.database(mongodb.database.as_deref().unwrap());
    let heads = database.collection::<mongodb::bson::Document>("BATCHES");
    let before = heads.find_one(doc! {}).await.unwrap().unwrap();

    // when another master has had the database, or it is another one under the same name,
    let other = MongoStore::open(&mongodb).await.unwrap();
    other.commit(life(1)).await.unwrap();
    other.close().await.unwrap();
    let settings = JournalSettings {
        data_dir: folder.path().to_owned(),
        required: false,
        journal_after: Duration::from_secs(1),
    };
    for gone in [false, true] {
        if gone {
            database.drop().await.unwrap();
        }
        let opened = JournaledStore::open(settings.clone(), mongodb.clone()).await;

        // then it is refused, and nothing is written there.
        let error = opened.err().unwrap();
        let kept = matches!(error, JournaledOpenError::NotTheSame { changes: 6, .. });
        assert!(kept, "{error}");
        let head = heads.find_one(doc! {}).await.unwrap();
        assert!(head.is_none() == gone && head != Some(before.clone()));
    }
    heads.insert_one(before).await.unwrap();
    let store = open(folder.path(), &mongodb).await;
    is_well(&store).await;
    store.close().await.unwrap();
    drop(store);
    all_are_there(&mongodb, 1).await;
}
