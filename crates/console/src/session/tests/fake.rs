//! A master that answers what a test puts into it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use cloudai_core::{
    AddWorkerError, CancelOutcome, ChangeError, ChangeOutcome, DrainError, Event, PlaceError,
    Snapshot, Submitted, Taken,
    explain::Obstacle,
    inspect::{Inspection, Mended},
    registry::{AlreadyRegistered, UnknownWorker},
};
use cloudai_files::{
    log::Frame,
    output::{CopyError, CopySummary},
};
use cloudai_model::{
    AttemptId, ChangeDraft, Now, SubmitKey, TaskDraft, TaskId, TaskStatus, UserName, Wall, Whole,
    WorkerAddress, WorkerId,
    record::{
        AssignmentRecord, FileRecord, FilesRecord, Removal, Removed, TaskRecord, WorkerRecord,
    },
};
use cloudai_operator::*;
use tokio::sync::{broadcast, mpsc, watch};

use crate::testing::{NOW, about, result_of, snapshot_of, task, waiting_for, worker};

/// A fake: it answers what the test put into it, and remembers what it was asked.
pub(super) struct FakeMaster {
    pub(super) tasks: Mutex<BTreeMap<TaskId, TaskView>>,
    /// Logs that the test writes, by attempt; an attempt without one has none.
    pub(super) logs: Mutex<BTreeMap<AttemptId, mpsc::UnboundedReceiver<Frame>>>,
    pub(super) asked: Mutex<Vec<String>>,
    pub(super) events: broadcast::Sender<Event>,
    /// Whether counts can be read; how many are completed.
    pub(super) completed: Mutex<Option<u64>>,
    pub(super) inspection: Mutex<Inspection>,
    pub(super) mended: Mutex<Vec<Mended>>,
    pub(super) waiting: Mutex<Vec<(WorkerId, Vec<Obstacle>)>>,
    /// How the store is out of reach.
    pub(super) degraded: Mutex<Option<Degraded>>,
    /// What is there no more of tasks that the test puts in.
    pub(super) removed: Mutex<Removed>,
    pub(super) disks: Mutex<Disks>,
}

impl FakeMaster {
    pub(super) fn new() -> Self {
        let inspection = Inspection {
            at: NOW.mono,
            workers: Vec::new(),
            stop_orders: Vec::new(),
            waiting: 0,
            live: 0,
        };
        Self {
            tasks: Mutex::default(),
            logs: Mutex::default(),
            asked: Mutex::default(),
            events: broadcast::channel(16).0,
            completed: Mutex::default(),
            inspection: Mutex::new(inspection),
            mended: Mutex::default(),
            waiting: Mutex::default(),
            degraded: Mutex::default(),
            removed: Mutex::default(),
            disks: Mutex::default(),
        }
    }

    fn ask(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    pub(super) fn put(&self, record: TaskRecord) {
        let result = record.state.status.is_final().then(|| result_of(&record));
        let removed = self.removed.lock().unwrap().clone();
        let view = TaskView {
            record,
            result,
            removed,
        };
        let mut tasks = self.tasks.lock().unwrap();
        tasks.insert(view.record.task.clone(), view);
    }

    pub(super) fn log(&self, task: &TaskId, attempt: u32) -> mpsc::UnboundedSender<Frame> {
        let (writer, reader) = mpsc::unbounded_channel();
        let attempt = AttemptId::new(task.clone(), attempt);
        self.logs.lock().unwrap().insert(attempt, reader);
        writer
    }
}

struct FakeLog(Option<mpsc::UnboundedReceiver<Frame>>);

#[async_trait]
impl FrameSource for FakeLog {
    async fn next(&mut self) -> Result<Option<Frame>, LogFailure> {
        match &mut self.0 {
            Some(frames) => Ok(frames.recv().await),
            None => Ok(None),
        }
    }

    fn position(&self) -> u64 {
        0
    }
}

#[async_trait]
impl Operator for FakeMaster {
    fn now(&self) -> Now {
        NOW
    }

    fn about(&self) -> About {
        about()
    }

    fn degraded(&self) -> Option<Degraded> {
        self.degraded.lock().unwrap().clone()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        let mut active = worker("worker-1", "localhost");
        active.active = true;
        let running = self.tasks.lock().unwrap();
        let running = running.values().map(|view| &view.record);
        let running = running.filter(|record| record.state.status == TaskStatus::Running);
        active.attempts = running
            .map(|record| AttemptId::new(record.task.clone(), record.state.attempt))
            .collect();
        let mut snapshot = snapshot_of([active]);
        snapshot.waiting = 12;
        Arc::new(snapshot)
    }

    fn disks(&self) -> Disks {
        self.disks.lock().unwrap().clone()
    }

