//! A store moves to MongoDB and back, and a master at work on MongoDB is backed up.

use std::fs;

use cloudai_store::mongod::{ReplicaSet, Server};
use cloudai_tests::{cluster::Cluster, programs::programs};
use tokio::process::Command;

use crate::{blocking, host, is_well, listed, submit_once};

/// Runs a subcommand of `master-node` where a cluster's master runs: its exit code and all it says.
async fn tool(cluster: &Cluster, words: &str) -> (i32, String) {
    let mut command = Command::new(&programs().master);
    command.args(words.split(' '));
    let run = command
        .current_dir(cluster.path(""))
        .output()
        .await
        .unwrap();
    let said = [run.stdout, run.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (run.status.code().unwrap(), said)
}

/// What master and subcommands find in their working directory.
fn settings(cluster: &Cluster, store: &str, more: &str) {
    let text = format!("CLOUDAI_DATA_DIR=master\nCLOUDAI_STORE={store}\n{more}\n");
    fs::write(cluster.path(".env"), text).unwrap();
}

async fn ends(cluster: &mut Cluster) {
    cluster.master.type_line("exit").await;
    assert_eq!(cluster.master.ends().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_to_mongodb_and_back_with_everything() {
    // Given a master on SQLite with a task that is over, one that waits, and a worker,
    let server = blocking(|| Server::start(&[]));
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 0.5).await;
    let over = cluster.submit(&["exit", "3"]).await;
    cluster.has_status(&over, "failed").await;
    let worker = cluster.workers.remove("worker-1").unwrap();
    worker.kill().await;
    let waits = cluster.submit(&["exit", "0"]).await;
    let mongodb = format!("MONGODB_HOST={}", host(&server));
    settings(&cluster, "sqlite", &mongodb);
    let copy = "store copy --from sqlite --to mongodb";
    let (code, said) = tool(&cluster, copy).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("in use by another master"), "{said}");
    ends(&mut cluster).await;

    // when its store is copied to MongoDB,
    let (code, said) = tool(&cluster, copy).await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = tool(&cluster, copy).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is not empty: it holds cluster c-"), "{said}");

    // then a master on MongoDB goes on with it,
    settings(&cluster, "mongodb", &mongodb);
    cluster.restart_master().await;
    cluster.master.says("✓ Store ready: mongodb").await;
    is_well(&cluster).await;
    assert_eq!(listed(&mut cluster).await, [over.clone(), waits.clone()]);
    let (code, said) = tool(&cluster, "store check").await;
    assert_eq!(code, 0, "{said}");
    cluster.restart_worker("worker-1", 0.5);
    cluster.has_status(&waits, "completed").await;
    let back = "store copy --from mongodb --to sqlite --to-data-dir back";
    let (code, said) = tool(&cluster, back).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("in use by a master"), "{said}");
    ends(&mut cluster).await;

    // and back again.
    let (code, said) = tool(&cluster, back).await;
    assert_eq!(code, 0, "{said}");
    fs::remove_file(cluster.path("master/cloudai.db")).unwrap();
    fs::rename(
        cluster.path("back/cloudai.db"),
        cluster.path("master/cloudai.db"),
    )
    .unwrap();
    settings(&cluster, "sqlite", "");
    cluster.restart_master().await;
    cluster.worker_is_active("worker-1").await;
    assert_eq!(listed(&mut cluster).await, [over.clone(), waits.clone()]);
    assert_eq!(cluster.task(&over).await["exit_code"], 3);
    assert_eq!(cluster.task(&waits).await["status"], "completed");
    let (code, said) = tool(&cluster, "store check").await;
    assert_eq!(code, 0, "{said}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_at_work_on_a_replica_set_is_backed_up_as_of_one_instant() {
    // Given a master on a replica set, under a stream of submits,
    let set = blocking(ReplicaSet::start);
    let uri = set.settings().uri.unwrap();
    let mut cluster = Cluster::start_in("127.0.0.1", &[], &[]).await;
    ends(&mut cluster).await;
    fs::remove_dir_all(cluster.path("master")).unwrap();
    settings(&cluster, "mongodb", &format!("MONGODB_URI={uri}"));
    cluster.restart_master().await;
    is_well(&cluster).await;
    let mut client = cluster.client().await;
    let mut before = Vec::new();
    for _ in 0..20 {
        before.push(submit_once(&mut client).await.unwrap().0);
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let submitting = tokio::spawn(async move {
        let mut since = Vec::new();
        while !*stopped.borrow() {
            since.push(submit_once(&mut client).await.unwrap().0);
        }
        since
    });

    // when it is backed up meanwhile,
    let (code, said) = tool(&cluster, "backup --to backup.tar.gz").await;
    stop.send_replace(true);
    let since = submitting.await.unwrap();
    assert_eq!(code, 0, "{said}");
    assert!(!since.is_empty());
    ends(&mut cluster).await;

    // then a restore, to SQLite or to another database, has all that was accepted before it began,
    // and of what came meanwhile the first ones.
    let other = format!("MONGODB_URI={uri}\nMONGODB_DATABASE=restored");
    for (store, more) in [("sqlite", ""), ("mongodb", other.as_str())] {
        fs::rename(
            cluster.path("master"),
            cluster.path(&format!("before-{store}")),
        )
        .unwrap();
        settings(&cluster, store, more);
        let (code, said) = tool(&cluster, "restore --from backup.tar.gz").await;
        assert_eq!(code, 0, "{said}");
        let (code, said) = tool(&cluster, "store check").await;
        assert_eq!(code, 0, "{said}");
        cluster.restart_master().await;
        is_well(&cluster).await;
        let all = [before.clone(), since.clone()].concat();
        let there = listed(&mut cluster).await;
        assert!(there.len() >= before.len(), "{}", there.len());
        assert!(all.starts_with(&there), "{} of {}", there.len(), all.len());
        let (code, said) = tool(&cluster, "restore --from backup.tar.gz").await;
        assert_eq!(code, 1, "{said}");
        ends(&mut cluster).await;
    }

    // A database that holds something is refused, and a master can begin in the data directory.
    fs::rename(cluster.path("master"), cluster.path("restored")).unwrap();
    let (code, said) = tool(&cluster, "restore --from backup.tar.gz").await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is not empty: it holds cluster c-"), "{said}");
    assert!(!cluster.path("master/cloudai.unfinished").exists());
}
