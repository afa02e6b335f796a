//! A backup of a master at work comes back as it was; what is no whole backup, or would overwrite
//! something, is refused before anything is written.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use cloudai_archive::{
    ArchiveError, Backup, BackupError, BackupRequest, Progress, RestoreError, RestoreRequest,
    Restored, StorePlace, backup, restore, verify,
};
use cloudai_files::log::{LogStore, tail_text};
use cloudai_model::{TaskStatus, Wall, account::AccountChange, record::Record};
use cloudai_store::{DataDirLock, OpenError, SqliteStore, Store as _};

use crate::master::{
    Master, accounts, added, assigned, attempt, id, line, records_of, removed, result, silent,
};

const MADE: Wall = Wall(1_760_000_000_000);
const RESTORED: Wall = Wall(1_760_000_600_000);

async fn backed_up(master: &Master, logs_and_files: bool) -> Result<Backup, BackupError> {
    backup(request(master, logs_and_files), silent()).await
}

fn request(master: &Master, logs_and_files: bool) -> BackupRequest {
    BackupRequest {
        place: StorePlace::Sqlite(master.data_dir()),
        data_dir: master.data_dir(),
        to: archive(master),
        logs_and_files,
        program: "1.2.3".to_owned(),
        at: MADE,
    }
}

fn archive(master: &Master) -> PathBuf {
    master.path("backup.tar.gz")
}

async fn restored(from: &Path, data_dir: &Path) -> Result<Restored, RestoreError> {
    let request = RestoreRequest {
        from: from.to_owned(),
        place: StorePlace::Sqlite(data_dir.to_owned()),
        data_dir: data_dir.to_owned(),
        at: RESTORED,
    };
    restore(request, silent()).await
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_master_at_work_is_backed_up_and_comes_back_as_it_was() {
    // Given a master at work,
    let master = Master::at_work().await;

    // when it is backed up and goes on,
    let made = backed_up(&master, true).await.unwrap();
    let before = records_of(&master.data_dir()).await;
    master.commits([added(9, TaskStatus::Queued)]).await;
    let (log, _) = master.logs().writer(&attempt(3)).unwrap();
    log.append(&[line(9, "later\n")]).unwrap();

    // then the archive is whole, its owner's alone, and says what is in it.
    assert_eq!(made.manifest.missing, Vec::<String>::new());
    assert_eq!(verify(&archive(&master)).unwrap(), made.manifest);
    assert_eq!(mode(&archive(&master)), 0o600);
    let parts: Vec<_> = made.manifest.parts.iter().map(|part| &*part.path).collect();
    assert_eq!(
        parts,
        [
            "store/cloudai.db",
            "secrets/worker-token.key",
            "logs/task-1002/1.log",
            "logs/task-1003/1.log",
            "files/admin/task-1003/logs/loss",
            "files/admin/task-1003/model.bin",
        ]
    );
    let header = &made.manifest.header;
    assert_eq!(header.cluster.as_deref(), Some("c-5f2a90d1"));
    assert_eq!(header.program, "1.2.3");

    // When it is restored elsewhere,
    let new = master.path("new");
    let restored = restored(&archive(&master), &new).await.unwrap();

    // then the records are those of the instant, but for the epoch, which is above all others;
    assert_eq!(restored.holdings.task_count(), 3);
    let mut expected = before;
    let Record::Cluster(cluster) = &mut expected[0] else {
        panic!("{:?}", expected[0]);
    };
    cluster.epoch = 3 + 4096 + 60;
    assert!(records_of(&new).await == expected);
    // a log that was being written ends with its last whole frame, and copying can go on there;
    let logs = LogStore::new(new.join("logs"));
    for number in [2, 3] {
        let path = logs.path(&attempt(number));
        assert_eq!(tail_text(&path, 99).unwrap(), "one\ntwo\n");
        assert_eq!(mode(&path), 0o600);
    }
    let (log, repair) = logs.writer(&attempt(2)).unwrap();
    assert_eq!(repair.unwrap().cut, 0);
    let of_master = fs::metadata(master.logs().path(&attempt(2))).unwrap();
    assert!(log.len() < of_master.len());
    // files and secret are there;
    let files = new.join("files/admin").join(id(3).to_string());
    assert_eq!(fs::read(files.join("model.bin")).unwrap(), b"weights");
    assert_eq!(fs::read(files.join("logs/loss")).unwrap(), b"0.1\n");
    let secret = new.join("worker-token.key");
    assert_eq!(fs::read(&secret).unwrap(), [7; 32]);
    assert_eq!((mode(&secret), mode(&new)), (0o600, 0o700));
    // and a master takes it, with nothing left over.
    drop(SqliteStore::open(&new).unwrap());
    let mut names: Vec<_> = fs::read_dir(&new)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("cloudai.db"))
        .collect();
    names.sort();
    assert_eq!(names, ["cloudai.lock", "files", "logs", "worker-token.key"]);
}

