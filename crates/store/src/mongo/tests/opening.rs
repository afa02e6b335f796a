//! What keeps a database from being opened is said, and no credential with it.

use std::time::Duration;

use cloudai_model::record::Record;
use mongodb::bson::doc;

use crate::mongod::{ReplicaSet, Server, client, made_by_script};
use crate::{
    MongoOpenError, MongoSettings, MongoStore, Store as _,
    conformance::{commit, loaded, sample, worker},
    mongo::{head, settings::Limits},
};

const PASSWORD: &str = "hunter2@home";

async fn refused(settings: &MongoSettings) -> (MongoOpenError, String) {
    let limits = Limits {
        find_server: Duration::from_secs(2),
        ..Limits::default()
    };
    let Err(error) = MongoStore::open_within(settings, limits).await else {
        panic!("opened");
    };
    let mut shown = format!("{error} {error:?}");
    let mut next: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = next {
        shown.push_str(&format!(" | {error}"));
        next = error.source();
    }
    for secret in [PASSWORD, "hunter2", "wrong-one"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    (error, shown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_open_it_and_wrong_ones_are_refused_without_being_said() {
    // Given a server that asks who is there,
    let server = Server::start(&["--auth"]);
    let user = doc! {
        "createUser": "ann",
        "pwd": PASSWORD,
        "roles": ["readWriteAnyDatabase"],
    };
    server.admin(user).await.unwrap();
    let with = |username: Option<&str>, password: Option<&str>| MongoSettings {
        username: username.map(str::to_owned),
        password: password.map(str::to_owned),
        ..server.settings()
    };
    let by_uri = |password: &str| MongoSettings {
        uri: Some(format!(
            "mongodb://ann:{password}@127.0.0.1:{}/jobs?authSource=admin",
            server.port
        )),
        ..MongoSettings::default()
    };

    // when the wrong ones are given, or none,
    for settings in [
        with(Some("ann"), Some("wrong-one")),
        with(Some("eve"), Some(PASSWORD)),
        with(None, None),
        by_uri("wrong-one"),
    ] {
        // then that is said, and how they are given;
        let (error, shown) = refused(&settings).await;
        assert!(matches!(error, MongoOpenError::Refused { .. }), "{shown}");
        assert!(shown.contains("MONGODB_USERNAME"), "{shown}");
    }

    // with the right ones it opens, and says none of them.
    for settings in [with(Some("ann"), Some(PASSWORD)), by_uri("hunter2%40home")] {
        let store = MongoStore::open(&settings).await.unwrap();
        commit(&store, [sample(1).added()]).await;
        let shown = format!("{} {settings:?}", store.describe());
        assert!(!shown.contains("hunter2"), "{shown}");
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_with_a_server_whose_authority_is_named() {
    let certificate = made_by_script("tls/server.pem");
    let authority = made_by_script("tls/ca.pem");
    let server = Server::start(&[
        "--tlsMode",
        "preferTLS",
        "--tlsCertificateKeyFile",
        certificate.to_str().unwrap(),
        "--tlsCAFile",
        authority.to_str().unwrap(),
        "--tlsAllowConnectionsWithoutCertificates",
    ]);
    let with = |options: &str| MongoSettings {
        uri: Some(format!(
            "mongodb://localhost:{}/jobs?{options}",
            server.port
        )),
        ..MongoSettings::default()
    };
    let named = format!("tls=true&tlsCAFile={}", authority.display());
    let store = MongoStore::open(&with(&named)).await.unwrap();
    commit(&store, [sample(1).added()]).await;
    store.close().await.unwrap();

    let (error, shown) = refused(&with("tls=true")).await;
    assert!(
        matches!(error, MongoOpenError::Unreachable { .. }),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_and_no_primary_are_one_clear_error() {
    let server = Server::start(&[]);
    let nobody = server.settings();
    server.kill();
    let set = ReplicaSet::start();
    let store = MongoStore::open(&set.settings()).await.unwrap();
    store.close().await.unwrap();
    // One of three is no majority.
    set.members[1..].iter().for_each(Server::kill);
    for settings in [nobody, set.settings()] {
        let (error, shown) = refused(&settings).await;
        assert!(
            matches!(error, MongoOpenError::Unreachable { .. }),
            "{shown}"
        );
        assert!(shown.contains("with a primary"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_and_left_as_it_is() {
    let server = Server::start(&[]);
    let settings = server.settings();
    let store = MongoStore::open(&settings).await.unwrap();
    store.close().await.unwrap();
    let database = settings.database.as_deref().unwrap();
    let heads = client(&server.uri())
        .await
        .database(database)
        .collection("BATCHES");
    let newer = doc! { "$set": { "schema": 7_i64 } };
    heads.update_one(doc! {}, newer).await.unwrap();
    let before: Option<mongodb::bson::Document> = heads.find_one(doc! {}).await.unwrap();

    let (error, shown) = refused(&settings).await;

    let newer = matches!(
        error,
        MongoOpenError::Newer {
            found: 7,
            known: head::SCHEMA,
            ..
        }
    );
    assert!(newer, "{shown}");
    assert_eq!(heads.find_one(doc! {}).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_schema_is_this_ones_from_the_start_on_which_takes_it() {
    let server = Server::start(&[]);
    let settings = server.settings();
    MongoStore::open(&settings)
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let database = client(&server.uri()).await;
    let database = database.database(settings.database.as_deref().unwrap());
    let heads = database.collection::<mongodb::bson::Document>("BATCHES");
    let older = doc! { "$set": { "schema": head::SCHEMA - 1 } };
    heads.update_one(doc! {}, older).await.unwrap();
    MongoStore::open(&settings)
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let found = heads.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(found.get_i64("schema").unwrap(), head::SCHEMA);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_makes_the_indexes_that_are_read_along() {
    let server = Server::start(&[]);
    let settings = server.settings();
    let store = MongoStore::open(&settings).await.unwrap();
    let it = sample(1);
    let life = [it.added(), it.assigned(), it.resulted(), it.uploaded()];
    commit(&store, life).await;
    commit(&store, [Record::Worker(worker("w-1"))]).await;
    let database = client(&server.uri()).await;
    let database = database.database(settings.database.as_deref().unwrap());
    for (collection, expected) in [
        (
            "TASKS",
            &[
                "cloudai_end",
                "cloudai_number",
                "cloudai_order",
                "cloudai_status",
                "cloudai_submit",
                "cloudai_user",
                "cloudai_user_status",
                "cloudai_worker",
            ][..],
        ),
        ("ASSIGNMENTS", &["cloudai_open", "cloudai_task"]),
        ("RESULTS", &["cloudai_order"]),
        ("FILE_METADATA", &["cloudai_bytes", "cloudai_user"]),
        ("API_KEYS", &["cloudai_user"]),
        ("ENDED_TOKENS", &["cloudai_until"]),
        (
            "AUDIT",
            &[
                "cloudai_action",
                "cloudai_at",
                "cloudai_number",
                "cloudai_user",
            ],
        ),
        // Few, and read as a whole or by id.
        ("WORKER_REGISTRY", &[]),
    ] {
        let collection = database.collection::<mongodb::bson::Document>(collection);
        let mut names = collection.list_index_names().await.unwrap();
        names.retain(|name| name != "_id_");
        names.sort_unstable();
        assert_eq!(names, expected);
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_of_a_replica_set_leads_to_the_others() {
    let set = ReplicaSet::start();
    let primary = set.primary().await.port;
    let other = set.members.iter().find(|it| it.port != primary).unwrap();
    let store = MongoStore::open(&other.settings()).await.unwrap();
    commit(&store, [sample(1).added()]).await;
    assert_eq!(loaded(&store).await.1.order, 1);
    store.close().await.unwrap();
}
