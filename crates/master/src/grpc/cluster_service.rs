//! `MasterWorker`, as the master serves it: workers' calls, and those for clients.

use std::{pin::Pin, sync::Arc};

use cloudai_core::{Answer, CancelOutcome, Event, Heartbeat, Held, Hello, Input, SubmitError};
use cloudai_model::{AttemptId, TaskStatus};
use cloudai_operator::{CancelFailure, LogFailure, Operator as _, SubmitFailure};
use cloudai_proto::{
    CancelAnswer, CancelRequest, Completion, HeartbeatReport, HeartbeatTaken, LogRequest, Progress,
    Refused, Registered, ReportAnswer, Submitted, WorkerEntry, WorkerHello,
    cluster::{
        self, Ack, FileChunk, FileUploadAck, HeartbeatAck, ListWorkersRequest, LogChunk,
        MasterInfo, RegisterAck, Task, TaskAck, TaskLogRequest, TaskProgress, TaskResult,
        WorkerInfo, WorkerList, master_worker_server::MasterWorker,
    },
    submit,
    worker_view::{Allocated, worker_list},
};
use futures_util::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    auth::{Caller, Gate, worker_call_status},
    log_stream,
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

    /// The attempt whose log is wanted: the one named, or the last.
    async fn attempt_of(&self, wanted: &LogRequest) -> Result<AttemptId, Status> {
        let task = &wanted.task;
        let record = self.master.store.task(task).await;
        let record = record.map_err(|error| Status::unavailable(error.to_string()))?;
        let record =
            record.ok_or_else(|| Status::not_found(format!("task {task} is not known")))?;
        let last = record.state.attempt;
        let number = wanted.attempt.unwrap_or(last);
        if (1..=last).contains(&number) {
            return Ok(AttemptId::new(task.clone(), number));
        }
        if last == 0 {
            return Err(Status::failed_precondition(format!(
                "task {task} has not been started: it has no log yet"
            )));
        }
        Err(Status::not_found(format!(
            "task {task} has no attempt {number}: it has had {last} so far"
        )))
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
        self.gate.client(&Caller::of(&request))?;
        let answer = match self
            .master
            .submit(submit::from_wire(request.into_inner()))
            .await
        {
            Ok(submitted) => Ok(Submitted {
                degraded: self.master.degraded().map(|it| it.to_string()),
                message: match &submitted.waiting {
                    Some(why) => format!("queued: {}", why.summary),
                    None => "sent to a worker".to_owned(),
                },
                task: submitted.task,
                position: u32::try_from(submitted.position).unwrap_or(u32::MAX),
                status: submitted.status,
            }),
            Err(failure) => Err(refused(&failure)?),
        };
        Ok(Response::new(Submitted::to_wire(answer)))
    }

    async fn cancel_task(
        &self,
        request: Request<cluster::TaskId>,
    ) -> Result<Response<TaskAck>, Status> {
        self.gate.client(&Caller::of(&request))?;
        let wanted = CancelRequest::from_wire(request.into_inner())?;
        let answer = match self.master.cancel(&wanted.task).await {
            Ok(outcome) => taken(&outcome),
            Err(failure @ (CancelFailure::Final(..) | CancelFailure::Unknown(_))) => {
                CancelAnswer::Refused(Refused(failure.to_string()))
            }
            Err(failure) => return Err(Status::unavailable(failure.to_string())),
        };
        Ok(Response::new(answer.into_wire()))
    }

    type StreamTaskLogsStream =
        Pin<Box<dyn Stream<Item = Result<LogChunk, Status>> + Send + 'static>>;

    async fn stream_task_logs(
        &self,
        request: Request<TaskLogRequest>,
    ) -> Result<Response<Self::StreamTaskLogsStream>, Status> {
        self.gate.client(&Caller::of(&request))?;
        let wanted = LogRequest::from_wire(request.into_inner())?;
        let attempt = self.attempt_of(&wanted).await?;
        let offset = if wanted.framed { wanted.offset } else { 0 };
        let follower = self.master.log_from(&attempt, offset).await;
        let follower = follower.map_err(|failure| match failure {
            // It would be the same each time.
            LogFailure::Removed { .. } => Status::not_found(failure.to_string()),
            failure => Status::unavailable(failure.to_string()),
        })?;
        let log = log_stream::send(self.master.clone(), follower, wanted);
        Ok(Response::new(Box::pin(log)))
    }

    async fn list_workers(
        &self,
        request: Request<ListWorkersRequest>,
    ) -> Result<Response<WorkerList>, Status> {
        self.gate.client(&Caller::of(&request))?;
        let snapshot = self.master.snapshot();
        let entries = snapshot.workers.values().map(|worker| WorkerEntry {
            worker: worker.id.clone(),
            shown_ip: worker.address.host().to_owned(),
            address: worker.address.to_string(),
            capacity: worker.capacity,
            version: worker.version.clone(),
            labels: worker.labels.clone(),
            status: worker.status(),
            allocated: Allocated {
                cpu_milli: worker.allocated.cpu_milli,
                memory_bytes: worker.allocated.memory_bytes,
                storage_bytes: worker.allocated.storage_bytes,
                gpu_milli: u64::from(worker.allocated.gpu_milli()),
            },
            running_tasks: u32::try_from(worker.attempts.len()).unwrap_or(u32::MAX),
            last_seen: worker.last_seen_at,
        });
        Ok(Response::new(worker_list(entries)))
    }
}

/// A task that is not taken is answered so; a master that can't tell yet is out of reach, so that
/// the same submit is tried again.
fn refused(failure: &SubmitFailure) -> Result<Refused, Status> {
    match failure {
        SubmitFailure::Refused(SubmitError::NotReady(_))
        | SubmitFailure::Read(_)
        | SubmitFailure::NotKept(_)
        | SubmitFailure::NoAnswer(_) => Err(Status::unavailable(failure.to_string())),
        SubmitFailure::Draft(_) | SubmitFailure::KeyReused(_) | SubmitFailure::Refused(_) => {
            Ok(Refused(failure.to_string()))
        }
    }
}

fn taken(outcome: &CancelOutcome) -> CancelAnswer {
    let (message, status) = match outcome {
        CancelOutcome::Cancelled => ("cancelled".to_owned(), Some(TaskStatus::Cancelled)),
        CancelOutcome::Stopping(worker) => (format!("{worker} was asked to stop it"), None),
        CancelOutcome::AlreadyEnded => (
            "it has ended by itself, and that result stands".to_owned(),
            None,
        ),
    };
    CancelAnswer::Taken { message, status }
}

pub(super) fn stopped(error: Stopped) -> Status {
    Status::unavailable(error.to_string())
}

/// Each input is answered in its own kind; the core's tests hold it to that.
pub(super) fn mixed_up() -> Status {
    Status::internal("the core gave an answer of another kind")
}

#[cfg(test)]
mod tests {
    use cloudai_core::NotReady;

    use super::*;

    #[test]
    fn a_submit_that_comes_too_early_is_not_refused_for_good() {
        let too_early = SubmitFailure::Refused(NotReady.into());
        let status = refused(&too_early).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        let full = SubmitFailure::Refused(SubmitError::QueueFull(7));
        assert!(refused(&full).unwrap().0.contains("7 tasks wait"));
    }
}
