//! A fake master: tasks are what a test puts in, nothing runs. Logs and files are real, in a folder of
//! their own.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use cloudai_core::{
    CancelOutcome, ChangeOutcome, DrainError, Event, Snapshot, SubmitError, SubmitManyError,
    Submitted, Taken, WorkerChange,
    explain::{Explanation, Outlook},
    inspect::{Inspection, Mended},
    registry::{UnknownWorker, Worker},
};
use cloudai_files::{
    log::{Frame, LogStore, LogStream, last_lines},
    output::OutputStore,
};
use cloudai_metrics::{Metrics, history::History};
use cloudai_model::{
    AttemptId, Capacity, ChangeDraft, Mono, Now, Phase, SubmitKey, TaskDraft, TaskId, TaskStatus,
    UserName, Wall, Whole, WorkerAddress, WorkerId,
    record::{
        AssignmentRecord, FilesRecord, Removal, Removed, TaskRecord, TaskState, WorkerRecord,
    },
    resources::GB,
};
use cloudai_operator::*;
use tokio::sync::{Semaphore, broadcast, watch};

/// 2023-10-12T15:11:00Z.
pub(crate) const NOW: Now = Now {
    mono: Mono(60_000),
    wall: Wall(1_697_123_460_000),
};

/// What is wrong with the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Its store can't be read.
    Unreadable,
    /// Its store can't be read any more once something was written.
    UnreadableOnceWritten,
    /// Its store can't be written.
    Unwritable,
    /// It panics when it is asked.
    Panics,
}

/// See the module.
pub(crate) struct FakeMaster {
    pub(crate) tasks: Mutex<BTreeMap<TaskId, TaskView>>,
    pub(crate) files: Mutex<BTreeMap<TaskId, FilesRecord>>,
    pub(crate) workers: Mutex<BTreeMap<WorkerId, Arc<Worker>>>,
    /// How the next submits are refused.
    pub(crate) refusal: Mutex<Option<SubmitError>>,
    pub(crate) fault: Mutex<Fault>,
    pub(crate) held_up: Mutex<Option<String>>,
    /// Whoever holds this keeps who opens a log waiting.
    pub(crate) opening: tokio::sync::Mutex<()>,
    /// How many logs were to be opened.
    pub(crate) openings: AtomicUsize,
    /// Without a permit nothing comes to an end.
    pub(crate) slow: Arc<Semaphore>,
    /// How much later than [`NOW`] it is, in milliseconds.
    pub(crate) later: std::sync::atomic::AtomicI64,
    /// How often it was asked to unregister a worker.
    pub(crate) asked: AtomicUsize,
    pub(crate) logs: LogStore,
    /// What workers used.
    pub(crate) history: History,
    /// What the server counts.
    pub(crate) counted: Metrics,
    output: OutputStore,
    events: broadcast::Sender<Event>,
}

