//! Doors for `crates/fuzzing` to the journal's entries and its file.

use std::{path::Path, sync::Arc};

use cloudai_model::{
    AttemptId, Command, Grant, TaskChange, TaskDraft, TaskId, UserName, Wall, WorkerId,
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
    let (_, spec) = draft.check().map_err(|errors| errors.to_string())?;
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
    Ok(vec![
        Record::Cluster(ClusterRecord {
            cluster: "c-1".parse().map_err(|error| said(&error))?,
            epoch: 3,
        }),
        Record::TaskAdded(Box::new(task_record(task)?)),
        Record::SpecChanged(task.clone(), TaskChange::default()),
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
    ])
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