#[tokio::test]
async fn accounts_come_back_and_tokens_of_before_count_no_more() {
    // Given a master with users, keys, an ended token and an audit,
    let master = Master::at_work().await;
    master.commits(accounts()).await;

    // when it is backed up and restored elsewhere,
    let made = backed_up(&master, true).await.unwrap();
    let new = master.path("new");
    let restored = restored(&archive(&master), &new).await.unwrap();

    // then all of it is there and counted,
    for kind in ["users", "keys", "ended tokens", "entries of the audit"] {
        assert_eq!(made.manifest.records[kind], 1, "{kind}");
    }
    let words = restored.holdings.to_string();
    let counted = "1 user, 1 key, 1 ended token, 1 entry of the audit";
    assert!(words.ends_with(counted), "{words}");
    let kept = |records: Vec<Record>| -> Vec<Record> {
        let accounts = records.into_iter();
        accounts
            .filter(|record| matches!(record, Record::Account(_)))
            .collect()
    };
    let mut expected = kept(records_of(&master.data_dir()).await);
    assert_eq!(expected, accounts());
    // but no token that was made before, for it may have been ended since the backup was made.
    let Record::Account(AccountChange::User(user)) = &mut expected[0] else {
        panic!("{:?}", expected[0]);
    };
    user.generation = 5 + (1 << 32);
    assert_eq!(kept(records_of(&new).await), expected);
}

#[tokio::test]
async fn logs_and_files_can_be_left_out() {
    let master = Master::at_work().await;
    let made = backed_up(&master, false).await.unwrap();
    assert!(!made.manifest.header.logs_and_files);
    assert_eq!(made.manifest.parts.len(), 2);
    let new = master.path("new");
    restored(&archive(&master), &new).await.unwrap();
    assert_eq!(records_of(&new).await.len(), 9);
}

#[tokio::test]
async fn what_was_removed_and_forgotten_comes_back_as_that() {
    // Given a master that holds room back and has written down that a task's log and files are
    // removed, which they are about to be, and that it has forgotten another one,
    let master = Master::at_work().await;
    fs::write(master.data_dir().join("reserve"), [0; 4096]).unwrap();
    let over = [added(4, TaskStatus::Completed), assigned(4), result(4)];
    master.commits(over).await;
    master
        .commits([removed(3), Record::TaskForgotten(id(4))])
        .await;

    // when it is backed up and restored,
    let manifest = backed_up(&master, true).await.unwrap().manifest;
    let new = master.path("new");
    restored(&archive(&master), &new).await.unwrap();

    // then nothing of what was removed is in the backup, nor missing, nor is the room;
    assert_eq!(manifest.missing, Vec::<String>::new());
    let parts: Vec<_> = manifest.parts.iter().map(|part| &*part.path).collect();
    let expected = [
        "store/cloudai.db",
        "secrets/worker-token.key",
        "logs/task-1002/1.log",
    ];
    assert_eq!(parts, expected);
    assert_eq!(manifest.records["removals"], 1);
    assert!(!new.join("reserve").exists());
    // it is known that it was removed, and no number is given out again.
    let records = records_of(&new).await;
    assert!(records.contains(&removed(3)), "{records:?}");
    let store = SqliteStore::open(&new).unwrap();
    let (sink, _source) = tokio::sync::mpsc::channel(9);
    let highest = store.load(sink).await.unwrap();
    assert_eq!((highest.order, highest.task_number), (4, id(4).number()));
}

