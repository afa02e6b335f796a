//! What keeps a master from starting on MongoDB is said in one line, without a secret.

use std::path::Path;

use cloudai_store::mongod::{
    Server,
    bson::{Document, doc},
    client,
};
use cloudai_tests::{
    cluster::{Cluster, free_port, test_task},
    process::Process,
    programs::programs,
};
use tokio::process::Command;

use crate::{blocking, host};

const PASSWORD: &str = "hunter2";

/// Starts a master in this folder, which ends by itself: its exit code and all it said.
async fn ends(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut master = start(folder, args, env);
    let code = master.ends().await;
    // Its last words may still be on their way through the pipe.
    let said = master.says("error: ").await;
    let all = master.lines().join("\n");
    assert!(!all.contains(PASSWORD), "{all}");
    (code, said)
}

/// Starts a master in this folder.
pub(crate) fn start(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Process {
    let mut command = Command::new(&programs().master);
    if !args.contains(&"-data-dir") {
        command.args(["-data-dir", "data"]);
    }
    for flag in ["-grpc", "-http"] {
        command.args([flag, &format!("127.0.0.1:{}", free_port())]);
    }
    command.args(args).envs(env.iter().copied());
    Process::spawn("master", command, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_newer_store_keep_it_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let server = blocking(|| Server::start(&["--auth"]));
    let user = doc! { "createUser": "ann", "pwd": PASSWORD, "roles": ["readWriteAnyDatabase"] };
    server.admin(user).await.unwrap();
    let host = host(&server);
    let with = |password| {
        [
            ("MONGODB_HOST", host.as_str()),
            ("MONGODB_USERNAME", "ann"),
            ("MONGODB_PASSWORD", password),
        ]
    };
    let (code, said) = ends(folder.path(), &[], &with("hunter22")).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("refuses the credentials"), "{said}");
    assert!(said.contains("MONGODB_PASSWORD"), "{said}");

    // With the right one it starts, and says it nowhere.
    let mut master = start(folder.path(), &["-log-level", "trace"], &with(PASSWORD));
    master.says("✓ Store ready: mongodb").await;
    master.says("gRPC server listening on").await;
    master.signal("TERM").await;
    assert_eq!(master.ends().await, Some(0));
    let all = master.lines().join("\n");
    assert!(!all.contains(PASSWORD), "{all}");

    let uri = format!("mongodb://ann:{PASSWORD}@{host}/?authSource=admin");
    let heads = client(&uri).await.database("cluster_db");
    let heads = heads.collection::<Document>("BATCHES");
    let newer = doc! { "$set": { "schema": 7_i64 } };
    heads.update_one(doc! {}, newer).await.unwrap();
    let (code, said) = ends(folder.path(), &[], &[("MONGODB_URI", &uri)]).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("has schema 7, and this program knows"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_the_settings_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("mongodb://ann:{PASSWORD}@x@db/");
    let nowhere = format!("127.0.0.1:{}", free_port());
    let (named, password) = (
        ("MONGODB_HOST", nowhere.as_str()),
        ("MONGODB_PASSWORD", PASSWORD),
    );
    for (args, env, expected) in [
        (
            &[][..],
            &[("MONGODB_URI", uri.as_str())][..],
            "MONGODB_URI can't be read",
        ),
        (&[], &[("MONGODB_HOST", "db:port")], "expected host:port"),
        (&[], &[password], "MONGODB_USERNAME is missing"),
        (
            &["-store-required"],
            &[named],
            "is out of reach, and with -store-required",
        ),
    ] {
        let (code, said) = ends(folder.path(), args, env).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    // A host that can't be reached is none: the master goes on without it.
    let mut master = start(folder.path(), &[], &[named]);
    master.says("⚠ Degraded: mongodb 127.0.0.1:").await;
    master.says("gRPC server listening on").await;
    master.type_line("status").await;
    master.says("the store has not been read yet").await;
    master.signal("TERM").await;
    assert_eq!(master.ends().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_store_is_not_passed_over_and_neither_is_a_journal() {
    // Given a data directory with a SQLite store with a task in it,
    let mut cluster = Cluster::start().await;
    cluster.submit_draft(test_task(&["exit", "0"])).await;
    cluster.master.type_line("exit").await;
    cluster.master.ends().await;
    let data = cluster.path("master").display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("127.0.0.1:{}", free_port());
    let env = [("MONGODB_HOST", nowhere.as_str())];

    // when MongoDB is chosen by the environment alone, then it is refused until one is named.
    let (code, said) = ends(folder.path(), &["-data-dir", &data], &env).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("expected -store mongodb or -store sqlite"),
        "{said}"
    );
    let mut master = start(
        folder.path(),
        &["-store", "sqlite", "-data-dir", &data],
        &env,
    );
    master.says("✓ Store ready: sqlite").await;
    master.signal("TERM").await;
    assert_eq!(master.ends().await, Some(0));

    // And when MongoDB left a journal with a task, another store is refused.
    let mut master = start(
        folder.path(),
        &["-store", "mongodb", "-data-dir", &data],
        &env,
    );
    master.says("⚠ Degraded").await;
    master.says("gRPC server listening on").await;
    master.type_line("task alpine:3.22").await;
    master.says("✓ Task ").await;
    master.signal("TERM").await;
    assert_eq!(master.ends().await, Some(0));
    let (code, said) = ends(
        folder.path(),
        &["-store", "sqlite", "-data-dir", &data],
        &env,
    )
    .await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("expected -store mongodb until it is gone"),
        "{said}"
    );
}
