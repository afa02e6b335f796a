//! The worker's half of `MasterWorker`: what its master calls.

mod log_stream;
mod old_text;

use cloudai_model::AttemptId;
use cloudai_proto::{
    CancelRequest, LogRequest, MasterContact, Order as WireOrder, OrderTaken, Refused, Registered,
    answer::CancelAnswer as WireCancelAnswer, cluster, cluster::master_worker_server::MasterWorker,
};
use cloudai_worker_core::{AssignAnswer, CancelAnswer, Job, Order, StopTarget};
use tonic::{Request, Response, Status, Streaming};

use self::log_stream::LogStream;
use crate::{console, context::Context, core_loop::LoopEnded};

/// The worker's half of the service.
pub(crate) struct WorkerService {
    context: Context,
}

impl WorkerService {
    pub(crate) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Why nothing is taken that is meant for another worker than this.
    fn astray(&self, target: &str) -> Option<Refused> {
        let mine = &self.context.settings.id;
        let is_other = !target.is_empty() && target != mine.as_str();
        is_other.then(|| {
            let target: String = target.chars().take(80).collect();
            Refused(format!(
                "this worker is {mine}, and the task is for {target:?}"
            ))
        })
    }

    fn order(&self, wire: cluster::Task) -> Result<Order, Status> {
        let grace = wire.stop_grace_ms;
        let order = WireOrder::from_wire(wire);
        let order = order.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let spec = &order.spec;
        Ok(Order {
            cluster: order
                .cluster
                .unwrap_or_else(|| self.context.old_cluster.clone()),
            sequence: order.sequence,
            stop_grace: match grace {
                Some(_) => order.stop_grace,
                None => self.context.settings.stop_grace,
            },
            job: std::sync::Arc::new(Job {
                user: spec.user.clone(),
                name: spec.name.clone(),
                image: spec.image.clone(),
                command: spec.command.clone(),
                env: spec.env.clone(),
                container: spec.container.clone(),
            }),
            attempt: order.attempt,
            grant: order.grant,
        })
    }
}

fn unavailable(error: LoopEnded) -> Status {
    Status::unavailable(error.to_string())
}

fn not_ready() -> Status {
    Status::unavailable(
        "this worker has just started: it is still reading its spool, or removing what was left of this \
         attempt",
    )
}

fn masters(rpc: &str) -> Status {
    Status::unimplemented(format!(
        "{rpc} is served by a master; this is a worker, which serves MasterRegister, AssignTask, \
         CancelTask and StreamTaskLogs"
    ))
}

#[tonic::async_trait]
impl MasterWorker for WorkerService {
    async fn assign_task(
        &self,
        request: Request<cluster::Task>,
    ) -> Result<Response<cluster::TaskAck>, Status> {
        let wire = request.into_inner();
        if let Some(astray) = self.astray(&wire.target_worker_id) {
            return Ok(Response::new(OrderTaken::to_wire(Err(astray))));
        }
        let order = self.order(wire)?;
        let (task, image) = (order.attempt.task.clone(), order.job.image.clone());
        let answer = match self.context.core.assign(order).await.map_err(unavailable)? {
            AssignAnswer::Accepted => {
                console::line(format_args!(
                    "Received task assignment: {task} (Image: {image})"
                ));
                let message = "Task assigned".to_owned();
                Ok(OrderTaken { message })
            }
            AssignAnswer::Refused(refusal) => {
                console::task(&task, format_args!("not taken: {refusal}"));
                Err(Refused(refusal.to_string()))
            }
            AssignAnswer::NotReady => return Err(not_ready()),
        };
        Ok(Response::new(OrderTaken::to_wire(answer)))
    }

