//! `MasterWorker`, as the master serves it: workers' calls, and those for clients.

use std::{pin::Pin, sync::Arc};

use cloudai_accounts::Permission;
use cloudai_core::{Answer, Event, Heartbeat, Held, Hello, Input};
use cloudai_proto::{
    CancelRequest, Completion, HeartbeatReport, HeartbeatTaken, LogRequest, Progress, Registered,
    ReportAnswer, Submitted, WorkerHello,
    cluster::{
        self, Ack, FileChunk, FileUploadAck, HeartbeatAck, ListWorkersRequest, LogChunk,
        MasterInfo, RegisterAck, Task, TaskAck, TaskLogRequest, TaskProgress, TaskResult,
        WorkerInfo, WorkerList, master_worker_server::MasterWorker,
    },
    submit,
    worker_view::worker_list,
};
use futures_util::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    auth::{Caller, Gate, worker_call_status},
    clients,
    old_results::OldResults,
    old_uploads::OldUploads,
    reports, uploads,
};
use crate::{core_loop::Stopped, logs::LogFollowers, operations::Master};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct ClusterService {
    pub(super) master: Arc<Master>,
    pub(super) gate: Gate,
    pub(super) logs: LogFollowers,
    pub(super) uploads: uploads::Places,
    pub(super) old_results: OldResults,
    pub(super) old_uploads: Arc<OldUploads>,
}

impl ClusterService {
    /// A service over this master.
    #[must_use]
    pub fn new(master: Arc<Master>, gate: Gate, logs: LogFollowers) -> Self {
        Self {
            master,
            gate,
            logs,
            uploads: uploads::Places::default(),
            old_results: OldResults::default(),
            old_uploads: Arc::default(),
        }
    }
}

#[tonic::async_trait]
impl MasterWorker for ClusterService {
    async fn register_worker(
        &self,
        request: Request<WorkerInfo>,
    ) -> Result<Response<RegisterAck>, Status> {
        let caller = Caller::of(&request);
        let hello = WorkerHello::from_wire(request.into_inner())?;
        if let Err(refusal) = self.gate.worker(&caller, &hello.worker) {
            // The operator is to see it, too; nobody may be listening.
            let _ = self.master.events.send(Event::WorkerRefused {
                worker: hello.worker,
                reason: refusal.message().to_owned(),
            });
            return Err(refusal);
        }
        let is_old = hello.is_old_node();
        let hello = Hello {
            worker: hello.worker,
            shown_ip: hello.shown_ip,
            capacity: hello.capacity,
            version: hello.version,
            labels: hello.labels,
            home: hello.home,
            incarnation: hello.incarnation,
        };
        let answer = self
            .master
            .core
            .call(|call| Input::Hello { call, hello })
            .await;
        let Answer::Welcomed(welcome) = answer.map_err(stopped)? else {
            return Err(mixed_up());
        };
        let welcome = welcome.map_err(|error| worker_call_status(&error))?;
        Ok(Response::new(Registered::to_wire(Ok(Registered {
            message: "Worker registered successfully".to_owned(),
            cluster: Some(welcome.cluster).filter(|_| !is_old),
            heartbeat_interval: Some(welcome.heartbeat_interval).filter(|_| !is_old),
        }))))
    }

    async fn send_heartbeat(
        &self,
        request: Request<cluster::Heartbeat>,
    ) -> Result<Response<HeartbeatAck>, Status> {
        let caller = Caller::of(&request);
        let report = HeartbeatReport::from_wire(request.into_inner())?;
        self.gate.worker(&caller, &report.worker)?;
        let is_old = report.incarnation.is_none();
        let held = report.held.into_iter();
        let heartbeat = Heartbeat {
            worker: report.worker,
            incarnation: report.incarnation,
            home: report.home,
            usage: report.usage,
            held: held
                .map(|held| Held {
                    attempt: held.attempt,
                    phase: held.phase,
                })
                .collect(),
            last_sequence: report.last_sequence.filter(|_| report.holds_complete),
            unwell: report.unwell,
        };
        let answer = self
            .master
            .core
            .call(|call| Input::Heartbeat { call, heartbeat })
            .await;
        let Answer::HeartbeatTaken(taken) = answer.map_err(stopped)? else {
            return Err(mixed_up());
        };
        let taken = taken.map_err(|error| worker_call_status(&error))?;
        let taken = HeartbeatTaken {
            register_again: taken.introduce && !is_old,
        };
        Ok(Response::new(HeartbeatTaken::to_wire(Ok(taken))))
    }