impl FakeMaster {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            tasks: Mutex::default(),
            files: Mutex::default(),
            workers: Mutex::default(),
            refusal: Mutex::default(),
            fault: Mutex::default(),
            held_up: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            openings: AtomicUsize::default(),
            slow: Arc::new(Semaphore::new(1)),
            later: std::sync::atomic::AtomicI64::new(0),
            asked: AtomicUsize::new(0),
            logs: LogStore::new(folder.join("logs")),
            history: History::default(),
            counted: Metrics::default(),
            output: OutputStore::open(folder.join("files")).unwrap(),
            events: broadcast::channel(64).0,
        }
    }

    /// What the server counts, as Prometheus reads it.
    pub(crate) fn counted_text(&self) -> String {
        self.counted.text(&cloudai_metrics::State {
            version: "1",
            store: "memory",
            snapshot: &Snapshot::unready("c-1".parse().unwrap()),
            degraded: None,
            held_up: false,
            disks: &[],
            kept: &[],
        })
    }

    /// A task of a user, queued.
    pub(crate) fn put(&self, user: &str, number: u64) -> TaskId {
        let draft = TaskDraft {
            docker_image: "alpine".into(),
            user_id: Some(user.into()),
            ..TaskDraft::default()
        };
        self.keep(TaskId::numbered(number), draft)
    }

    fn keep(&self, task: TaskId, draft: TaskDraft) -> TaskId {
        let spec = draft.check().unwrap().1;
        let mut tasks = self.tasks.lock().unwrap();
        let record = TaskRecord {
            task: task.clone(),
            order: tasks.len() as u64 + 1,
            spec,
            submitted_at: NOW.wall,
            state: TaskState::queued("no worker is registered"),
        };
        let view = TaskView {
            record,
            result: None,
            removed: Removed::default(),
        };
        tasks.insert(task.clone(), view);
        task
    }

    pub(crate) fn change_state(&self, task: &TaskId, change: impl FnOnce(&mut TaskState)) {
        let mut tasks = self.tasks.lock().unwrap();
        change(&mut tasks.get_mut(task).unwrap().record.state);
    }

    /// The task runs in this attempt on `worker-1`, and its log is open.
    pub(crate) fn start(&self, task: &TaskId, attempt: u32) {
        self.change_state(task, |state| {
            state.status = TaskStatus::Running;
            state.phase = Phase::Running;
            state.attempt = attempt;
            state.worker = Some("worker-1".parse().unwrap());
            state.started_at = Some(NOW.wall);
        });
        self.logs
            .writer(&AttemptId::new(task.clone(), attempt))
            .unwrap();
    }

    pub(crate) fn print(&self, task: &TaskId, attempt: u32, text: &[u8]) {
        let attempt = AttemptId::new(task.clone(), attempt);
        let (log, _) = self.logs.writer(&attempt).unwrap();
        let frame = Frame {
            stream: LogStream::Stdout,
            at_ns: NOW.wall.0 * 1_000_000,
            data: bytes::Bytes::copy_from_slice(text),
        };
        log.append(&[frame]).unwrap();
    }

    pub(crate) fn close_log(&self, task: &TaskId, attempt: u32) {
        self.logs
            .close(&AttemptId::new(task.clone(), attempt))
            .unwrap();
    }

    pub(crate) fn end(&self, task: &TaskId, status: TaskStatus) {
        let mut last = 0;
        self.change_state(task, |state| {
            state.status = status;
            state.phase = Phase::Done;
            state.completed_at = Some(NOW.wall);
            state.exit_code = Some(0);
            last = state.attempt;
        });
        if last > 0 {
            self.close_log(task, last);
        }
    }

    /// The task left these files.
    pub(crate) fn leave(&self, task: &TaskId, files: &[(&str, &[u8])]) {
        let user = self.tasks.lock().unwrap()[task].record.spec.user.clone();
        let attempt = AttemptId::new(task.clone(), 1);
        let mut staging = self.output.begin(&attempt).unwrap();
        for (path, bytes) in files {
            let path = path.parse().unwrap();
            staging.write(&path, 0, bytes).unwrap();
            staging.finish_file(&path, None).unwrap();
        }
        let record = FilesRecord {
            attempt,
            storage_path: format!("{user}/{task}"),
            task_name: String::new(),
            files: staging.publish(&user).unwrap(),
            uploaded_at: Wall(NOW.wall.0 + i64::try_from(task.number().unwrap()).unwrap()),
            user,
        };
        self.files.lock().unwrap().insert(task.clone(), record);
    }

    pub(crate) fn add_worker(&self, id: &str, running: &[&TaskId]) {
        let record = WorkerRecord {
            worker: id.parse().unwrap(),
            address: "10.0.0.2".parse().unwrap(),
            capacity: Some(Capacity {
                cpu_milli: 4000,
                memory_bytes: 8 * GB,
                storage_bytes: 100 * GB,
                gpus: 0,
            }),
            version: None,
            labels: BTreeMap::new(),
            registration: 1,
            registered_at: Wall(0),
            last_seen_at: None,
            draining: false,
        };
        let mut worker = Worker::from_record(record);
        let attempts = running
            .iter()
            .map(|task| AttemptId::new((*task).clone(), 1));
        worker.attempts = attempts.collect();
        let mut workers = self.workers.lock().unwrap();
        workers.insert(worker.id.clone(), Arc::new(worker));
    }

    /// A worker that is there has said what it uses.
    pub(crate) fn uses(&self, id: &str, cpu_percent: f64) {
        let id: WorkerId = id.parse().unwrap();
        let mut workers = self.workers.lock().unwrap();
        let mut worker = Worker::clone(&workers[&id]);
        worker.usage.cpu_percent = cpu_percent;
        workers.insert(id.clone(), Arc::new(worker));
        drop(workers);
        let change = WorkerChange::Heartbeat;
        let _ = self
            .events
            .send(Event::WorkerUpdated { worker: id, change })
            .is_ok();
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    fn readable(&self) -> Result<(), ReadFailure> {
        match self.fault() {
            Fault::Unreadable => Err(ReadFailure("the disk is gone".into())),
            Fault::Panics => panic!("on purpose"),
            Fault::None | Fault::Unwritable | Fault::UnreadableOnceWritten => Ok(()),
        }
    }

    fn writable(&self) -> Result<(), NoAnswer> {
        match self.fault() {
            Fault::Unwritable => Err(NoAnswer::StoreWaits("the disk is full".into())),
            Fault::UnreadableOnceWritten => {
                *self.fault.lock().unwrap() = Fault::Unreadable;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Waits for as long as a test holds the permit.
    async fn may_end(&self) {
        let slow = self.slow.clone().acquire_owned().await;
        drop(slow.expect("nobody closes it"));
    }

    fn refused(&self) -> Result<(), SubmitError> {
        self.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn next_id(&self) -> TaskId {
        TaskId::numbered(1000 + self.tasks.lock().unwrap().len() as u64)
    }

    /// What was submitted under a key, or that it was something else.
    fn known(&self, draft: &TaskDraft) -> Result<Option<TaskId>, KeyReused> {
        let Some(key) = &draft.submit_key else {
            return Ok(None);
        };
        let tasks = self.tasks.lock().unwrap();
        let known = tasks.values().find(|view| {
            let spec = &view.record.spec;
            Some(spec.user.as_str()) == draft.user_id.as_deref()
                && spec
                    .submit_key
                    .as_ref()
                    .is_some_and(|known| (&known.key, known.index) == (&key.key, key.index))
        });
        match known {
            Some(view) if view.record.spec.submit_key.as_ref() != Some(key) => Err(KeyReused {
                key: key.key.clone(),
                task: view.record.task.clone(),
            }),
            known => Ok(known.map(|view| view.record.task.clone())),
        }
    }

    fn removed_files(&self, task: &TaskId) -> Option<Removal> {
        let tasks = self.tasks.lock().unwrap();
        tasks.get(task).and_then(|view| view.removed.files.clone())
    }
}

fn submitted(task: TaskId) -> Submitted {
    Submitted {
        task,
        status: TaskStatus::Queued,
        worker: None,
        position: 1,
        waiting: Some(why()),
    }
}

fn why() -> Explanation {
    Explanation {
        outlook: Outlook::Later,
        limit: None,
        verdicts: Vec::new(),
        summary: "no worker is registered".to_owned(),
    }
}

#[async_trait]
impl Operator for FakeMaster {
    fn now(&self) -> Now {
        let later = self.later.load(std::sync::atomic::Ordering::Relaxed);
        Now {
            wall: Wall(NOW.wall.0 + later),
            ..NOW
        }
    }

    fn about(&self) -> About {
        About {
            version: "0.1.0".to_owned(),
            store: "memory".to_owned(),
            services: Vec::new(),
        }
    }

    fn degraded(&self) -> Option<Degraded> {
        None
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        assert_ne!(self.fault(), Fault::Panics, "on purpose");
        Arc::new(Snapshot {
            now: NOW,
            ready: true,
            workers: self.workers.lock().unwrap().clone(),
            ..Snapshot::unready("c-1".parse().unwrap())
        })
    }

    fn disks(&self) -> Disks {
        Disks {
            held_up: self.held_up.lock().unwrap().clone(),
            ..Disks::default()
        }
    }

    fn history(
        &self,
        worker: &WorkerId,
        resolution: Resolution,
        since: Option<Wall>,
    ) -> Option<Vec<Point>> {
        let is_known = self.workers.lock().unwrap().contains_key(worker);
        is_known.then(|| self.history.of(worker, resolution, since, NOW))
    }

    fn metrics(&self) -> String {
        "# nothing is counted here\n".to_owned()
    }

    fn http_metrics(&self) -> HttpMetrics {
        self.counted.http().clone()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn submit(&self, draft: TaskDraft) -> Result<Submitted, SubmitFailure> {
        self.may_end().await;
        self.writable()?;
        if let Some(task) = self.known(&draft)? {
            return Ok(submitted(task));
        }
        self.refused()?;
        let (id, _) = draft.clone().check()?;
        let id = id.unwrap_or_else(|| self.next_id());
        if self.tasks.lock().unwrap().contains_key(&id) {
            return Err(SubmitError::IdTaken(id).into());
        }
        Ok(submitted(self.keep(id, draft)))
    }

    async fn submit_many(&self, drafts: Vec<TaskDraft>) -> Result<Vec<Taken>, SubmitManyFailure> {
        self.writable()?;
        if let Some(first) = drafts.first() {
            self.known(first)?;
        }
        if let Err(SubmitError::QueueFull(tasks)) = self.refused() {
            return Err(SubmitManyError::QueueFull { room: 0, tasks }.into());
        }
        let taken = drafts.into_iter().map(|draft| Taken {
            task: self.keep(self.next_id(), draft),
            status: TaskStatus::Queued,
            worker: None,
            reason: "no worker is registered".to_owned(),
        });
        Ok(taken.collect())
    }

    async fn submitted_before(
        &self,
        user: &UserName,
        key: &SubmitKey,
    ) -> Result<Vec<TaskId>, SubmitFailure> {
        let draft = TaskDraft {
            user_id: Some(user.to_string()),
            submit_key: Some(key.clone()),
            ..TaskDraft::default()
        };
        Ok(self.known(&draft)?.into_iter().collect())
    }

    async fn cancel(&self, task: &TaskId) -> Result<CancelOutcome, CancelFailure> {
        self.writable()?;
        let mut tasks = self.tasks.lock().unwrap();
        let view = tasks
            .get_mut(task)
            .ok_or_else(|| CancelFailure::Unknown(task.clone()))?;
        let state = &mut view.record.state;
        if state.status.is_final() {
            return Err(CancelFailure::Final(task.clone(), state.status));
        }
        state.status = TaskStatus::Cancelled;
        state.phase = Phase::Done;
        Ok(CancelOutcome::Cancelled)
    }

    async fn change(
        &self,
        task: &TaskId,
        change: ChangeDraft,
    ) -> Result<ChangeOutcome, ChangeFailure> {
        self.may_end().await;
        self.writable()?;
        let change = change.check()?;
        let mut tasks = self.tasks.lock().unwrap();
        let view = tasks
            .get_mut(task)
            .ok_or_else(|| ChangeFailure::Unknown(task.clone()))?;
        let status = view.record.state.status;
        if status.is_final() {
            return Err(ChangeFailure::Final(task.clone(), status));
        }
        change.apply(&mut view.record.spec);
        Ok(ChangeOutcome::Kept)
    }

    async fn place(&self, _: TaskId, _: WorkerId) -> Result<AttemptId, PlaceFailure> {
        unreachable!("no path places tasks")
    }

    async fn register(
        &self,
        worker: WorkerId,
        address: WorkerAddress,
    ) -> Result<Registered, RegisterFailure> {
        self.writable()?;
        let known = self.workers.lock().unwrap().get(&worker).cloned();
        if let Some(known) = &known
            && known.address != address
        {
            let address = known.address.clone();
            return Err(RegisterFailure::Elsewhere { worker, address });
        }
        self.add_worker(worker.as_str(), &[]);
        let record = self.workers.lock().unwrap()[&worker].to_record();
        Ok(Registered {
            record,
            already: known.is_some(),
            token: "7f00".to_owned(),
            master_address: "192.168.1.10:50051".to_owned(),
        })
    }

    async fn unregister(&self, worker: &WorkerId) -> Result<Vec<AttemptId>, UnregisterFailure> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.may_end().await;
        let removed = self.workers.lock().unwrap().remove(worker);
        let unknown = || cloudai_core::RemoveWorkerError::from(UnknownWorker(worker.clone()));
        let removed = removed.ok_or_else(unknown)?;
        Ok(removed.attempts.iter().cloned().collect())
    }

    async fn drain(
        &self,
        worker: &WorkerId,
        draining: bool,
    ) -> Result<Vec<AttemptId>, DrainFailure> {
        let mut workers = self.workers.lock().unwrap();
        let unknown = || DrainError::from(UnknownWorker(worker.clone()));
        let worker = workers.get_mut(worker).ok_or_else(unknown)?;
        Arc::make_mut(worker).draining = draining;
        Ok(worker.attempts.iter().cloned().collect())
    }

    async fn inspect(&self) -> Result<Inspection, InspectFailure> {
        unreachable!("no path inspects")
    }

    async fn mend(&self) -> Result<Vec<Mended>, MendFailure> {
        unreachable!("no path mends")
    }

    async fn counts(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadFailure> {
        unreachable!("no path counts")
    }

    async fn task(&self, task: &TaskId) -> Result<Option<TaskView>, ReadFailure> {
        self.readable()?;
        Ok(self.tasks.lock().unwrap().get(task).cloned())
    }

    async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskRecord>, ReadFailure> {
        self.readable()?;
        let tasks = self.tasks.lock().unwrap();
        let mut found: Vec<TaskRecord> = tasks
            .values()
            .map(|view| view.record.clone())
            .filter(|record| {
                let statuses = &filter.statuses;
                (statuses.is_empty() || statuses.contains(&record.state.status))
                    && filter
                        .user
                        .as_ref()
                        .is_none_or(|user| *user == record.spec.user)
                    && (filter.worker.is_none() || filter.worker == record.state.worker)
                    && filter.before.is_none_or(|before| record.order < before)
            })
            .collect();
        found.sort_by_key(|record| std::cmp::Reverse(record.order));
        found.truncate(filter.limit);
        Ok(found)
    }

    async fn queue(&self, _: usize) -> Result<Vec<QueueEntry>, ReadFailure> {
        unreachable!("no path shows the queue")
    }

    async fn explain(&self, task: &TaskId) -> Result<Standing, ExplainFailure> {
        let view = self.tasks.lock().unwrap().get(task).cloned();
        let view = view.ok_or_else(|| ExplainFailure::Unknown(task.clone()))?;
        if view.record.state.status != TaskStatus::Queued {
            let assigned_at = Some(NOW.wall);
            let view = Box::new(view);
            return Ok(Standing::Given { view, assigned_at });
        }
        let entry = Box::new(QueueEntry {
            position: 3,
            record: view.record,
            why: why(),
        });
        let workers = Vec::new();
        Ok(Standing::Waiting { entry, workers })
    }

    async fn attempts(&self, task: &TaskId) -> Result<Vec<AssignmentRecord>, ReadFailure> {
        let tasks = self.tasks.lock().unwrap();
        let last = tasks.get(task).map_or(0, |view| view.record.state.attempt);
        let attempt = |number| AssignmentRecord {
            attempt: AttemptId::new(task.clone(), number),
            worker: "worker-1".parse().unwrap(),
            sequence: u64::from(number),
            grant: cloudai_model::Grant::default(),
            assigned_at: NOW.wall,
            ended: None,
        };
        Ok((1..=last).map(attempt).collect())
    }

    async fn read_log(
        &self,
        attempt: &AttemptId,
        part: LogPart,
    ) -> Result<Box<dyn FrameSource>, LogFailure> {
        self.openings.fetch_add(1, Ordering::Relaxed);
        drop(self.opening.lock().await);
        let view = self.task(&attempt.task).await?.unwrap();
        if let Some(removal) = view.removed.log {
            let task = attempt.task.clone();
            return Err(LogFailure::Removed { task, removal });
        }
        let (offset, skip) = match part.start {
            LogStart::Byte(byte) => (byte, 0),
            LogStart::Lines(lines) => {
                let place = last_lines(&self.logs.path(attempt), lines, || true)?.unwrap();
                (place.frame, place.skip)
            }
        };
        let log = self.logs.follow(attempt, offset)?;
        Ok(Box::new(LogFrames::skipping(log, part.follow, skip)))
    }

    async fn files_of_user(&self, filter: &FilesFilter) -> Result<Vec<LeftFiles>, ReadFailure> {
        self.readable()?;
        let tasks = self.tasks.lock().unwrap().clone();
        let files = self.files.lock().unwrap();
        let of_user = files.values().filter(|record| record.user == filter.user);
        let mut left: Vec<_> = of_user
            .map(|record| LeftFiles {
                order: tasks[&record.attempt.task].record.order,
                removed: self.removed_files(&record.attempt.task),
                record: record.clone(),
            })
            .filter(|left| filter.before.is_none_or(|before| left.order < before))
            .collect();
        left.sort_by_key(|left| std::cmp::Reverse(left.order));
        left.truncate(filter.limit);
        Ok(left)
    }

    async fn task_files(&self, task: &TaskId, user: &UserName) -> Result<TaskFiles, FilesFailure> {
        let view = self.task(task).await?;
        let unknown = || FilesFailure::Unknown {
            task: task.clone(),
            user: user.clone(),
        };
        let view = view
            .filter(|view| view.record.spec.user == *user)
            .ok_or_else(unknown)?;
        let status = view.record.state.status;
        if !status.is_final() {
            let task = task.clone();
            return Err(FilesFailure::NotFinal { task, status });
        }
        let files = self.files.lock().unwrap().get(task).cloned();
        Ok(TaskFiles {
            files: files.map(|record| record.files).unwrap_or_default(),
            whole: Whole::Complete,
            removed: view.removed.files,
        })
    }

    async fn open_files(&self, task: &TaskId, user: &UserName) -> Result<OpenFiles, FilesFailure> {
        let reading = self.output.reading(task);
        let left = self.task_files(task, user).await?;
        if let Some(removal) = left.removed {
            let task = task.clone();
            return Err(FilesFailure::Removed { task, removal });
        }
        let (store, user, task) = (self.output.clone(), user.clone(), task.clone());
        Ok(OpenFiles::new(left, store, user, task, reading))
    }

    async fn remove_files(
        &self,
        task: &TaskId,
        user: &UserName,
        by: &str,
    ) -> Result<(), RemoveFilesFailure> {
        let left = self.task_files(task, user).await?;
        if let Some(removal) = left.removed {
            let task = task.clone();
            return Err(FilesFailure::Removed { task, removal }.into());
        }
        self.output.remove(user, task)?;
        let mut tasks = self.tasks.lock().unwrap();
        tasks.get_mut(task).unwrap().removed.files = Some(Removal {
            at: NOW.wall,
            by: by.to_owned(),
        });
        Ok(())
    }

    async fn download(
        &self,
        _: &TaskId,
        _: &UserName,
        _: &Path,
        _: watch::Sender<DownloadProgress>,
    ) -> Result<Downloaded, DownloadFailure> {
        unreachable!("no path copies to a folder of the master's machine")
    }
}
