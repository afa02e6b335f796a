//! A user's program: submits, cancels and reads logs over gRPC.

use cloudai_model::{AttemptId, TaskDraft, TaskId, TaskStatus};
use cloudai_proto::{
    CancelAnswer, CancelRequest, LogMessage, LogPiece, LogRequest, OutputStream, Refused,
    Submitted, cluster::master_worker_client::MasterWorkerClient, submit,
};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;

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
        let request = LogRequest {
            task: attempt.task.clone(),
            attempt: Some(attempt.number),
            user: None,
            follow: true,
            framed: false,
            offset: 0,
        };
        let stream = self.0.stream_task_logs(request.into_wire()).await;
        let mut stream = stream.expect("the log is there").into_inner();
        let mut log = Log::default();
        while let Some(chunk) = stream.next().await {
            let message = LogMessage::from_wire(chunk.expect("the stream holds")).unwrap();
            match message.piece {
                Some(LogPiece::Output {
                    stream: OutputStream::Stdout,
                    data,
                    ..
                }) => {
                    log.stdout.extend_from_slice(&data);
                }
                Some(LogPiece::Output {
                    stream: OutputStream::Stderr,
                    data,
                    ..
                }) => {
                    log.stderr.extend_from_slice(&data);
                }
                other => assert_eq!(other, None),
            }
            log.status = message.status;
            each(&log);
            if message.is_complete {
                break;
            }
        }
        log
    }
}