    async fn report_task_progress(
        &self,
        request: Request<TaskProgress>,
    ) -> Result<Response<Ack>, Status> {
        let caller = Caller::of(&request);
        let progress = Progress::from_wire(request.into_inner())?;
        self.gate.reporter(&caller, &progress.worker)?;
        let Progress {
            worker,
            attempt,
            phase,
            detail,
            end,
            ..
        } = progress;
        let input = move |call| Input::Progress {
            call,
            worker,
            attempt,
            phase,
            detail,
            end: end.map(Box::new),
        };
        let reported = reports::reported(self.master.core.call(input).await)?;
        Ok(Response::new(
            reports::answer(reported, "progress noted").into_wire(),
        ))
    }

    async fn report_task_completion(
        &self,
        request: Request<TaskResult>,
    ) -> Result<Response<Ack>, Status> {
        let caller = Caller::of(&request);
        let received_at = cloudai_clock::now().wall;
        let completion = Completion::from_wire(request.into_inner(), received_at)?;
        self.gate.reporter(&caller, &completion.worker)?;
        let answer: ReportAnswer = reports::complete(self, completion).await?;
        Ok(Response::new(answer.into_wire()))
    }

    async fn upload_task_files(
        &self,
        request: Request<Streaming<FileChunk>>,
    ) -> Result<Response<FileUploadAck>, Status> {
        let caller = Caller::of(&request);
        let answer = uploads::take_in(self, &caller, request.into_inner()).await?;
        Ok(Response::new(answer.into_wire()))
    }

    async fn master_register(
        &self,
        _request: Request<MasterInfo>,
    ) -> Result<Response<RegisterAck>, Status> {
        Err(Status::unimplemented(
            "this is a master: MasterRegister is served by workers",
        ))
    }

    async fn assign_task(&self, request: Request<Task>) -> Result<Response<TaskAck>, Status> {
        let client = self.gate.client(&Caller::of(&request))?;
        let draft = submit::from_wire(request.into_inner());
        let service = self.clone();
        let done = async move { clients::submit(&service, &client, draft).await };
        let answer = clients::to_the_end(done).await?;
        Ok(Response::new(Submitted::to_wire(answer)))
    }

    async fn cancel_task(
        &self,
        request: Request<cluster::TaskId>,
    ) -> Result<Response<TaskAck>, Status> {
        let client = self.gate.client(&Caller::of(&request))?;
        let wanted = CancelRequest::from_wire(request.into_inner())?;
        let service = self.clone();
        let done = async move { clients::cancel(&service, &client, &wanted.task).await };
        let answer = clients::to_the_end(done).await?;
        Ok(Response::new(answer.into_wire()))
    }

    type StreamTaskLogsStream =
        Pin<Box<dyn Stream<Item = Result<LogChunk, Status>> + Send + 'static>>;

    async fn stream_task_logs(
        &self,
        request: Request<TaskLogRequest>,
    ) -> Result<Response<Self::StreamTaskLogsStream>, Status> {
        let client = self.gate.client(&Caller::of(&request))?;
        let wanted = LogRequest::from_wire(request.into_inner())?;
        let log = clients::log(self, client, wanted).await?;
        Ok(Response::new(Box::pin(log)))
    }

    async fn list_workers(
        &self,
        request: Request<ListWorkersRequest>,
    ) -> Result<Response<WorkerList>, Status> {
        let client = self.gate.client(&Caller::of(&request))?;
        client.may(Permission::Look)?;
        Ok(Response::new(worker_list(clients::workers(self))))
    }
}

pub(super) fn stopped(error: Stopped) -> Status {
    Status::unavailable(error.to_string())
}

/// Each input is answered in its own kind; the core's tests hold it to that.
pub(super) fn mixed_up() -> Status {
    Status::internal("the core gave an answer of another kind")
}
