//! Looking after a store with the real programs: a master at work is checked and backed up, an older
//! backup takes its place, and what can't be opened is refused with what to do.

use std::{fs, path::Path};

use cloudai_files::log::{LogStore, whole_len};
use cloudai_tests::{
    cluster::{Cluster, first, test_task},
    process::Process,
    programs::programs,
    wait::until,
};
use tokio::process::Command;

/// Runs a subcommand of `master-node` on a cluster's data directory: its exit code and all it says.
async fn tool(cluster: &Cluster, words: &str) -> (i32, String) {
    on(&cluster.path("master"), cluster, words).await
}

async fn on(data_dir: &Path, cluster: &Cluster, words: &str) -> (i32, String) {
    let mut command = Command::new(&programs().master);
    command
        .args(words.split(' '))
        .arg("-data-dir")
        .arg(data_dir);
    let run = command
        .current_dir(cluster.path(""))
        .output()
        .await
        .unwrap();
    let said = [run.stdout, run.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (run.status.code().unwrap(), said)
}

async fn killed(cluster: &mut Cluster) {
    cluster.kill_master().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_backup_takes_the_place_of_a_lost_master() {
    // Given a backup of a master at work: one task is over and left files, one runs and writes a
    // log, one runs and will have ended,
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 4.0).await;
    let over = cluster
        .submit(&["output", "model.bin", "100000", "7"])
        .await;
    cluster.has_status(&over, "completed").await;
    let goes_on = cluster.submit(&["lines", "150", "200"]).await;
    let ends = cluster.submit(&["touch-and-wait", "/output/up"]).await;
    for task in [&goes_on, &ends] {
        cluster.has_status(task, "running").await;
    }
    let logs = LogStore::new(cluster.path("master/logs"));
    until("the log to have come in part", async || {
        whole_len(&logs.path(&first(&goes_on)))
            .ok()
            .filter(|len| *len > 0)
    })
    .await;
    let (code, said) = tool(&cluster, "backup --to backup.tar.gz").await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("3 tasks (2 running, 1 completed)"), "{said}");
    assert!(said.contains("read back and whole"), "{said}");
    let (code, said) = tool(&cluster, "store check").await;
    assert_eq!(code, 0, "{said}");

    // and what came after it: one ended, one was submitted and runs.
    cluster.client().await.cancel(&ends).await;
    cluster.has_status(&ends, "cancelled").await;
    let unknown = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&unknown, "running").await;
    assert_eq!(cluster.container_count("worker-1").await, 2);

    // When the master is lost with its disk, and the backup restored,
    killed(&mut cluster).await;
    fs::rename(cluster.path("master"), cluster.path("lost")).unwrap();
    let (code, said) = tool(&cluster, "restore --from backup.tar.gz").await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = tool(&cluster, "store check").await;
    assert_eq!(code, 0, "{said}");
    cluster.restart_master().await;
    cluster.worker_is_active("worker-1").await;

    // then the container that goes on is taken up again, its log without gap or repeat;
    let entry = cluster.has_status(&goes_on, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    let log = cluster
        .client()
        .await
        .follow(&first(&goes_on), |_| {})
        .await;
    let lines = |text: &[u8]| String::from_utf8_lossy(text).lines().count();
    assert_eq!(lines(&log.stdout) + lines(&log.stderr), 150);
    // what had ended runs again, for the store doesn't know that it did;
    let entry = cluster.has_status(&ends, "running").await;
    assert_eq!(entry["attempt"], 2, "{entry}");
    cluster.client().await.cancel(&ends).await;
    cluster.has_status(&ends, "cancelled").await;
    // the container of the task that nobody knows is stopped;
    until("the unknown container to be gone", async || {
        (cluster.container_count("worker-1").await == 0).then_some(())
    })
    .await;
    let listed = cluster.json("list-tasks").await;
    assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");
    // a new task is given at once, for its number is above all that the worker has seen;
    let fresh = cluster.submit(&["exit", "0"]).await;
    let entry = cluster.has_status(&fresh, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    // and the files of the first are there.
    let model = cluster.path("master/files/admin").join(over.to_string());
    assert_eq!(
        fs::metadata(model.join("model.bin")).unwrap().len(),
        100_000
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_at_work_is_neither_copied_nor_overwritten() {
    let mut cluster = Cluster::start().await;
    let task = cluster.submit(&["exit", "0"]).await;
    let copy = "store copy --from sqlite --to sqlite --to-data-dir copied";
    let (code, said) = tool(&cluster, copy).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("in use by another master"), "{said}");
    assert!(!cluster.path("copied").exists());
    let (code, said) = tool(&cluster, "backup --to b.tar.gz --store-only").await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = tool(&cluster, "restore --from b.tar.gz").await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("is not empty: it holds cloudai.backups, cloudai.db"),
        "{said}"
    );
    let (code, said) = tool(&cluster, "backup --to b.tar.gz").await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is there already"), "{said}");

    // When it has ended, then it is copied, and a master serves the copy.
    cluster.master.type_line("exit").await;
    cluster.master.ends().await;
    let (code, said) = tool(&cluster, copy).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1 task (1 queued)"), "{said}");
    fs::rename(cluster.path("copied"), cluster.path("master")).unwrap_err();
    fs::rename(cluster.path("master"), cluster.path("old")).unwrap();
    fs::rename(cluster.path("copied"), cluster.path("master")).unwrap();
    cluster.restart_master().await;
    assert_eq!(cluster.task(&task).await["status"], "queued");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_master_can_take_is_refused_with_what_to_do() {
    let mut cluster = Cluster::start().await;
    cluster.submit(&["exit", "0"]).await;
    let (code, said) = tool(&cluster, "backup --to backup.tar.gz").await;
    assert_eq!(code, 0, "{said}");
    cluster.master.type_line("exit").await;
    cluster.master.ends().await;
    let file = cluster.path("master/cloudai.db");
    let whole = fs::read(&file).unwrap();
    let start = "-grpc 127.0.0.1:0 -http 127.0.0.1:0 -headless";

    // Given a damaged store: a start and a check name the backup, and nothing begins anew.
    fs::write(&file, &whole[..whole.len() / 3]).unwrap();
    for words in [start, "store check"] {
        let (code, said) = tool(&cluster, words).await;
        assert_eq!(code, 1, "{said}");
        for expected in ["is damaged", "backup.tar.gz", "master-node restore --from"] {
            assert!(said.contains(expected), "{expected} is missing in {said}");
        }
    }
    assert_eq!(fs::read(&file).unwrap(), &whole[..whole.len() / 3]);
    fs::remove_file(&file).unwrap();
    let (code, said) = tool(&cluster, "store check").await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is not there"), "{said}");
    assert!(!file.exists());
    fs::write(&file, &whole).unwrap();

    // A restore that was killed: no master starts on it, and the next restore mends it.
    let new = cluster.path("new");
    fs::create_dir(&new).unwrap();
    fs::write(
        new.join("cloudai.unfinished"),
        "a restore of backup.tar.gz\n",
    )
    .unwrap();
    fs::create_dir(new.join("logs")).unwrap();
    let (code, said) = on(&new, &cluster, start).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("half filled: a restore of backup.tar.gz"),
        "{said}"
    );
    let (code, said) = on(&new, &cluster, "restore --from backup.tar.gz").await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = on(&new, &cluster, "store check").await;
    assert_eq!(code, 0, "{said}");

    // A backup cut short, and a directory that nobody may write to.
    let backup = fs::read(cluster.path("backup.tar.gz")).unwrap();
    fs::write(cluster.path("cut.tar.gz"), &backup[..backup.len() / 2]).unwrap();
    let newer = cluster.path("newer");
    let (code, said) = on(&newer, &cluster, "restore --from cut.tar.gz").await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("damaged or cut short"), "{said}");
    assert!(!newer.exists());
    let unwritable = Path::new("/proc/self");
    for words in [start, "restore --from backup.tar.gz"] {
        let (code, said) = on(unwritable, &cluster, words).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("/proc/self"), "{said}");
    }
    cluster.restart_master().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn help_and_mistakes_are_those_of_the_subcommand() {
    let cluster = Cluster::start().await;
    let (code, said) = tool(&cluster, "help").await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("master-node backup --to FILE"), "{said}");
    let (code, said) = tool(&cluster, "backup --help").await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("--store-only"), "{said}");
    for wrong in [
        "backup",
        "store chek",
        "store copy --from sqlite --to oracle",
    ] {
        let (code, said) = tool(&cluster, wrong).await;
        assert_eq!(code, 2, "{wrong}: {said}");
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_interrupted_is_refused_and_made_once_more() {
    // Given a store that takes a while to copy,
    let mut cluster = Cluster::start().await;
    let mut client = cluster.client().await;
    for _ in 0..1_500 {
        client.submit(test_task(&["exit", "0"])).await.unwrap();
    }
    cluster.master.type_line("exit").await;
    cluster.master.ends().await;
    let copied = cluster.path("copied");
    let mark = copied.join("cloudai.unfinished");
    let copy = "store copy --from sqlite --to sqlite --to-data-dir copied";

    // when the copying is interrupted in its middle, which takes some luck,
    let said = until("a copy to be interrupted", async || {
        if copied.exists() {
            fs::remove_dir_all(&copied).unwrap();
        }
        let mut command = Command::new(&programs().master);
        command.args(copy.split(' ')).args(["-data-dir", "master"]);
        let mut copying = Process::spawn("copy", command, &cluster.path(""));
        while !mark.exists() && !copying.has_ended() {
            tokio::task::yield_now().await;
        }
        if !copying.has_ended() {
            copying.signal("INT").await;
        }
        (copying.ends().await == Some(130)).then(|| copying.lines().join("\n"))
    })
    .await;
    assert!(said.contains("the same command begins anew"), "{said}");

    // then no master takes what is there, and the same command makes it whole.
    let start = "-grpc 127.0.0.1:0 -http 127.0.0.1:0 -headless";
    let (code, said) = on(&copied, &cluster, start).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("half filled: a copy of sqlite"), "{said}");
    let (code, said) = tool(&cluster, copy).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1500 tasks (1500 queued)"), "{said}");
    let (code, said) = on(&copied, &cluster, "store check").await;
    assert_eq!(code, 0, "{said}");
}
