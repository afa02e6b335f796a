//! Records to begin from: plain ones, of which a case changes what it is about.

use std::time::Duration;

use cloudai_model::{
    AttemptId, ContainerEnd, Exit, Grant, PeakUsage, Phase, TaskDraft, TaskId, TaskStatus, Wall,
    Whole,
    record::{
        AssignmentRecord, FileRecord, FilesRecord, Record, Removal, Removed, RemovedRecord,
        ResultRecord, StopOrder, TaskRecord, TaskState, WorkerRecord,
    },
};

/// The records of one task that came to its end.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) task: TaskRecord,
    pub(crate) running: TaskState,
    pub(crate) done: TaskState,
    pub(crate) assignment: AssignmentRecord,
    pub(crate) result: ResultRecord,
    pub(crate) files: FilesRecord,
}

impl Sample {
    pub(crate) fn id(&self) -> &TaskId {
        &self.task.task
    }

    pub(crate) fn added(&self) -> Record {
        Record::TaskAdded(Box::new(self.task.clone()))
    }

    pub(crate) fn added_as(&self, status: TaskStatus) -> Record {
        let mut task = self.task.clone();
        task.state.status = status;
        Record::TaskAdded(Box::new(task))
    }

    pub(crate) fn now_running(&self) -> Record {
        Record::TaskChanged(self.id().clone(), self.running.clone())
    }

    pub(crate) fn now_done(&self) -> Record {
        Record::TaskChanged(self.id().clone(), self.done.clone())
    }

    pub(crate) fn assigned(&self) -> Record {
        Record::Assignment(self.assignment.clone())
    }

    pub(crate) fn resulted(&self) -> Record {
        Record::Result(Box::new(self.result.clone()))
    }

    pub(crate) fn uploaded(&self) -> Record {
        Record::Files(Box::new(self.files.clone()))
    }

    pub(crate) fn log_removed(&self) -> Record {
        let removal = Removal {
            at: Wall(1_700_000_099_000),
            by: "retention after 30 d".to_owned(),
        };
        Record::Removed(RemovedRecord {
            task: self.id().clone(),
            removed: Removed {
                log: Some(removal),
                files: None,
            },
        })
    }

    pub(crate) fn forgotten(&self) -> Record {
        Record::TaskForgotten(self.id().clone())
    }
}

/// The `number`th task: its order is `number`, its id one of the master's making.
pub(crate) fn sample(number: u64) -> Sample {
    let at = |second: i64| Wall(1_700_000_000_000 + second * 1000);
    let draft = TaskDraft {
        docker_image: "alpine:3.20".to_owned(),
        ..TaskDraft::default()
    };
    let (_, spec) = draft.check().unwrap();
    let task = TaskRecord {
        task: TaskId::numbered(1_000 + number),
        order: number,
        spec,
        submitted_at: at(0),
        state: TaskState::queued("waits for a worker"),
    };
    let attempt = AttemptId::new(task.task.clone(), 1);
    let running = TaskState {
        status: TaskStatus::Running,
        phase: Phase::Running,
        attempt: 1,
        worker: Some("worker-1".parse().unwrap()),
        started_at: Some(at(2)),
        ..TaskState::queued("")
    };
    let done = TaskState {
        status: TaskStatus::Completed,
        phase: Phase::Done,
        exit_code: Some(0),
        completed_at: Some(at(9)),
        ..running.clone()
    };
    let assignment = AssignmentRecord {
        attempt: attempt.clone(),
        worker: "worker-1".parse().unwrap(),
        sequence: number,
        grant: Grant {
            cpu_milli: 1000,
            ..Grant::default()
        },
        assigned_at: at(1),
        ended: None,
    };
    let result = ResultRecord {
        attempt: attempt.clone(),
        worker: running.worker.clone(),
        status: TaskStatus::Completed,
        reason: String::new(),
        end: Some(ContainerEnd {
            exit: Exit::Exited(0),
            started_at: Some(at(2)),
            finished_at: at(8),
            usage: PeakUsage {
                memory_bytes: 1 << 20,
                cpu_time: Duration::from_millis(40),
            },
            image_digest: None,
        }),
        log: Whole::Complete,
        files: Whole::Complete,
        log_tail: "done\n".to_owned(),
        completed_at: at(9),
        sla_success: None,
    };
    let files = FilesRecord {
        attempt,
        user: task.spec.user.clone(),
        task_name: String::new(),
        storage_path: format!("admin/{}", task.task),
        files: vec![FileRecord {
            path: "out.txt".to_owned(),
            size: 3,
            sha256: "ab".repeat(32),
        }],
        uploaded_at: at(9),
    };
    Sample {
        task,
        running,
        done,
        assignment,
        result,
        files,
    }
}

pub(crate) fn worker(id: &str) -> WorkerRecord {
    WorkerRecord {
        worker: id.parse().unwrap(),
        address: "10.0.0.2:50052".parse().unwrap(),
        capacity: None,
        version: None,
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        registration: 7,
        registered_at: Wall(1_700_000_000_000),
        last_seen_at: None,
        draining: false,
    }
}

pub(crate) fn stop_order(number: u64) -> StopOrder {
    StopOrder {
        attempt: AttemptId::new(TaskId::numbered(number), 1),
        worker: "worker-9".parse().unwrap(),
        address: "10.0.0.9:50052".parse().unwrap(),
        registration: u64::MAX,
    }
}
