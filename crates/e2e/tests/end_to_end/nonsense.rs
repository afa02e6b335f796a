//! A worker that sends nonsense: it is told so, and nobody else notices.
//!
//! The liar is played by the test: no real worker does what it does.

use cloudai_files::log::{Frame, LogStream, MAX_PAYLOAD_LEN, encode};
use cloudai_model::TaskId;
use cloudai_proto::cluster::{
    self, ExitReport, FileChunk, Heartbeat, LogChunk, RunningTask, TaskAck, TaskResult, WorkerInfo,
    master_worker_server::{MasterWorker, MasterWorkerServer},
};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    wait::until,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};

const NAME: &str = "liar";

/// Takes every assignment and runs none; its logs never end.
struct Liar {
    /// Whether its logs say anything.
    babbles: bool,
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
        if !self.babbles {
            return Ok(Response::new(Box::pin(tokio_stream::pending())));
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

    async fn cancel_task(&self, _: Request<cluster::TaskId>) -> Result<Response<TaskAck>, Status> {
        unserved()
    }

    async fn list_workers(
        &self,
        _: Request<cluster::ListWorkersRequest>,
    ) -> Result<Response<cluster::WorkerList>, Status> {
        unserved()
    }
}

/// A cluster in which the liar is registered, and one honest worker.
async fn with_liar() -> Cluster {
    with(Liar { babbles: false }).await
}

async fn with(liar: Liar) -> Cluster {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 1.0).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Server::builder()
        .add_service(MasterWorkerServer::new(liar))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    cluster
        .master
        .type_line(&format!("register {NAME} {address}"))
        .await;
    cluster.master.says("Worker liar registered").await;
    cluster
}

fn info(cpu: f64) -> WorkerInfo {
    WorkerInfo {
        worker_id: NAME.to_owned(),
        total_cpu: cpu,
        total_memory: 8.0,
        total_storage: 20.0,
        version: "1".to_owned(),
        ..WorkerInfo::default()
    }
}

async fn listed(cluster: &mut Cluster, worker: &str) -> Value {
    let workers = cluster.json("workers").await;
    let mut entries = workers.as_array().unwrap().iter();
    entries
        .find(|entry| entry["worker_id"] == worker)
        .cloned()
        .unwrap()
}

