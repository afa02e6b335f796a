//! A user's quota as files are put away, over a real core with live attempts.

use std::collections::VecDeque;

use cloudai_core::{Core, Effect, Settings, policy::RoundRobin};
use cloudai_model::{
    Grant, Phase, TaskDraft, TaskStatus, UserLimits, Wall,
    record::{AssignmentRecord, Record, TaskState, WorkerRecord},
};
use cloudai_store::MemoryStore;
use tonic::Code;

use super::*;
use crate::core_loop::{self, Effects};

struct Nobody;

impl Effects for Nobody {
    fn added(&mut self, _task: &TaskRecord) {}
    fn changed(&mut self, _task: &TaskId) {}
    fn run(&mut self, _effect: Effect) {}
}

fn worker() -> WorkerId {
    "w-1".parse().unwrap()
}

/// A task that the worker runs.
fn running(number: u64) -> TaskRecord {
    let draft = TaskDraft {
        docker_image: "alpine".to_owned(),
        ..TaskDraft::default()
    };
    TaskRecord {
        task: TaskId::numbered(number),
        order: number,
        spec: draft.check().unwrap().1,
        submitted_at: Wall(0),
        state: TaskState {
            status: TaskStatus::Running,
            phase: Phase::Running,
            attempt: 1,
            worker: Some(worker()),
            ..TaskState::queued("")
        },
    }
}

/// Whatever has come of the task's files: one, of so many bytes.
fn come(files: &OutputStore, task: &TaskRecord, bytes: usize) -> Option<Box<Staging>> {
    let attempt = AttemptId::new(task.task.clone(), 1);
    let mut chunks = VecDeque::from([UploadChunk {
        attempt: attempt.clone(),
        worker: Some(worker()),
        user_text: String::new(),
        task_name: String::new(),
        path_text: "x".to_owned(),
        offset: Some(0),
        data: vec![7; bytes].into(),
        last_chunk: true,
        finish: None,
        last_file: true,
        empty_set: false,
    }]);
    let mut incoming = Incoming::new(files.begin(&attempt).unwrap(), u64::MAX, None);
    match incoming.work(&mut chunks).unwrap() {
        Came::All(staging) => staging,
        Came::Part => panic!("there is no more to come"),
    }
}

#[tokio::test]
async fn what_a_user_has_room_for_is_kept_and_what_is_refused_leaves_nothing() {
    // Given a user with room for ten bytes, and two tasks of theirs that run,
    let folder = tempfile::tempdir().unwrap();
    let files = Arc::new(OutputStore::open(folder.path()).unwrap());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let tasks = [running(7), running(8)];
    let known = WorkerRecord {
        worker: worker(),
        address: "10.0.0.2:50052".parse().unwrap(),
        capacity: None,
        version: None,
        labels: Default::default(),
        registration: 7,
        registered_at: Wall(0),
        last_seen_at: None,
        draining: false,
    };
    let mut records = vec![Record::Worker(known)];
    for task in &tasks {
        records.push(Record::TaskAdded(Box::new(task.clone())));
        records.push(Record::Assignment(AssignmentRecord {
            attempt: AttemptId::new(task.task.clone(), 1),
            worker: worker(),
            sequence: task.order,
            grant: Grant::default(),
            assigned_at: Wall(0),
            ended: None,
        }));
    }
    // and bob, a task of whom runs again and left three bytes the first time,
    let mut again = running(9);
    again.spec.user = "bob".parse().unwrap();
    again.state.attempt = 2;
    let attempt = |number| AttemptId::new(again.task.clone(), number);
    let left = come(&files, &again, 3).unwrap();
    records.push(Record::TaskAdded(Box::new(again.clone())));
    records.push(Record::Assignment(AssignmentRecord {
        attempt: attempt(2),
        worker: worker(),
        sequence: again.order,
        grant: Grant::default(),
        assigned_at: Wall(0),
        ended: None,
    }));
    records.push(Record::Files(Box::new(FilesRecord {
        attempt: attempt(1),
        user: again.spec.user.clone(),
        task_name: again.spec.name.clone(),
        storage_path: format!("bob/{}", again.task),
        files: left.publish(&again.spec.user).unwrap(),
        uploaded_at: Wall(0),
    })));
    store.commit(Arc::new(records)).await.unwrap();
    let settings = Settings {
        user_limits: UserLimits {
            files_bytes: Some(10),
            ..UserLimits::default()
        },
        ..Settings::default()
    };
    let cluster: cloudai_model::ClusterId = "c-test".parse().unwrap();
    let core = Core::new(settings, Box::new(RoundRobin), cluster.clone());
    let snapshots = Snapshots::unready(cluster);
    let (told, room) = (snapshots.clone(), Room::endless());
    let started = core_loop::start(core, store.clone(), Nobody, told, room);
    started.ready.await.unwrap();
    let filing = Filing {
        files: files.clone(),
        store: store.clone(),
        snapshots,
        core: started.core.clone(),
        places: Places::default(),
        metrics: Metrics::default(),
    };
    let file_away = |task: &TaskRecord, bytes| {
        let attempt = (worker(), AttemptId::new(task.task.clone(), 1));
        filing.file_away(
            attempt,
            is_live,
            task.clone(),
            Ok(come(&files, task, bytes)),
        )
    };

    // when six bytes of each have come at a time, then those of one are kept,
    let (one, other) = tokio::join!(file_away(&tasks[0], 6), file_away(&tasks[1], 6));
    let (kept, refused) = match (one, other) {
        (Ok(_), Err(refused)) => (&tasks[0], refused),
        (Err(refused), Ok(_)) => (&tasks[1], refused),
        both => panic!("{both:?}"),
    };
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    let user = kept.spec.user.clone();
    assert_eq!(store.files_bytes_of_user(&user).await.unwrap(), 6);

    // and others take their place in all of the room, and not in more.
    assert!(file_away(kept, 11).await.is_err());
    assert_eq!(store.files_bytes_of_user(&user).await.unwrap(), 6);
    let replaced = file_away(kept, 10).await;
    assert!(
        matches!(replaced, Ok(UploadAnswer::Taken { .. })),
        "{replaced:?}"
    );
    assert_eq!(store.files_bytes_of_user(&user).await.unwrap(), 10);

    // What is refused of a second attempt leaves nothing of the first, which nobody would see.
    let bob = &again.spec.user;
    assert_eq!(store.files_bytes_of_user(bob).await.unwrap(), 3);
    let second = (worker(), attempt(2));
    let refused = filing.file_away(second, is_live, again.clone(), Ok(come(&files, &again, 11)));
    assert_eq!(refused.await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(store.files_bytes_of_user(bob).await.unwrap(), 0);
    assert!(!files.has_any(bob, &again.task));
    started.core.stop().await;
}
