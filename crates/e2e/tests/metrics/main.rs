//! What a master counts, as Prometheus itself reads it: the real program, real tasks, Debian's
//! prometheus and promtool.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod board;
mod counted;
mod promtool;

use std::path::PathBuf;

use cloudai_model::{Command, TaskDraft};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    engine::TEST_SHELL,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A task that runs this line.
fn shell(line: &str) -> TaskDraft {
    TaskDraft {
        docker_image: TEST_SHELL.to_owned(),
        command: Command::Shell(line.to_owned()),
        ..test_task(&[])
    }
}

/// A cluster of one worker.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("w-1", 4.0).await;
    cluster
}

/// One of the programs that `scripts/prometheus-up` puts under target/.
fn program(name: &str) -> PathBuf {
    let path = root().join("target/prometheus").join(name);
    assert!(
        path.exists(),
        "expected Debian's {name} at {}: run scripts/prometheus-up",
        path.display()
    );
    path
}

fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_owned()
}

/// Head and body of an answer; as HTTP/1.0, so that the body comes as it is.
async fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// What the master counts.
async fn metrics(cluster: &Cluster) -> String {
    let (head, body) = get(&cluster.http, "/metrics").await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    let kind = "content-type: text/plain; version=0.0.4";
    assert!(head.to_lowercase().contains(kind), "{head}");
    body
}

/// The figure of one series, written as the master writes it.
fn figure(text: &str, series: &str) -> f64 {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("{series} is not told:\n{text}"));
    line.parse().unwrap()
}