    fn history(&self, _: &WorkerId, _: Resolution, _: Option<Wall>) -> Option<Vec<Point>> {
        None
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn http_metrics(&self) -> HttpMetrics {
        HttpMetrics::default()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn place(&self, task: TaskId, _: WorkerId) -> Result<AttemptId, PlaceFailure> {
        Err(PlaceError::NotWaiting(task).into())
    }

    async fn submit(&self, draft: TaskDraft) -> Result<Submitted, SubmitFailure> {
        let (_, spec) = draft.check()?;
        self.ask(format!("submit {} for {}", spec.image, spec.user));
        let placed = spec.target.is_some();
        Ok(Submitted {
            task: TaskId::numbered(1_697_123_456_000_001),
            status: if placed {
                TaskStatus::Pending
            } else {
                TaskStatus::Queued
            },
            worker: spec.target,
            position: usize::from(!placed),
            waiting: (!placed).then(|| waiting_for("no worker with 1 GPU")),
        })
    }

    async fn submit_many(&self, drafts: Vec<TaskDraft>) -> Result<Vec<Taken>, SubmitManyFailure> {
        unreachable!("the console submits one by one: {drafts:?}")
    }

    async fn submitted_before(
        &self,
        _: &UserName,
        _: &SubmitKey,
    ) -> Result<Vec<TaskId>, SubmitFailure> {
        unreachable!("the console knows no keys")
    }

    async fn cancel(&self, task: &TaskId) -> Result<CancelOutcome, CancelFailure> {
        match task.number() {
            Some(1) => Ok(CancelOutcome::Cancelled),
            Some(2) => Ok(CancelOutcome::Stopping("worker-1".parse().unwrap())),
            Some(3) => Ok(CancelOutcome::AlreadyEnded),
            Some(4) => Err(CancelFailure::Final(task.clone(), TaskStatus::Completed)),
            _ => Err(CancelFailure::Unknown(task.clone())),
        }
    }

    async fn change(
        &self,
        task: &TaskId,
        change: ChangeDraft,
    ) -> Result<ChangeOutcome, ChangeFailure> {
        let change = change.check()?;
        self.ask(format!("change {task} {change:?}"));
        match task.number() {
            Some(1) => Ok(ChangeOutcome::Kept),
            Some(2) => Ok(ChangeOutcome::EndsNow("worker-1".parse().unwrap())),
            Some(3) => {
                Err(ChangeError::BeingStopped(task.clone(), "it was cancelled".into()).into())
            }
            Some(4) => Err(ChangeFailure::Final(task.clone(), TaskStatus::Completed)),
            Some(6) => Err(ChangeError::WaitsNoMore {
                task: task.clone(),
                worker: "worker-1".parse().unwrap(),
                what: "it can be put on hold only",
            }
            .into()),
            _ => Err(ChangeFailure::Unknown(task.clone())),
        }
    }

    async fn register(
        &self,
        worker: WorkerId,
        address: WorkerAddress,
    ) -> Result<Registered, RegisterFailure> {
        if worker.as_str() == "worker-1" {
            return Err(AddWorkerError::from(AlreadyRegistered(worker)).into());
        }
        Ok(Registered {
            already: false,
            record: WorkerRecord {
                worker,
                address,
                capacity: None,
                version: None,
                labels: BTreeMap::new(),
                registration: 1,
                registered_at: Wall(0),
                last_seen_at: None,
                draining: false,
            },
            token: "7f00".to_owned(),
            master_address: "192.168.1.10:50051".to_owned(),
        })
    }

    async fn unregister(&self, _: &WorkerId) -> Result<Vec<AttemptId>, UnregisterFailure> {
        Ok(vec![AttemptId::new(TaskId::numbered(7), 1)])
    }

    async fn drain(
        &self,
        worker: &WorkerId,
        draining: bool,
    ) -> Result<Vec<AttemptId>, DrainFailure> {
        if worker.as_str() != "worker-1" {
            return Err(DrainError::from(UnknownWorker(worker.clone())).into());
        }
        self.ask(format!("drain {worker} {draining}"));
        Ok(vec![AttemptId::new(TaskId::numbered(7), 1)])
    }

    async fn inspect(&self) -> Result<Inspection, InspectFailure> {
        Ok(self.inspection.lock().unwrap().clone())
    }

    async fn mend(&self) -> Result<Vec<Mended>, MendFailure> {
        Ok(self.mended.lock().unwrap().clone())
    }

    async fn explain(&self, task: &TaskId) -> Result<Standing, ExplainFailure> {
        let tasks = self.tasks.lock().unwrap();
        let view = tasks.get(task).cloned();
        let view = view.ok_or_else(|| ExplainFailure::Unknown(task.clone()))?;
        if view.record.state.status != TaskStatus::Queued {
            let assigned_at = Some(NOW.wall);
            let view = Box::new(view);
            return Ok(Standing::Given { view, assigned_at });
        }
        Ok(Standing::Waiting {
            entry: Box::new(QueueEntry {
                position: 3,
                record: view.record,
                why: waiting_for("worker-1: CPU short by 2 cores"),
            }),
            workers: self.waiting.lock().unwrap().clone(),
        })
    }

    async fn counts(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadFailure> {
        match *self.completed.lock().unwrap() {
            Some(count) => Ok(BTreeMap::from([(TaskStatus::Completed, count)])),
            None => Err(ReadFailure("the disk is gone".into())),
        }
    }

    async fn task(&self, task: &TaskId) -> Result<Option<TaskView>, ReadFailure> {
        Ok(self.tasks.lock().unwrap().get(task).cloned())
    }

    async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskRecord>, ReadFailure> {
        let tasks = self.tasks.lock().unwrap();
        let newest = tasks.values().rev().map(|view| view.record.clone());
        Ok(newest
            .filter(|record| {
                filter.statuses.is_empty() || filter.statuses.contains(&record.state.status)
            })
            .take(filter.limit)
            .collect())
    }

    async fn queue(&self, limit: usize) -> Result<Vec<QueueEntry>, ReadFailure> {
        let entry = |number| QueueEntry {
            position: number,
            record: task(number as u64, ""),
            why: waiting_for("no worker is active"),
        };
        Ok((1..=limit.min(2)).map(entry).collect())
    }

    async fn attempts(&self, _: &TaskId) -> Result<Vec<AssignmentRecord>, ReadFailure> {
        unreachable!("the console shows no timeline")
    }

    async fn open_files(&self, _: &TaskId, _: &UserName) -> Result<OpenFiles, FilesFailure> {
        unreachable!("the console downloads whole folders")
    }

    async fn remove_files(
        &self,
        _: &TaskId,
        _: &UserName,
        _: &str,
    ) -> Result<(), RemoveFilesFailure> {
        unreachable!("the console removes no files")
    }

    async fn read_log(
        &self,
        attempt: &AttemptId,
        part: LogPart,
    ) -> Result<Box<dyn FrameSource>, LogFailure> {
        assert_eq!(part, LogPart::WHOLE, "the console follows logs whole");
        if let Some(removal) = self.removed.lock().unwrap().log.clone() {
            let task = attempt.task.clone();
            return Err(LogFailure::Removed { task, removal });
        }
        Ok(Box::new(FakeLog(self.logs.lock().unwrap().remove(attempt))))
    }

    async fn files_of_user(&self, filter: &FilesFilter) -> Result<Vec<LeftFiles>, ReadFailure> {
        let user = &filter.user;
        let record = |number| LeftFiles {
            order: number,
            record: FilesRecord {
                attempt: AttemptId::new(TaskId::numbered(number), 1),
                user: user.clone(),
                task_name: "training".to_owned(),
                storage_path: String::new(),
                files: files(),
                uploaded_at: Wall(NOW.wall.0 - 3000),
            },
            removed: None,
        };
        let all = [8, 7].map(record).into_iter().take(filter.limit).collect();
        Ok(if user.as_str() == "admin" {
            all
        } else {
            Vec::new()
        })
    }

    async fn task_files(&self, task: &TaskId, user: &UserName) -> Result<TaskFiles, FilesFailure> {
        match (user.as_str(), task.number()) {
            ("admin", Some(7)) => Ok(TaskFiles {
                files: files(),
                whole: Whole::Incomplete("disk full".to_owned()),
                removed: None,
            }),
            ("admin", Some(10)) => Ok(TaskFiles {
                files: Vec::new(),
                whole: Whole::Complete,
                removed: Some(removal()),
            }),
            ("admin", Some(9)) => Ok(TaskFiles {
                files: Vec::new(),
                whole: Whole::Complete,
                removed: None,
            }),
            _ => {
                let (task, user) = (task.clone(), user.clone());
                Err(FilesFailure::Unknown { task, user })
            }
        }
    }

    async fn download(
        &self,
        task: &TaskId,
        user: &UserName,
        destination: &Path,
        progress: watch::Sender<DownloadProgress>,
    ) -> Result<Downloaded, DownloadFailure> {
        let left = self.task_files(task, user).await?;
        if let Some(removal) = left.removed {
            let task = task.clone();
            return Err(FilesFailure::Removed { task, removal }.into());
        }
        if destination.ends_with("taken") {
            // A container may call a file whatever it likes.
            let path = destination.join("\u{1b}[2Jmodel\n.bin");
            return Err(CopyError::Exists { path }.into());
        }
        assert_eq!(destination, std::path::absolute("./results").unwrap());
        progress.send_replace(DownloadProgress {
            path: "model/weights.bin".to_owned(),
            done_bytes: 1 << 20,
            total_bytes: 4 << 20,
        });
        // Long enough to be seen, however slow the machine: the clock is the test's own.
        tokio::time::sleep(Duration::from_millis(250)).await;
        Ok(Downloaded {
            left,
            summary: CopySummary {
                copied: 1,
                copied_bytes: 3 << 20,
                unchanged: 1,
            },
        })
    }
}

/// As retention says it.
pub(super) fn removal() -> Removal {
    Removal {
        at: Wall(NOW.wall.0 - 3000),
        by: "retention after 30 d".to_owned(),
    }
}

fn files() -> Vec<FileRecord> {
    let file = |path: &str, size| FileRecord {
        path: path.to_owned(),
        size,
        sha256: "0123456789abcdef".repeat(4),
    };
    vec![file("model/weights.bin", 3 << 20), file("result.txt", 12)]
}
