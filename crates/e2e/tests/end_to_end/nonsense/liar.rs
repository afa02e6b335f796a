//! The liar: a worker that takes every assignment and runs none.

use std::sync::{Arc, Mutex};

use cloudai_files::log::{Frame, LogStream, MAX_PAYLOAD_LEN, encode};
use cloudai_proto::cluster::{
    self, FileChunk, Heartbeat, LogChunk, TaskAck, TaskResult, WorkerInfo,
    master_worker_server::MasterWorker,
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

/// What its logs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logs {
    /// Nothing, without end.
    Silent,
    /// More and more, without end.
    Babbling,
    /// A message larger than any may be.
    Oversized,
}

/// See the module.
pub(super) struct Liar {
    pub(super) logs: Logs,
    /// What it was asked to stop.
    pub(super) asked_to_stop: Arc<Mutex<Vec<cluster::TaskId>>>,
}

fn unserved<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not part of this lie"))
}

#[tonic::async_trait]
impl MasterWorker for Liar {
    async fn assign_task(&self, _: Request<cluster::Task>) -> Result<Response<TaskAck>, Status> {
        Ok(Response::new(TaskAck {
            success: true,
            ..TaskAck::default()
        }))
    }

    type StreamTaskLogsStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<LogChunk, Status>> + Send + 'static>>;

    async fn stream_task_logs(
        &self,
        request: Request<cluster::TaskLogRequest>,
    ) -> Result<Response<Self::StreamTaskLogsStream>, Status> {
        let request = request.into_inner();
        match self.logs {
            Logs::Silent => return Ok(Response::new(Box::pin(tokio_stream::pending()))),
            Logs::Oversized => {
                let chunk = LogChunk {
                    task_id: request.task_id,
                    offset: request.offset,
                    data: vec![0; 17 << 20].into(),
                    ..LogChunk::default()
                };
                return Ok(Response::new(Box::pin(tokio_stream::once(Ok(chunk)))));
            }
            Logs::Babbling => {}
        }
        let mut framed = Vec::new();
        let frame = Frame {
            stream: LogStream::Stdout,
            at_ns: 0,
            data: vec![b'w'; MAX_PAYLOAD_LEN].into(),
        };
        encode(&frame, &mut framed);
        let framed = bytes::Bytes::from(framed);
        let length = framed.len() as u64;
        let offsets = (0..).map(move |index| request.offset + index * length);
        let chunks = offsets.map(move |offset| {
            Ok(LogChunk {
                task_id: request.task_id.clone(),
                offset,
                data: framed.clone(),
                ..LogChunk::default()
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    async fn register_worker(
        &self,
        _: Request<WorkerInfo>,
    ) -> Result<Response<cluster::RegisterAck>, Status> {
        unserved()
    }

    async fn send_heartbeat(
        &self,
        _: Request<Heartbeat>,
    ) -> Result<Response<cluster::HeartbeatAck>, Status> {
        unserved()
    }

    async fn report_task_completion(
        &self,
        _: Request<TaskResult>,
    ) -> Result<Response<cluster::Ack>, Status> {
        unserved()
    }

    async fn upload_task_files(
        &self,
        _: Request<Streaming<FileChunk>>,
    ) -> Result<Response<cluster::FileUploadAck>, Status> {
        unserved()
    }

    async fn report_task_progress(
        &self,
        _: Request<cluster::TaskProgress>,
    ) -> Result<Response<cluster::Ack>, Status> {
        unserved()
    }

    async fn master_register(
        &self,
        _: Request<cluster::MasterInfo>,
    ) -> Result<Response<cluster::RegisterAck>, Status> {
        unserved()
    }

    async fn cancel_task(
        &self,
        request: Request<cluster::TaskId>,
    ) -> Result<Response<TaskAck>, Status> {
        self.asked_to_stop
            .lock()
            .unwrap()
            .push(request.into_inner());
        Ok(Response::new(TaskAck {
            success: true,
            ..TaskAck::default()
        }))
    }

    async fn list_workers(
        &self,
        _: Request<cluster::ListWorkersRequest>,
    ) -> Result<Response<cluster::WorkerList>, Status> {
        unserved()
    }
}
