//! A master that isn't one: it takes down what a worker tells it, and refuses, falls silent or
//! forgets as a test wants. The real one can't be made to.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
};

use cloudai_proto::cluster::{
    Ack, FileChunk, FileUploadAck, Heartbeat, HeartbeatAck, ListWorkersRequest, LogChunk,
    MasterInfo, RegisterAck, Task, TaskAck, TaskId, TaskLogRequest, TaskProgress, TaskResult,
    WorkerInfo, WorkerList,
    master_worker_server::{MasterWorker, MasterWorkerServer},
};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

use super::{image::Sweep, until};

/// What the master was told, and how it shall behave.
#[derive(Default)]
pub struct State {
    pub cluster: String,
    /// Refuses workers while this is set, in these words.
    pub refusal: Option<String>,
    /// Tells at the next heartbeat to register again.
    pub register_again: bool,
    /// So many reports are taken down and answered with an error.
    pub lose_reports: u32,
    /// The same for uploads, at their first chunk.
    pub break_uploads: u32,
    /// Wants nothing of any attempt.
    pub superseded: bool,
    pub registrations: Vec<WorkerInfo>,
    pub authorizations: Vec<Option<String>>,
    pub heartbeats: Vec<Heartbeat>,
    pub progress: Vec<TaskProgress>,
    pub reports: Vec<TaskResult>,
    /// Files by task, attempt and path, as the last whole upload brought them.
    pub files: BTreeMap<(String, u32), BTreeMap<String, Vec<u8>>>,
    pub uploads: u32,
}

/// The fake, listening. Everything of its cluster is removed from the engine when it is dropped.
pub struct FakeMaster {
    pub cluster: String,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    runtime: Option<Runtime>,
    _sweep: Sweep,
}

impl FakeMaster {
    pub async fn start() -> Self {
        super::image::import().await;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let cluster = format!("t-{}-{count}", std::process::id());
        let state = State {
            cluster: cluster.clone(),
            ..State::default()
        };
        let mut master = Self {
            _sweep: Sweep(cluster.clone()),
            cluster,
            address: ([127, 0, 0, 1], 0).into(),
            state: Arc::new(Mutex::new(state)),
            runtime: None,
        };
        master.come_back();
        master
    }

    /// An assignment of this master that runs this line.
    pub fn task(&self, id: &str, line: &str) -> Task {
        Task {
            task_id: id.to_owned(),
            docker_image: super::image::IMAGE.to_owned(),
            command: line.to_owned(),
            req_cpu: Some(0.5),
            req_memory: Some(0.0625),
            req_storage: Some(0.01),
            user_id: "admin".to_owned(),
            cluster_id: self.cluster.clone(),
            attempt: 1,
            sequence: 1,
            stop_grace_ms: Some(1000),
            ..Task::default()
        }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Ends with all its connections.
    pub fn vanish(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again at the same address, knowing what it knew.
    pub fn come_back(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let service = Service(self.state.clone());
        let (sender, receiver) = std::sync::mpsc::channel();
        let address = self.address;
        runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            tonic::transport::Server::builder()
                .add_service(MasterWorkerServer::new(service))
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .unwrap();
        });
        self.address = receiver.recv().unwrap();
        self.runtime = Some(runtime);
    }

    /// Acknowledges no reports while this is on, so that the worker keeps the logs of what ended.
    pub fn keep_logs(&self, on: bool) {
        self.state().lose_reports = if on { u32::MAX } else { 0 };
    }

    /// Waits for the report that says how an attempt ended.
    pub async fn report(&self, task: &str) -> TaskResult {
        until(&format!("the report of {task}"), || {
            let reports = &self.state().reports;
            reports
                .iter()
                .find(|report| report.task_id == task)
                .cloned()
        })
        .await
    }

    /// Waits until the worker says in a heartbeat that it holds nothing.
    pub async fn sees_nothing_held(&self) {
        let before = self.state().heartbeats.len();
        until("a heartbeat with nothing held", || {
            let state = self.state();
            let later = state.heartbeats.get(before..)?;
            later
                .iter()
                .find(|beat| beat.running_tasks.is_empty())
                .map(drop)
        })
        .await;
    }

    /// Waits until an attempt has reached a phase, by progress or heartbeat.
    pub async fn sees_phase(&self, task: &str, phase: &str) {
        until(&format!("{task} {phase}"), || {
            let state = self.state();
            let told = state
                .progress
                .iter()
                .any(|progress| progress.task_id == task && progress.phase == phase);
            let shown = state.heartbeats.iter().rev().take(1).any(|beat| {
                let mut held = beat.running_tasks.iter();
                held.any(|held| held.task_id == task && held.phase == phase)
            });
            (told || shown).then_some(())
        })
        .await;
    }
}

