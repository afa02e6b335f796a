//! What a master leaves: a data directory with a store, logs, files and a secret.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use cloudai_archive::Progress;
use cloudai_files::{
    log::{Frame, LogStore, LogStream, encode},
    output::{Checksum, OutputStore},
};
use cloudai_model::{
    AccountState, AttemptId, ContainerEnd, Exit, Grant, KeyScope, PeakUsage, Phase, Role,
    TaskDraft, TaskId, TaskStatus, UserLimits, Wall, Whole,
    account::{AccountChange, AuditRecord, EndedToken, KeyRecord, UserRecord},
    record::{
        AssignmentRecord, ClusterRecord, FileRecord, FilesRecord, Record, Removal, Removed,
        RemovedRecord, ResultRecord, TaskRecord, TaskState, WorkerRecord,
    },
};
use cloudai_store::{Export, Piece, SqliteReader, SqliteStore, Store};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// See the module.
pub(crate) struct Master {
    folder: TempDir,
    pub(crate) store: SqliteStore,
}

pub(crate) fn silent() -> Progress {
    Arc::new(|_, _| {})
}

pub(crate) fn id(number: u64) -> TaskId {
    TaskId::numbered(1_000 + number)
}

fn task(number: u64, status: TaskStatus) -> TaskRecord {
    let draft = TaskDraft {
        docker_image: "alpine:3.20".to_owned(),
        ..TaskDraft::default()
    };
    let (_, spec) = draft.check().unwrap();
    let phase = match status {
        TaskStatus::Queued => Phase::Queued,
        TaskStatus::Running => Phase::Running,
        _ => Phase::Done,
    };
    TaskRecord {
        task: id(number),
        order: number,
        spec,
        submitted_at: Wall(1_700_000_000_000),
        state: TaskState {
            status,
            phase,
            attempt: u32::from(status != TaskStatus::Queued),
            ..TaskState::queued("")
        },
    }
}

pub(crate) fn added(number: u64, status: TaskStatus) -> Record {
    Record::TaskAdded(Box::new(task(number, status)))
}

pub(crate) fn attempt(number: u64) -> AttemptId {
    AttemptId::new(id(number), 1)
}

pub(crate) fn assigned(number: u64) -> Record {
    Record::Assignment(AssignmentRecord {
        attempt: attempt(number),
        worker: "worker-1".parse().unwrap(),
        sequence: number,
        grant: Grant::default(),
        assigned_at: Wall(1_700_000_000_001),
        ended: None,
    })
}

pub(crate) fn result(number: u64) -> Record {
    Record::Result(Box::new(ResultRecord {
        attempt: attempt(number),
        worker: Some("worker-1".parse().unwrap()),
        status: TaskStatus::Completed,
        reason: String::new(),
        end: Some(ContainerEnd {
            exit: Exit::Exited(0),
            started_at: None,
            finished_at: Wall(1_700_000_000_009),
            usage: PeakUsage::default(),
            image_digest: None,
        }),
        log: Whole::Complete,
        files: Whole::Complete,
        log_tail: "done\n".to_owned(),
        completed_at: Wall(1_700_000_000_010),
        sla_success: None,
    }))
}

/// Log and files of a task are written down as removed.
pub(crate) fn removed(number: u64) -> Record {
    let removal = || {
        Some(Removal {
            at: Wall(1_700_000_099_000),
            by: "retention after 30 d".to_owned(),
        })
    };
    Record::Removed(RemovedRecord {
        task: id(number),
        removed: Removed {
            log: removal(),
            files: removal(),
        },
    })
}

/// A user with a key, a token that was ended, and what they did.
pub(crate) fn accounts() -> [Record; 4] {
    let at = Wall(1_700_000_000_000);
    let user = UserRecord {
        user: "ann".parse().unwrap(),
        name: "Ann".to_owned(),
        email: "ann@example.org".to_owned(),
        password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned(),
        role: Role::Admin,
        state: AccountState::Active,
        generation: 5,
        limits: UserLimits::default(),
        created_at: at,
        updated_at: at,
    };
    let key = KeyRecord {
        id: "k-1".to_owned(),
        user: user.user.clone(),
        name: "ci".to_owned(),
        hash: [0x5a; 32],
        scope: KeyScope::Tasks,
        created_at: at,
        expires_at: None,
    };
    let token = EndedToken {
        id: "t-1".to_owned(),
        until: Wall(1_900_000_000_000),
    };
    let entry = AuditRecord {
        number: 7,
        at,
        user: Some(user.user.clone()),
        key: Some(key.id.clone()),
        from: "192.0.2.1".to_owned(),
        action: "task.cancel".to_owned(),
        target: id(3).to_string(),
        done: true,
        detail: String::new(),
        request: "req-1".to_owned(),
    };
    [
        AccountChange::User(Box::new(user)),
        AccountChange::Key(Box::new(key)),
        AccountChange::TokenEnded(token),
        AccountChange::Audit(Box::new(entry)),
    ]
    .map(Record::Account)
}

