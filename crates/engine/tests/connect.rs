//! The way to the engine, and the ways in which there is none.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use cloudai_engine::{ConnectError, Engine};
use support::{Place, proxy::Proxy, within};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

async fn failure(host: &str) -> ConnectError {
    within(Engine::connect(Some(host))).await.unwrap_err()
}

fn host(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A socket whose owner answers everything with these bytes.
fn answering(folder: &tempfile::TempDir, answer: String) -> PathBuf {
    let path = folder.path().join("answering.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = client.read(&mut request).await.unwrap();
            client.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    path
}

#[tokio::test]
async fn an_engine_tells_of_itself() {
    let place = Place::new().await;
    place.engine.ping().await.unwrap();
    let info = place.engine.info();
    assert!(info.version.contains('.'), "{info:?}");
    assert!(info.api_version.starts_with("1."), "{info:?}");
    assert!(matches!(info.cgroup_version, Some(1 | 2)), "{info:?}");
    assert!(info.cpus > 0 && info.memory_bytes > 0, "{info:?}");
    assert!(info.root_dir.starts_with('/'), "{info:?}");
    assert_eq!(info.lacks, [], "containers of these tests are confined");
    assert_eq!(info.os, "linux");
    assert!(!info.arch.is_empty() && !info.storage_driver.is_empty());
}

#[tokio::test]
async fn no_socket_nobody_there_and_no_docker_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();

    let none = failure(&host(&folder.path().join("none.sock"))).await;
    assert!(matches!(none, ConnectError::NoSocket { .. }), "{none}");
    assert!(none.to_string().contains("DOCKER_HOST"), "{none}");

    // Given a socket that was left behind
    let left = folder.path().join("left.sock");
    drop(UnixListener::bind(&left).unwrap());
    let nobody = failure(&host(&left)).await;
    assert!(matches!(nobody, ConnectError::NoAnswer { .. }), "{nobody}");

    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnope\n".to_owned(),
        ok("<html></html>"),
        ok("{}"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = failure(&host(&answering(&folder, answer.clone()))).await;
        assert!(
            matches!(error, ConnectError::NotDocker { .. }),
            "{answer}: {error}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let socket = answering(
        &folder,
        ok(r#"{"Version": "19.03.15", "ApiVersion": "1.40"}"#),
    );
    let error = failure(&host(&socket)).await;
    assert!(matches!(error, ConnectError::TooOld { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("19.03.15") && text.contains("20.10"),
        "{text}"
    );
}

#[tokio::test]
async fn an_engine_that_goes_away_later_is_a_passing_error() {
    let proxy = Proxy::new();
    let engine = Engine::connect(Some(&proxy.host())).await.unwrap();
    assert!(engine.is_local());
    proxy.cut();
    let error = engine.ping().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    proxy.mend();
    engine.ping().await.unwrap();
}