impl Drop for FakeMaster {
    fn drop(&mut self) {
        self.vanish();
    }
}

struct Service(Arc<Mutex<State>>);

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

fn clients() -> Status {
    Status::unimplemented("the fake master serves workers only")
}

#[tonic::async_trait]
impl MasterWorker for Service {
    async fn register_worker(
        &self,
        request: Request<WorkerInfo>,
    ) -> Result<Response<RegisterAck>, Status> {
        let mut state = self.state();
        let header = request.metadata().get("authorization");
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        state.authorizations.push(header);
        if let Some(refusal) = &state.refusal {
            return Err(Status::permission_denied(refusal.clone()));
        }
        state.registrations.push(request.into_inner());
        Ok(Response::new(RegisterAck {
            success: true,
            message: "Worker registered successfully".to_owned(),
            cluster_id: state.cluster.clone(),
            heartbeat_interval_ms: 100,
        }))
    }

    async fn send_heartbeat(
        &self,
        request: Request<Heartbeat>,
    ) -> Result<Response<HeartbeatAck>, Status> {
        let mut state = self.state();
        if let Some(refusal) = &state.refusal {
            return Err(Status::permission_denied(refusal.clone()));
        }
        state.heartbeats.push(request.into_inner());
        Ok(Response::new(HeartbeatAck {
            success: true,
            register_again: std::mem::take(&mut state.register_again),
            ..HeartbeatAck::default()
        }))
    }

    async fn report_task_completion(
        &self,
        request: Request<TaskResult>,
    ) -> Result<Response<Ack>, Status> {
        let mut state = self.state();
        state.reports.push(request.into_inner());
        if state.lose_reports > 0 {
            state.lose_reports -= 1;
            return Err(Status::unavailable("the answer got lost"));
        }
        Ok(Response::new(Ack {
            success: !state.superseded,
            message: "Task result received".to_owned(),
            superseded: state.superseded,
        }))
    }

    async fn upload_task_files(
        &self,
        request: Request<Streaming<FileChunk>>,
    ) -> Result<Response<FileUploadAck>, Status> {
        let mut chunks = request.into_inner();
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut key = None;
        self.state().uploads += 1;
        while let Some(chunk) = chunks.message().await? {
            {
                let mut state = self.state();
                if state.break_uploads > 0 {
                    state.break_uploads -= 1;
                    return Err(Status::unavailable("the connection broke"));
                }
            }
            key = Some((chunk.task_id.clone(), chunk.attempt));
            if chunk.is_empty_set {
                continue;
            }
            let file = files.entry(chunk.file_path.clone()).or_default();
            // What is left out before it is a hole.
            let offset = usize::try_from(chunk.offset.unwrap()).unwrap();
            assert!(offset >= file.len());
            file.resize(offset, 0);
            assert!(chunk.data.len() <= 512 * 1024);
            file.extend_from_slice(&chunk.data);
            if chunk.is_last_chunk {
                assert_eq!(chunk.size, file.len() as u64);
                let sum: String = Sha256::digest(&file[..])
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                assert_eq!(chunk.sha256, sum);
            }
        }
        let mut state = self.state();
        let files_received = i32::try_from(files.len()).unwrap();
        state.files.insert(key.unwrap(), files);
        Ok(Response::new(FileUploadAck {
            success: true,
            files_received,
            ..FileUploadAck::default()
        }))
    }

    async fn report_task_progress(
        &self,
        request: Request<TaskProgress>,
    ) -> Result<Response<Ack>, Status> {
        self.state().progress.push(request.into_inner());
        Ok(Response::new(Ack {
            success: true,
            ..Ack::default()
        }))
    }

    async fn master_register(
        &self,
        _: Request<MasterInfo>,
    ) -> Result<Response<RegisterAck>, Status> {
        Err(clients())
    }

    async fn assign_task(&self, _: Request<Task>) -> Result<Response<TaskAck>, Status> {
        Err(clients())
    }

    async fn cancel_task(&self, _: Request<TaskId>) -> Result<Response<TaskAck>, Status> {
        Err(clients())
    }

    type StreamTaskLogsStream = ReceiverStream<Result<LogChunk, Status>>;

    async fn stream_task_logs(
        &self,
        _: Request<TaskLogRequest>,
    ) -> Result<Response<Self::StreamTaskLogsStream>, Status> {
        Err(clients())
    }

    async fn list_workers(
        &self,
        _: Request<ListWorkersRequest>,
    ) -> Result<Response<WorkerList>, Status> {
        Err(clients())
    }
}