    async fn cancel_task(
        &self,
        request: Request<cluster::TaskId>,
    ) -> Result<Response<cluster::TaskAck>, Status> {
        let request = CancelRequest::from_wire(request.into_inner());
        let request = request.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let target = match request.attempt {
            Some(number) => StopTarget::Attempt(AttemptId::new(request.task.clone(), number)),
            None => StopTarget::Task(request.task.clone()),
        };
        let asked = self.context.core.cancel(target, request.reason.clone());
        let answer = match asked.await.map_err(unavailable)? {
            CancelAnswer::Stopping { grace, .. } => {
                console::task(&request.task, format_args!("Stopping: {}", request.reason));
                WireCancelAnswer::Taken {
                    message: format!("stopping, within {} s", grace.as_secs_f64()),
                    status: None,
                }
            }
            CancelAnswer::Ended(_) => WireCancelAnswer::Taken {
                message: "it has ended by itself; its result is on its way".to_owned(),
                status: None,
            },
            CancelAnswer::NotHeld => {
                let message = format!("this worker does not hold {}", request.task);
                match request.attempt {
                    Some(_) => WireCancelAnswer::NotHeld { message },
                    // Old masters, which don't number attempts, know yes and no alone.
                    None => WireCancelAnswer::Refused(Refused(message)),
                }
            }
            CancelAnswer::NotReady => return Err(not_ready()),
        };
        Ok(Response::new(answer.into_wire()))
    }

    type StreamTaskLogsStream = LogStream;

    async fn stream_task_logs(
        &self,
        request: Request<cluster::TaskLogRequest>,
    ) -> Result<Response<LogStream>, Status> {
        let request = LogRequest::from_wire(request.into_inner());
        let request = request.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let stream = log_stream::open(&self.context, request).await;
        stream.map(Response::new)
    }

    async fn master_register(
        &self,
        request: Request<cluster::MasterInfo>,
    ) -> Result<Response<cluster::RegisterAck>, Status> {
        let contact = MasterContact::from_wire(request.into_inner());
        let contact = contact.map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Response::new(Registered::to_wire(self.contacted(contact))))
    }

    async fn register_worker(
        &self,
        _: Request<cluster::WorkerInfo>,
    ) -> Result<Response<cluster::RegisterAck>, Status> {
        Err(masters("RegisterWorker"))
    }

    async fn send_heartbeat(
        &self,
        _: Request<cluster::Heartbeat>,
    ) -> Result<Response<cluster::HeartbeatAck>, Status> {
        Err(masters("SendHeartbeat"))
    }

    async fn report_task_completion(
        &self,
        _: Request<cluster::TaskResult>,
    ) -> Result<Response<cluster::Ack>, Status> {
        Err(masters("ReportTaskCompletion"))
    }

    async fn upload_task_files(
        &self,
        _: Request<Streaming<cluster::FileChunk>>,
    ) -> Result<Response<cluster::FileUploadAck>, Status> {
        Err(masters("UploadTaskFiles"))
    }

    async fn report_task_progress(
        &self,
        _: Request<cluster::TaskProgress>,
    ) -> Result<Response<cluster::Ack>, Status> {
        Err(masters("ReportTaskProgress"))
    }

    async fn list_workers(
        &self,
        _: Request<cluster::ListWorkersRequest>,
    ) -> Result<Response<cluster::WorkerList>, Status> {
        Err(masters("ListWorkers"))
    }
}

impl WorkerService {
    /// A master calls: it has this worker registered and wants to hear of it.
    fn contacted(&self, contact: MasterContact) -> Result<Registered, Refused> {
        let mine = &self.context.settings.id;
        if let Some(meant) = contact.worker.filter(|meant| meant != mine) {
            return Err(Refused(format!(
                "this worker is {mine}, not {meant}: register it as {mine}, or start it with \
                 -id {meant}"
            )));
        }
        let taken = |message: String, cluster| {
            Ok(Registered {
                message,
                cluster,
                heartbeat_interval: None,
            })
        };
        let Some(at) = self.context.master.now() else {
            let message = format!("registering at {}", contact.address);
            self.context.master.contact(contact.address);
            return taken(message, None);
        };
        if at.address != contact.address && at.cluster != contact.cluster {
            return Err(Refused(format!(
                "worker {mine} is registered at {}, which answers: unregister it there first",
                at.address
            )));
        }
        // A heartbeat at once shows whether that still holds. Whether the other address is the same
        // master's an old one doesn't say; what is owed to one is not to be taken to another.
        let known = if at.is_old {
            at.address.clone()
        } else {
            contact.address
        };
        self.context.master.contact(known);
        taken(format!("registered at {} already", at.address), at.cluster)
    }
}
