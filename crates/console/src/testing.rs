//! Values and a screen for the tests of this crate.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use cloudai_core::{
    explain::{Explanation, Outlook},
    registry::Worker,
};
use cloudai_model::{
    AttemptId, Capacity, Mono, Now, Phase, TaskDraft, TaskId, TaskStatus, Wall, Whole,
    record::{ResultRecord, TaskRecord, TaskState, WorkerRecord},
    resources::GB,
};

use cloudai_core::Snapshot;
use cloudai_operator::About;

/// 2023-10-12T15:11:00Z.
pub(crate) const NOW: Now = Now {
    mono: Mono(60_000),
    wall: Wall(1_697_123_460_000),
};

/// A screen that remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn about() -> About {
    About {
        version: "0.1.0".to_owned(),
        store: "sqlite ./cloudai-data/cloudai.db".to_owned(),
        services: [("gRPC", ":50051"), ("HTTP", ":8080")]
            .map(|(name, address)| (name.to_owned(), address.to_owned()))
            .to_vec(),
    }
}

/// Inactive, of 4 cores and 8 GB, heard of 2 s ago and last stored 5 s ago.
pub(crate) fn worker(id: &str, address: &str) -> Worker {
    let capacity = Capacity {
        cpu_milli: 4000,
        memory_bytes: 8 * GB,
        storage_bytes: 100 * GB,
        gpus: 0,
    };
    let record = WorkerRecord {
        worker: id.parse().unwrap(),
        address: address.parse().unwrap(),
        capacity: Some(capacity),
        version: None,
        labels: BTreeMap::new(),
        registration: 1,
        registered_at: Wall(0),
        last_seen_at: Some(Wall(NOW.wall.0 - 5000)),
        draining: false,
    };
    Worker {
        last_heard: Some(Mono(NOW.mono.0 - 2000)),
        ..Worker::from_record(record)
    }
}

pub(crate) fn snapshot_of<const N: usize>(workers: [Worker; N]) -> Snapshot {
    Snapshot {
        now: NOW,
        cluster: "c-1".parse().unwrap(),
        ready: true,
        held_up: None,
        former: std::sync::Arc::default(),
        workers: workers
            .into_iter()
            .map(|worker| (worker.id.clone(), Arc::new(worker)))
            .collect(),
        users: cloudai_core::Users::default(),
        waiting: 0,
        live: 0,
    }
}

/// Queued 10 s ago, of 4 cores and 8 GB.
pub(crate) fn task(number: u64, name: &str) -> TaskRecord {
    let draft = TaskDraft {
        docker_image: "docker.io/username/gpu-task:latest".to_owned(),
        cpu_cores: Some(4.0),
        memory_gb: Some(8.0),
        ..TaskDraft::default()
    };
    let (_, mut spec) = draft.check().unwrap();
    // A name from elsewhere than a draft may hold anything.
    name.clone_into(&mut spec.name);
    TaskRecord {
        task: TaskId::numbered(number),
        order: number,
        spec,
        submitted_at: Wall(NOW.wall.0 - 10_000),
        state: TaskState::queued(""),
    }
}

/// The task after a second's wait and 1.5 s on worker-1.
pub(crate) fn finished(mut record: TaskRecord, status: TaskStatus, code: i32) -> TaskRecord {
    let started = record.submitted_at.after(Duration::from_secs(1));
    record.state = TaskState {
        status,
        phase: Phase::Done,
        attempt: 1,
        worker: Some("worker-1".parse().unwrap()),
        reason: if code == 0 {
            String::new()
        } else {
            format!("exit code {code}")
        },
        exit_code: Some(code),
        started_at: Some(started),
        completed_at: Some(started.after(Duration::from_millis(1500))),
        ..TaskState::queued("")
    };
    record
}

pub(crate) fn result_of(record: &TaskRecord) -> ResultRecord {
    ResultRecord {
        attempt: AttemptId::new(record.task.clone(), record.state.attempt),
        worker: record.state.worker.clone(),
        status: record.state.status,
        reason: record.state.reason.clone(),
        end: None,
        log: Whole::Complete,
        files: Whole::Complete,
        log_tail: String::new(),
        completed_at: record.state.completed_at.unwrap_or_default(),
        sla_success: None,
    }
}

pub(crate) fn waiting_for(summary: &str) -> Explanation {
    Explanation {
        outlook: Outlook::Later,
        verdicts: Vec::new(),
        limit: None,
        summary: summary.to_owned(),
    }
}
