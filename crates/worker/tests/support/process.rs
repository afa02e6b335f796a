//! A `worker-node` process, what it says, and a client to it.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use cloudai_proto::cluster::{
    LogChunk, Task, TaskAck, TaskId, TaskLogRequest, master_worker_client::MasterWorkerClient,
};
use tonic::transport::Channel;

use super::{until, within};

/// A running worker; killed when it is dropped.
pub struct Worker {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Worker {
    /// Starts a worker with these flags on top of the usual ones; it listens at a free port of
    /// this machine alone.
    pub fn start(data_dir: &Path, master: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker-node"));
        if !flags.contains(&"-port") {
            command.args(["-port", "127.0.0.1:0"]);
        }
        command
            .args(["-master", master, "-cpu", "4", "-mem", "4", "-storage", "4"])
            .arg("-data-dir")
            .arg(data_dir)
            .args(flags)
            .current_dir(data_dir)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in ["DOCKER_HOST", "PATH", "LOG_LEVEL"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let read = |from: Box<dyn std::io::Read + Send>| {
            let lines = lines.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(from).lines().map_while(Result::ok) {
                    println!("worker: {line}");
                    lines.lock().unwrap().push(line);
                }
            });
        };
        read(Box::new(child.stdout.take().unwrap()));
        read(Box::new(child.stderr.take().unwrap()));
        Self { child, lines }
    }

    /// Everything it has said so far.
    pub fn said(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits until it says a line with this in it.
    pub async fn says(&self, words: &str) -> String {
        until(words, || {
            self.said().into_iter().find(|line| line.contains(words))
        })
        .await
    }

    /// Waits until it ends by itself; whether with success.
    pub async fn ends(&mut self) -> bool {
        let status = until("the end of the worker", || self.child.try_wait().unwrap()).await;
        status.success()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let status = Command::new("kill").arg(self.pid().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Where it listens.
    pub async fn address(&self) -> String {
        let line = self.says("gRPC server listening on ").await;
        line.rsplit(' ').next().unwrap().to_owned()
    }

    pub async fn client(&self) -> MasterWorkerClient<Channel> {
        let address = self.address().await;
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        MasterWorkerClient::new(channel.connect().await.unwrap())
    }

    pub async fn assign(&self, task: Task) -> TaskAck {
        let mut client = self.client().await;
        within(client.assign_task(task)).await.unwrap().into_inner()
    }

    pub async fn cancel(&self, task: &str, attempt: u32) -> TaskAck {
        let request = TaskId {
            task_id: task.to_owned(),
            attempt,
            reason: "its user wants it".to_owned(),
            ..TaskId::default()
        };
        let mut client = self.client().await;
        within(client.cancel_task(request))
            .await
            .unwrap()
            .into_inner()
    }

    /// The log as older callers ask for it.
    pub async fn plain_log(&self, task: &str) -> tonic::Streaming<LogChunk> {
        let request = TaskLogRequest {
            task_id: task.to_owned(),
            follow: true,
            ..TaskLogRequest::default()
        };
        let mut client = self.client().await;
        let stream = within(client.stream_task_logs(request)).await;
        stream.unwrap().into_inner()
    }

    /// Framed bytes of a log from an offset on, and whether it was complete.
    pub async fn framed_log(&self, task: &str, offset: u64) -> (Vec<u8>, bool) {
        let request = TaskLogRequest {
            task_id: task.to_owned(),
            attempt: 1,
            follow: true,
            framed: true,
            offset,
            ..TaskLogRequest::default()
        };
        let mut client = self.client().await;
        within(async {
            let mut stream = client.stream_task_logs(request).await.unwrap().into_inner();
            let (mut bytes, mut complete) = (Vec::new(), false);
            while let Some(chunk) = stream.message().await.unwrap() {
                if !chunk.data.is_empty() {
                    assert_eq!(chunk.offset, offset + bytes.len() as u64);
                }
                bytes.extend_from_slice(&chunk.data);
                complete = chunk.is_complete;
            }
            (bytes, complete)
        })
        .await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The output in framed bytes: what was written to stdout, and to stderr.
pub fn output(framed: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut decoder = cloudai_files::log::Decoder::new();
    decoder.feed(framed);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(frame) = decoder.next_frame().unwrap() {
        match frame.stream {
            cloudai_files::log::LogStream::Stdout => out.extend_from_slice(&frame.data),
            cloudai_files::log::LogStream::Stderr => err.extend_from_slice(&frame.data),
        }
    }
    assert_eq!(decoder.pending_len(), 0);
    (out, err)
}