/// A task that the liar was given.
async fn given(cluster: &mut Cluster) -> TaskId {
    cluster
        .client()
        .await
        .0
        .register_worker(info(4.0))
        .await
        .unwrap();
    let mut draft = test_task(&["exit", "0"]);
    draft.worker_id = Some(NAME.to_owned());
    draft.storage_gb = Some(0.001);
    let task = cluster.submit_draft(draft).await;
    cluster.has_status(&task, "pending").await;
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_capacity_is_refused_by_name() {
    let mut cluster = with_liar().await;
    let mut client = cluster.client().await.0;
    for cpu in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
        let refused = client.register_worker(info(cpu)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{cpu}");
        assert!(refused.message().contains("total_cpu"), "{refused}");
    }
    let entry = listed(&mut cluster, NAME).await;
    assert_eq!(
        (&entry["total_cpu"], &entry["status"]),
        (&Value::Null, &"inactive".into())
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_speaks_for_nobody_but_itself() {
    let mut cluster = with_liar().await;
    let honest = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&honest, "running").await;
    let mut client = cluster.client().await.0;
    client.register_worker(info(4.0)).await.unwrap();

    // It claims another's task, one that never was, and one whose id leaves its folder.
    let claims = [honest.to_string(), "task-1".to_owned()];
    for task_id in claims {
        let result = TaskResult {
            task_id: task_id.clone(),
            worker_id: NAME.to_owned(),
            status: "success".to_owned(),
            attempt: 1,
            exit: Some(success()),
            ..TaskResult::default()
        };
        let answer = client
            .report_task_completion(result)
            .await
            .unwrap()
            .into_inner();
        assert!(
            !answer.success && answer.superseded,
            "{task_id}: {answer:?}"
        );
    }
    let result = TaskResult {
        task_id: "../../etc/passwd".to_owned(),
        worker_id: NAME.to_owned(),
        status: "success".to_owned(),
        attempt: 1,
        exit: Some(success()),
        ..TaskResult::default()
    };
    let refused = client.report_task_completion(result).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("task_id"), "{refused}");

    let running = |task_id: &str| RunningTask {
        task_id: task_id.to_owned(),
        cpu_allocated: -7.0,
        memory_allocated: f64::NAN,
        status: "dancing".to_owned(),
        ..RunningTask::default()
    };
    let heartbeat = Heartbeat {
        worker_id: NAME.to_owned(),
        cpu_usage: f64::NAN,
        memory_usage: -1.0,
        storage_usage: f64::INFINITY,
        running_tasks: ["", "../..", "task-1", &honest.to_string()]
            .map(running)
            .into(),
        last_sequence: Some(u64::MAX),
        holds_complete: true,
        ..Heartbeat::default()
    };
    let taken = client.send_heartbeat(heartbeat).await.unwrap().into_inner();
    assert!(taken.success, "{taken:?}");

    let entry = cluster.has_status(&honest, "running").await;
    assert_eq!(entry["worker_id"], "worker-1");
    cluster.client().await.cancel(&honest).await;
    cluster.has_status(&honest, "cancelled").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_end_is_cut_off_and_nothing_of_it_is_kept() {
    let mut cluster = with_liar().await;
    let task = given(&mut cluster).await;
    let mut client = cluster.client().await.0;

    let (chunks, stream) = mpsc::channel(4);
    let task_id = task.to_string();
    let sending = tokio::spawn(async move {
        let data = vec![7_u8; 1 << 20];
        let mut offset = 0_u64;
        loop {
            let chunk = FileChunk {
                task_id: task_id.clone(),
                worker_id: NAME.to_owned(),
                attempt: 1,
                file_path: "endless".to_owned(),
                offset: Some(offset),
                data: data.clone().into(),
                ..FileChunk::default()
            };
            if chunks.send(chunk).await.is_err() {
                return offset;
            }
            offset += data.len() as u64;
        }
    });
    let answer = client.upload_task_files(ReceiverStream::new(stream)).await;
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    assert!(refused.message().contains("larger than"), "{refused}");
    // One MB was asked for.
    let sent = sending.await.unwrap();
    assert!(sent < 1 << 30, "{sent} bytes were sent");
    let folder = cluster.path("master/files");
    until("what came to be removed", async || {
        let left = walk(&folder);
        left.is_empty().then_some(())
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_end_is_cut_off_and_the_result_says_so() {
    let mut cluster = with(Liar { babbles: true }).await;
    let task = given(&mut cluster).await;
    let log = cluster.path("master").join(format!("logs/{task}/1.log"));
    let length = || std::fs::metadata(&log).map_or(0, |log| log.len());
    // Given a log that would fill the disk, of a task with a MB of storage
    until("a part of it is here", async || {
        (length() > 1 << 20).then_some(())
    })
    .await;

    // when its end is reported,
    let mut client = cluster.client().await.0;
    let result = TaskResult {
        task_id: task.to_string(),
        worker_id: NAME.to_owned(),
        status: "success".to_owned(),
        attempt: 1,
        exit: Some(success()),
        log_length: Some(u64::MAX),
        log_complete: true,
        files_complete: true,
        ..TaskResult::default()
    };
    until("the report is taken", async || {
        let report = client.report_task_completion(result.clone());
        report.await.unwrap().into_inner().success.then_some(())
    })
    .await;

    // then what is kept of it is bounded, and everybody knows.
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["log_complete"], false, "{entry}");
    let reason = entry["log_reason"].as_str().unwrap();
    assert!(reason.contains("it is cut after"), "{reason}");
    assert!(length() < 300 << 20, "{} bytes", length());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_views_differ_in_is_mended_by_hand_and_told() {
    let mut cluster = with_liar().await;
    let task = given(&mut cluster).await;
    // Given a worker that holds what nobody gave it
    let stray = RunningTask {
        task_id: "task-1".to_owned(),
        status: "running".to_owned(),
        attempt: 7,
        ..RunningTask::default()
    };
    let given = RunningTask {
        task_id: task.to_string(),
        status: "running".to_owned(),
        attempt: 1,
        ..RunningTask::default()
    };
    let heartbeat = Heartbeat {
        worker_id: NAME.to_owned(),
        running_tasks: vec![given, stray],
        last_sequence: Some(u64::MAX),
        holds_complete: true,
        ..Heartbeat::default()
    };
    let mut client = cluster.client().await.0;
    client.send_heartbeat(heartbeat).await.unwrap();

    // then both views show it, and to mend it is told.
    let state = cluster.json("internal-state").await;
    let shown = state.to_string();
    assert!(shown.contains("task-1, attempt 7"), "{shown}");
    cluster.master.type_line("fix-resources").await;
    let told = cluster.master.says("asked the worker to stop it").await;
    assert!(told.contains("task-1, attempt 7"), "{told}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_large_is_refused_and_the_server_goes_on() {
    let mut cluster = with_liar().await;
    let mut client = cluster.client().await.0;
    let oversized = WorkerInfo {
        worker_ip: "x".repeat(20 << 20),
        ..info(4.0)
    };
    let refused = client.register_worker(oversized).await.unwrap_err();
    assert!(
        matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{refused}"
    );
    let task = cluster.submit(&["exit", "0"]).await;
    cluster.has_status(&task, "completed").await;
    cluster.end().await;
}

fn success() -> ExitReport {
    ExitReport {
        kind: "exited".to_owned(),
        has_exit_code: true,
        ..ExitReport::default()
    }
}

/// Every file below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
