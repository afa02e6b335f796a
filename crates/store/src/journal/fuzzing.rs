//! Doors for `crates/fuzzing` to the journal's entries and its file.

use std::{path::Path, sync::Arc};

use cloudai_model::{
    AccountState, AttemptId, Command, Grant, KeyScope, Role, Setting, SubmitKey, TaskChange,
    TaskDraft, TaskId, UserLimits, UserName, Wall, WorkerId,
    account::{AccountChange, AuditRecord, EndedToken, KeyRecord, UserRecord},
    record::{
        AssignmentRecord, ClusterRecord, FileRecord, FilesRecord, Record, Removal, Removed,
        RemovedRecord, TaskRecord, TaskState,
    },
};

use super::{
    content::Content,
    entry::{self, Entry},
    file,
    frame::{self, FILE_MAGIC, SALT_BYTES},
};
use crate::JournalError;

/// Reads the content of a frame, takes it in as a start does, and gives what would be written of it.
///
/// # Errors
/// What is wrong with it.
pub fn entries(content: &[u8]) -> Result<Vec<u8>, String> {
    let mut known = Content::default();
    let mut again = Vec::new();
    for placed in entry::decode(content)? {
        entry::encode(placed.entry.clone(), &mut again)?;
        known.apply(placed, 0);
    }
    Ok(again)
}

/// Contents of frames: one of each kind of entry, with records of most kinds.
///
/// # Errors
/// None, unless the encoding is broken.
pub fn sample() -> Result<Vec<Vec<u8>>, String> {
    let task = TaskId::numbered(7);
    let entries = [
        Entry::Owner("master-1".to_owned()),
        Entry::Batch(Arc::new(records(&task)?)),
        Entry::Done(0),
        Entry::Submitted(Box::new(task_record(&task)?)),
        Entry::Cancelled(task.clone()),
        Entry::HandedOver(task),
    ];
    let encoded = entries.into_iter().map(|entry| {
        let mut content = Vec::new();
        entry::encode(entry, &mut content).map(|_| content)
    });
    encoded.collect()
}

fn task_record(task: &TaskId) -> Result<TaskRecord, String> {
    let draft = TaskDraft {
        docker_image: "alpine:3.22".to_owned(),
        command: Command::Exec(vec!["echo".to_owned(), "a b".to_owned()]),
        env: [("A".to_owned(), "1".to_owned())].into(),
        timeout_s: Some(0.5),
        retry_on: Some("1,75-80,oom".to_owned()),
        ..TaskDraft::default()
    };
    let (_, mut spec) = draft.check().map_err(|errors| errors.to_string())?;
    spec.submit_key = Some(SubmitKey {
        key: "k".to_owned(),
        body: [7; 32],
        index: 1,
    });
    Ok(TaskRecord {
        task: task.clone(),
        order: 0,
        spec,
        submitted_at: Wall(1_700_000_000_000),
        state: TaskState::queued("waits for a worker"),
    })
}

fn records(task: &TaskId) -> Result<Vec<Record>, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let worker: WorkerId = "worker-1".parse().map_err(|error| said(&error))?;
    let attempt = AttemptId::new(task.clone(), 1);
    let at = Wall(1_700_000_001_000);
    let removal = Removal {
        at,
        by: "retention after 30 d".to_owned(),
    };
    Ok([
        Record::Cluster(ClusterRecord {
            cluster: "c-1".parse().map_err(|error| said(&error))?,
            epoch: 3,
        }),
        Record::TaskAdded(Box::new(task_record(task)?)),
        Record::SpecChanged(task.clone(), TaskChange::default()),
        Record::SpecChanged(
            task.clone(),
            TaskChange {
                name: Setting::To("another".to_owned()),
                labels: Setting::Clear,
                hold: Setting::To(true),
                ..TaskChange::default()
            },
        ),
        Record::TaskChanged(task.clone(), TaskState::queued("again")),
        Record::Assignment(AssignmentRecord {
            attempt: attempt.clone(),
            worker: worker.clone(),
            sequence: 1 << 33,
            grant: Grant::default(),
            assigned_at: at,
            ended: None,
        }),
        Record::Files(Box::new(FilesRecord {
            attempt,
            user: UserName::admin(),
            task_name: String::new(),
            storage_path: "admin/task-7".to_owned(),
            files: vec![FileRecord {
                path: "out.txt".to_owned(),
                size: 3,
                sha256: "ab".repeat(32),
            }],
            uploaded_at: at,
        })),
        Record::Removed(RemovedRecord {
            task: task.clone(),
            removed: Removed {
                log: Some(removal),
                files: None,
            },
        }),
        Record::TaskForgotten(task.clone()),
        Record::WorkerRemoved(worker),
    ]
    .into_iter()
    .chain(people().map(Record::Account))
    .collect())
}

fn people() -> [AccountChange; 8] {
    let (ann, at) = (UserName::admin(), Wall(1_700_000_002_000));
    let user = UserRecord {
        user: ann.clone(),
        name: "Ann".to_owned(),
        email: String::new(),
        password_hash: "$argon2id$".to_owned(),
        role: Role::Admin,
        state: AccountState::Active,
        generation: 1,
        limits: UserLimits {
            queued_tasks: Some(9),
            ..UserLimits::default()
        },
        created_at: at,
        updated_at: at,
    };
    let key = KeyRecord {
        id: "k-1".to_owned(),
        user: ann.clone(),
        name: "ci".to_owned(),
        hash: [1; 32],
        scope: KeyScope::Read,
        created_at: at,
        expires_at: Some(at),
    };
    let token = EndedToken {
        id: "t-1".to_owned(),
        until: at,
    };
    let entry = AuditRecord {
        number: 1,
        at,
        user: None,
        key: None,
        from: "console".to_owned(),
        action: "login".to_owned(),
        target: "ann".to_owned(),
        done: false,
        detail: String::new(),
        request: String::new(),
    };
    [
        AccountChange::User(Box::new(user)),
        AccountChange::Key(Box::new(key)),
        AccountChange::TokenEnded(token),
        AccountChange::Audit(Box::new(entry)),
        AccountChange::KeyRemoved("k-1".to_owned()),
        AccountChange::UserRemoved(ann),
        AccountChange::TokensForgotten(at),
        AccountChange::AuditForgotten(at),
    ]
}

/// A journal's file of these frames, in order.
#[must_use]
pub fn file_of(contents: &[Vec<u8>]) -> Vec<u8> {
    let salt = [0x5a; SALT_BYTES];
    let mut file = [&FILE_MAGIC[..], &salt[..]].concat();
    for (number, content) in (1..).zip(contents) {
        file.extend(frame::encode(&salt, number, content).unwrap_or_default());
    }
    file
}

/// Reads a journal's file as a start does, with its repair: how many frames it has.
///
/// # Errors
/// If it can't be used; then it is left as it is.
pub fn take_up(path: &Path) -> Result<u64, JournalError> {
    file::taken_up(path)
}
