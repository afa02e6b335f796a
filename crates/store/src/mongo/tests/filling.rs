//! A database that is being filled, one that a master is at work on, and one that was left with a
//! batch half carried out.

use std::time::Duration;

use mongodb::bson::{Document, doc};

use crate::{
    Export as _, MongoFilling, MongoOpenError, MongoReader, MongoSettings, MongoStore, ReadError,
    Store as _,
    conformance::{commit, exported, loaded, sample},
    mongod::{Server, client},
};

async fn heads(server: &Server, settings: &MongoSettings) -> mongodb::Collection<Document> {
    let client = client(&server.uri()).await;
    client
        .database(settings.database.as_deref().unwrap())
        .collection("BATCHES")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_half_filled_is_no_store_and_the_next_filling_begins_anew() {
    // Given a filling that was broken off,
    let server = Server::start(&[]);
    let settings = server.settings();
    let filling = MongoFilling::begin(&settings, "a copy of it")
        .await
        .unwrap();
    commit(
        &*filling.store(),
        [sample(1).added(), sample(1).log_removed()],
    )
    .await;
    commit(
        &*filling.store(),
        [sample(9).added(), sample(9).forgotten()],
    )
    .await;
    filling.store().close().await.unwrap();
    drop(filling);

    // then neither a master nor a reader takes it for a store;
    let refused = MongoStore::open(&settings).await.err().unwrap();
    let not_read = MongoReader::open(&settings).await.err().unwrap();
    for error in [refused, not_read] {
        let shown = error.to_string();
        assert!(
            matches!(error, MongoOpenError::Unfinished { .. }),
            "{shown}"
        );
        assert!(shown.contains("half filled: a copy of it"), "{shown}");
    }

    // the next one begins with nothing of it, and is a store when it is done.
    let filling = MongoFilling::begin(&settings, "a copy of it")
        .await
        .unwrap();
    assert_eq!(loaded(&*filling.store()).await, Default::default());
    assert_eq!(exported(&filling.reader()).await.unwrap(), []);
    commit(&*filling.store(), [sample(2).added()]).await;
    filling.finish().await.unwrap();
    let store = MongoStore::open(&settings).await.unwrap();
    assert_eq!(loaded(&store).await.0, [sample(2).added()]);
    store.close().await.unwrap();

    // Where a store is, nothing is filled.
    let error = MongoFilling::begin(&settings, "a copy")
        .await
        .err()
        .unwrap();
    let shown = error.to_string();
    assert!(matches!(error, MongoOpenError::Occupied { .. }), "{shown}");
    assert!(shown.contains("1 task (1 queued)"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_at_work_is_seen_until_it_ends_or_has_been_silent() {
    let server = Server::start(&[]);
    let settings = server.settings();
    let heads = heads(&server, &settings).await;
    let in_use = async || {
        let reader = MongoReader::open(&settings).await.unwrap();
        match reader.unused().await {
            Ok(_) => false,
            Err(MongoOpenError::InUse { .. }) => true,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(!in_use().await);

    // Given a master at work, whose first sign of life may take a moment,
    let store = MongoStore::open(&settings).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), async {
        while !in_use().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let error = MongoFilling::begin(&settings, "a copy")
        .await
        .err()
        .unwrap();
    assert!(matches!(error, MongoOpenError::InUse { .. }), "{error}");

    // when it ends, then nobody is there;
    store.close().await.unwrap();
    assert!(!in_use().await);

    // and one that was killed is gone after its silence.
    let seen = |ago: &str| {
        let ago: i64 = ago.parse().unwrap();
        let seen =
            doc! { "$dateSubtract": { "startDate": "$$NOW", "unit": "second", "amount": ago } };
        vec![doc! { "$set": { "owner": "killed", "seen_at": seen } }]
    };
    heads
        .update_one(doc! { "_id": "alive" }, seen("3"))
        .upsert(true)
        .await
        .unwrap();
    assert!(in_use().await);
    heads
        .update_one(doc! { "_id": "alive" }, seen("20"))
        .await
        .unwrap();
    assert!(!in_use().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_not_carried_out_is_never_left_out() {
    // Given a single server whose head names a batch of which a document is missing, as a crash
    // leaves it,
    let server = Server::start(&[]);
    let settings = server.settings();
    let store = MongoStore::open(&settings).await.unwrap();
    commit(&store, [sample(1).added(), sample(2).added()]).await;
    store.close().await.unwrap();
    let reader = MongoReader::open(&settings).await.unwrap();
    assert_eq!(exported(&reader).await.unwrap().len(), 2);
    let tasks: mongodb::Collection<Document> = client(&server.uri())
        .await
        .database(settings.database.as_deref().unwrap())
        .collection("TASKS");
    let id = sample(2).id().to_string();
    tasks.delete_one(doc! { "_id": id }).await.unwrap();

    // when all of it is read, then that is said;
    let (sink, _source) = tokio::sync::mpsc::channel(9);
    let error = reader.export(sink).await.unwrap_err();
    assert!(matches!(error, ReadError::Unsettled { .. }), "{error}");

    // and a master that starts carries it out.
    let store = MongoStore::open(&settings).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(exported(&reader).await.unwrap().len(), 2);
}
