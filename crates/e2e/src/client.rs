//! A user's program: submits, cancels and reads logs over gRPC.

use bytes::Bytes;
use cloudai_model::{AttemptId, TaskDraft, TaskId, TaskStatus};
use cloudai_proto::{
    CancelAnswer, CancelRequest, LogMessage, LogPiece, LogRequest, OutputStream, Refused,
    Submitted, cluster::master_worker_client::MasterWorkerClient, submit,
};
use tokio_stream::StreamExt as _;
use tonic::{Status, transport::Channel};

/// See the module.
#[derive(Debug, Clone)]
pub struct Client(pub MasterWorkerClient<Channel>);

/// What a container wrote, output by output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// To stdout.
    pub stdout: Vec<u8>,
    /// To stderr.
    pub stderr: Vec<u8>,
    /// The task's status when the log was complete.
    pub status: Option<TaskStatus>,
}

impl Client {
    /// A client of the master at this address.
    ///
    /// # Panics
    /// If it can't be reached.
    pub async fn connect(address: &str) -> Self {
        let client = MasterWorkerClient::connect(format!("http://{address}")).await;
        Self(client.expect("the master serves"))
    }

    /// Submits a task.
    ///
    /// # Errors
    /// What the master refused it for.
    ///
    /// # Panics
    /// If the call fails.
    pub async fn submit(&mut self, draft: TaskDraft) -> Result<Submitted, Refused> {
        let ack = self
            .0
            .assign_task(submit::to_wire(draft))
            .await
            .expect("the call is answered");
        Submitted::from_wire(ack.into_inner()).expect("the answer can be read")
    }

    /// Cancels a task.
    ///
    /// # Panics
    /// If the call fails.
    pub async fn cancel(&mut self, task: &TaskId) -> CancelAnswer {
        let request = CancelRequest {
            task: task.clone(),
            attempt: None,
            user: None,
            reason: String::new(),
        };
        let ack = self
            .0
            .cancel_task(request.into_wire())
            .await
            .expect("the call is answered");
        CancelAnswer::from_wire(ack.into_inner())
    }

    /// Follows a task's log from the first byte; `each` sees it grow.
    ///
    /// # Panics
    /// If the stream breaks.
    pub async fn follow(&mut self, attempt: &AttemptId, mut each: impl FnMut(&Log)) -> Log {
        let mut log = Log::default();
        let followed = self.watch(attempt, |stream, data| {
            match stream {
                OutputStream::Stdout => log.stdout.extend_from_slice(&data),
                OutputStream::Stderr => log.stderr.extend_from_slice(&data),
            }
            each(&log);
        });
        let status = followed.await.expect("the stream holds");
        log.status = status;
        log
    }

    /// Follows a task's log and keeps none of it; the task's status when it was complete.
    ///
    /// # Errors
    /// If the log is not there or the stream breaks.
    ///
    /// # Panics
    /// If a message can't be read.
    pub async fn watch(
        &mut self,
        attempt: &AttemptId,
        mut each: impl FnMut(OutputStream, Bytes),
    ) -> Result<Option<TaskStatus>, Status> {
        let request = LogRequest {
            task: attempt.task.clone(),
            attempt: Some(attempt.number),
            user: None,
            follow: true,
            framed: false,
            offset: 0,
            without_text: true,
        };
        let stream = self.0.stream_task_logs(request.into_wire()).await;
        let mut stream = stream?.into_inner();
        while let Some(chunk) = stream.next().await {
            let message = LogMessage::from_wire(chunk?).expect("the message can be read");
            match message.piece {
                Some(LogPiece::Output { stream, data, .. }) => each(stream, data),
                other => assert_eq!(other, None),
            }
            if message.is_complete {
                return Ok(message.status);
            }
        }
        Err(Status::unavailable("the stream ended before the log"))
    }
}