#[tokio::test]
async fn what_is_missing_on_the_disk_is_said_and_the_rest_is_there() {
    let master = Master::at_work().await;
    let folder = master.data_dir().join("files/admin/task-1003");
    fs::remove_file(folder.join("model.bin")).unwrap();
    fs::write(folder.join("logs/loss"), b"0.2\n").unwrap();
    let missing = backed_up(&master, true).await.unwrap().manifest.missing;
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].contains("logs/loss") && missing[0].contains("SHA-256"));
    assert!(missing[1].contains("model.bin"), "{missing:?}");
    restored(&archive(&master), &master.path("new"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_log_that_goes_while_the_backup_is_made_is_named() {
    // Given a master at work, of which retention takes a log away in the midst of a backup,
    let master = Master::at_work().await;
    let log = master.logs().path(&attempt(3));
    assert!(log.exists());
    let (goes, request) = (log.clone(), request(&master, true));
    let progress: Progress = Arc::new(move |what, _| {
        if what == "logs and files added" {
            let _ = fs::remove_file(&goes);
        }
    });

    // when it is made, then the log is named, and nothing else.
    let made = backup(request, progress).await.unwrap();
    assert!(!log.exists());
    let missing = made.manifest.missing;
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(
        missing[0].starts_with("logs/task-1003/1.log: "),
        "{missing:?}"
    );
}

#[tokio::test]
async fn a_backup_replaces_nothing_and_an_empty_store_is_none() {
    let master = Master::at_work().await;
    fs::write(archive(&master), b"of yesterday").unwrap();
    let error = backed_up(&master, true).await.unwrap_err();
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
    assert_eq!(fs::read(archive(&master)).unwrap(), b"of yesterday");

    let empty = master.path("empty");
    drop(SqliteStore::open(&empty).unwrap());
    let request = BackupRequest {
        place: StorePlace::Sqlite(empty.clone()),
        data_dir: empty,
        to: master.path("other.tar.gz"),
        logs_and_files: true,
        program: String::new(),
        at: MADE,
    };
    let error = backup(request, silent()).await.unwrap_err();
    assert!(matches!(error, BackupError::Empty { .. }), "{error}");
    assert!(!master.path("other.tar.gz").exists());
}

#[tokio::test]
async fn a_backup_is_made_while_batches_come_and_is_of_one_instant() {
    // Given a master that adds two tasks in each batch,
    let master = Master::begun().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let adding = async {
        let mut number = 1;
        while !*stopped.borrow() {
            let both = [number, number + 1].map(|number| added(number, TaskStatus::Queued));
            master.commits(both).await;
            number += 2;
        }
    };
    let backing_up = async {
        let made = backed_up(&master, true).await.unwrap();
        stop.send_replace(true);
        made
    };

    // when it is backed up meanwhile,
    let (made, ()) = tokio::join!(backing_up, adding);

    // then no batch is there by half.
    assert_eq!(made.holdings.task_count() % 2, 0);
    let new = master.path("new");
    restored(&archive(&master), &new).await.unwrap();
    let tasks = made.holdings.task_count();
    assert_eq!(records_of(&new).await.len() as u64, 2 + tasks);
}

#[tokio::test]
async fn what_is_not_whole_is_refused_and_nothing_is_written() {
    let master = Master::at_work().await;
    backed_up(&master, true).await.unwrap();
    let whole = fs::read(archive(&master)).unwrap();
    let bad = master.path("bad.tar.gz");
    let new = master.path("new");
    for length in [0, 5, whole.len() / 3, whole.len() - 1] {
        fs::write(&bad, &whole[..length]).unwrap();
        let error = restored(&bad, &new).await.unwrap_err();
        assert!(matches!(error, RestoreError::Archive(_)), "{error}");
        assert!(!new.exists(), "{length}");
    }
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&bad, &changed).unwrap();
    let error = restored(&bad, &new).await.unwrap_err();
    let damaged = matches!(error, RestoreError::Archive(ArchiveError::Damaged { .. }));
    assert!(damaged, "{error}");
    assert!(!new.exists());
    let error = restored(&master.path("nowhere"), &new).await.unwrap_err();
    assert!(error.to_string().contains("cannot open it"), "{error}");
}

#[tokio::test]
async fn where_something_is_nothing_is_restored() {
    let master = Master::at_work().await;
    backed_up(&master, true).await.unwrap();
    let held = master.data_dir();
    let before = records_of(&held).await;
    let error = restored(&archive(&master), &held).await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, RestoreError::NotEmpty { .. }), "{said}");
    assert!(said.contains("cloudai.db, "), "{said}");
    assert!(records_of(&held).await == before);

    let other = master.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.txt"), "draft").unwrap();
    let error = restored(&archive(&master), &other).await.unwrap_err();
    assert!(error.to_string().contains("thesis.txt"), "{error}");
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);

    // Held by a master that has not made its store yet.
    let locked = master.path("locked");
    fs::create_dir(&locked).unwrap();
    let lock = DataDirLock::hold(&locked).unwrap();
    let error = restored(&archive(&master), &locked).await.unwrap_err();
    assert!(error.to_string().contains("in use by another"), "{error}");
    drop(lock);
    restored(&archive(&master), &locked).await.unwrap();
}

#[tokio::test]
async fn a_restore_that_was_broken_off_is_refused_and_begun_anew() {
    // Given a restore that is called off in its middle, at one place after another,
    let master = Master::at_work().await;
    backed_up(&master, true).await.unwrap();
    let new = master.path("new");
    let request = RestoreRequest {
        from: archive(&master),
        place: StorePlace::Sqlite(new.clone()),
        data_dir: new.clone(),
        at: RESTORED,
    };
    for place in ["parts unpacked", "records written", "records compared"] {
        let (reached, mut waiting) = tokio::sync::mpsc::unbounded_channel();
        let watched = std::sync::Arc::new(move |what: &'static str, _: u64| {
            if what == place {
                // Nobody waits for more than the first.
                let _ = reached.send(()).is_ok();
            }
        });
        let ended = tokio::select! {
            biased;
            ended = restore(request.clone(), watched) => Some(ended),
            _ = waiting.recv() => None,
        };
        if let Some(ended) = ended {
            // It was at its end before it could be called off.
            ended.unwrap();
            fs::remove_dir_all(&new).unwrap();
            continue;
        }
        // What it is at goes on without it for a moment.
        while DataDirLock::hold(&new).is_err() {
            tokio::task::yield_now().await;
        }

        // then no master takes what is there,
        let error = SqliteStore::open(&new).err().unwrap();
        assert!(matches!(error, OpenError::Unfinished { .. }), "{error}");
        assert!(error.to_string().contains("a restore of"), "{error}");
    }

    // and the next restore brings all of it.
    restored(&archive(&master), &new).await.unwrap();
    assert_eq!(records_of(&new).await.len(), 9);
    let files = new.join("files/admin/task-1003/model.bin");
    assert_eq!(fs::read(files).unwrap(), b"weights");
}