pub(crate) fn line(at: i64, text: &str) -> Frame {
    Frame {
        stream: LogStream::Stdout,
        at_ns: at,
        data: text.to_owned().into(),
    }
}

impl Master {
    /// One that has begun: a cluster, a worker, a secret.
    pub(crate) async fn begun() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let store = SqliteStore::open(&data_dir).unwrap();
        let secret = data_dir.join("worker-token.key");
        fs::write(&secret, [7; 32]).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let master = Self { folder, store };
        let cluster = ClusterRecord {
            cluster: "c-5f2a90d1".parse().unwrap(),
            epoch: 3,
        };
        let worker = WorkerRecord {
            worker: "worker-1".parse().unwrap(),
            address: "10.0.0.2:50052".parse().unwrap(),
            capacity: None,
            version: None,
            labels: [].into(),
            registration: 7,
            registered_at: Wall(1_700_000_000_000),
            last_seen_at: None,
            draining: false,
        };
        master
            .commits([Record::Cluster(cluster), Record::Worker(worker)])
            .await;
        master
    }

    /// With one task that waits, one that runs and has a log that is being written, and one that is
    /// over and has left files.
    pub(crate) async fn at_work() -> Self {
        let master = Self::begun().await;
        let files = master.publishes(3, &[("model.bin", b"weights"), ("logs/loss", b"0.1\n")]);
        master
            .commits([
                added(1, TaskStatus::Queued),
                added(2, TaskStatus::Running),
                assigned(2),
                added(3, TaskStatus::Completed),
                assigned(3),
                result(3),
                Record::Files(Box::new(files)),
            ])
            .await;
        for number in [2, 3] {
            let (log, _) = master.logs().writer(&attempt(number)).unwrap();
            log.append(&[line(1, "one\n"), line(2, "two\n")]).unwrap();
        }
        // What is being written just now ends within a frame.
        let mut torn = Vec::new();
        encode(&line(3, "three\n"), &mut torn);
        let (log, _) = master.logs().writer(&attempt(2)).unwrap();
        let end = log.len();
        log.append_at(end, &torn[..torn.len() - 2]).unwrap();
        master
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn logs(&self) -> LogStore {
        LogStore::new(self.data_dir().join("logs"))
    }

    pub(crate) async fn commits(&self, records: impl IntoIterator<Item = Record>) {
        let batch = Arc::new(records.into_iter().collect());
        self.store.commit(batch).await.unwrap();
    }

    pub(crate) fn publishes(&self, number: u64, files: &[(&str, &[u8])]) -> FilesRecord {
        let store = OutputStore::open(self.data_dir().join("files")).unwrap();
        let mut staging = store.begin(&attempt(number)).unwrap();
        for (path, content) in files {
            let path = path.parse().unwrap();
            staging.write(&path, 0, content).unwrap();
            let _: Checksum = staging.finish_file(&path, None).unwrap();
        }
        let user = cloudai_model::UserName::admin();
        let files: Vec<FileRecord> = staging.publish(&user).unwrap();
        FilesRecord {
            attempt: attempt(number),
            storage_path: format!("{user}/{}", id(number)),
            user,
            task_name: String::new(),
            files,
            uploaded_at: Wall(1_700_000_000_010),
        }
    }

    /// It ends in order.
    pub(crate) async fn ends(&self) {
        self.store.close().await.unwrap();
    }
}

/// The words of an error and its causes.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let next = std::iter::successors(Some(error), |error| error.source());
    let words: Vec<_> = next.map(ToString::to_string).collect();
    words.join(": ")
}

/// All records of a data directory's store.
pub(crate) async fn records_of(data_dir: &Path) -> Vec<Record> {
    let reader = SqliteReader::open(data_dir).unwrap();
    let (sink, mut source) = mpsc::channel(99);
    reader.export(sink).await.unwrap();
    let mut all = Vec::new();
    while let Some(piece) = source.recv().await {
        match piece {
            Piece::Records(records) => all.extend(records),
            Piece::Unreadable(error) => panic!("{error}"),
        }
    }
    all
}
