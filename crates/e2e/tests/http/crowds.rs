//! Clients that cost without asking for anything: thousands that are silent, bodies without an end,
//! JSON without a bottom.

use std::time::Duration;

use cloudai_model::{Command, TaskDraft};
use cloudai_tests::{cluster::test_task, engine::TEST_SHELL};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    Site, shell,
    web::{PATIENCE, get, post},
};

/// How many are silent.
const SILENT: usize = 10_000;

/// More of them than the gRPC port has places.
const SILENT_AT_GRPC: usize = 5000;

/// Lets this process have as many open files as it may.
fn raise_file_limit(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let may = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        may >= needed,
        "expected a hard limit of {needed} open files, found {may}: raise it (ulimit -Hn)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_who_say_nothing_keep_nobody_out() {
    raise_file_limit(SILENT as u64 + 500);
    let site = Site::start().await;
    let alice = site.user("alice").await;
    // Given ten thousand connections, of which some begin a request and don't go on,
    let mut silent = Vec::with_capacity(SILENT);
    let mut slowest = Duration::ZERO;
    for number in 0..SILENT {
        // A full queue of those that wait to be let in is tried again by the system.
        let stream = timeout(PATIENCE, TcpStream::connect(site.at()))
            .await
            .expect("in time");
        let mut stream = stream.unwrap();
        if number % 3 == 0 {
            let _ = stream
                .write_all(b"GET /api/tasks HTTP/1.1\r\nHost: localhost\r\nX: ")
                .await
                .is_ok();
        }
        silent.push(stream);
        if number % 500 == 499 {
            // when somebody else comes meanwhile,
            let began = Instant::now();
            post("/api/tasks")
                .by(&alice)
                .json(&shell("true"))
                .send(site.at())
                .await
                .expect(201);
            get("/api/tasks?limit=5")
                .by(&alice)
                .send(site.at())
                .await
                .expect(200);
            get("/health").send(site.at()).await.expect(200);
            slowest = slowest.max(began.elapsed());
        }
    }
    // then they are served, and soon,
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    // and the silent ones are sent away, which costs the master nothing that stays.
    let mut closed = 0;
    for stream in &mut silent {
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _ = read.expect("it is closed in time").is_ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
        closed += 1;
    }
    assert_eq!(closed, SILENT);
    let metrics = get("/metrics").send(site.at()).await.expect(200).text();
    let open = metrics
        .lines()
        .find_map(|line| line.strip_prefix("process_open_fds "))
        .unwrap();
    assert!(
        open.parse::<f64>().unwrap() < 500.0,
        "{open} files are open"
    );
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_do_thousands_at_the_grpc_port_where_workers_and_clients_go_on() {
    raise_file_limit(SILENT_AT_GRPC as u64 + 500);
    let mut site = Site::start().await;
    site.cluster.add_worker("w-1", 2.0).await;
    let at = format!("127.0.0.1:{}", site.cluster.grpc_port());
    // Given more connections than there are places, of which some begin to speak HTTP/2,
    let mut silent = Vec::with_capacity(SILENT_AT_GRPC);
    for number in 0..SILENT_AT_GRPC {
        let stream = timeout(PATIENCE, TcpStream::connect(&at))
            .await
            .expect("in time");
        let mut stream = stream.unwrap();
        if number % 3 == 0 {
            let _ = stream.write_all(b"PRI * HTTP/2.0\r\n").await.is_ok();
        }
        silent.push(stream);
        if number % 1000 == 999 {
            // when somebody else comes meanwhile, then the worker has it and runs it,
            let task = site.cluster.submit_draft(a_second()).await;
            site.cluster.has_status(&task, "completed").await;
        }
    }
    // and the silent ones are sent away.
    for stream in &mut silent {
        let mut said = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        let _ = read.expect("it is closed in time").is_ok();
    }
    site.cluster.end().await;
}

/// A task of a second.
fn a_second() -> TaskDraft {
    TaskDraft {
        docker_image: TEST_SHELL.to_owned(),
        command: Command::Shell("sleep 1".to_owned()),
        ..test_task(&[])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_an_end_is_given_up() {
    let site = Site::start().await;
    let alice = site.user("alice").await;
    let head = |framing: &str| {
        format!(
            "POST /api/tasks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {alice}\r\n\
             Content-Type: application/json\r\n{framing}\r\n\r\n"
        )
    };
    let connect = async |framing: &str| {
        let mut stream = TcpStream::connect(site.at()).await.unwrap();
        stream.write_all(head(framing).as_bytes()).await.unwrap();
        stream
    };
    let told = async |stream: &mut TcpStream| {
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _ = read.expect("an answer in time").is_ok();
        String::from_utf8_lossy(&answer).into_owned()
    };
    // One that says that it is too long is refused before any of it is read,
    let mut announced = connect("Content-Length: 9000000000000").await;
    let answer = told(&mut announced).await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("too_large"),
        "{answer}"
    );
    // one that doesn't as soon as it is,
    let (mut reader, mut writer) = connect("Transfer-Encoding: chunked").await.into_split();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    let writing = tokio::spawn(async move {
        let mut written = 0_usize;
        while writer.write_all(&chunk).await.is_ok() {
            written += chunk.len();
        }
        written
    });
    let mut answer = vec![0; 12];
    timeout(PATIENCE, reader.read_exact(&mut answer))
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    drop(reader);
    let written = timeout(PATIENCE, writing)
        .await
        .expect("nobody reads on")
        .unwrap();
    assert!(written < 64 << 20, "{written} bytes were taken");
    // and one that comes a byte at a time when its time is over; others are served meanwhile.
    let (mut reader, mut writer) = connect("Content-Length: 100000").await.into_split();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let began = Instant::now();
    get("/api/tasks")
        .by(&alice)
        .send(site.at())
        .await
        .expect(200);
    let mut answer = vec![0; 12];
    timeout(PATIENCE, reader.read_exact(&mut answer))
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(began.elapsed() < Duration::from_secs(50));
    drop(reader);
    timeout(PATIENCE, dripping)
        .await
        .expect("the connection is closed")
        .unwrap();
    // A header that doesn't end is no better.
    let long = format!(
        "GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}",
        "a".repeat(100_000)
    );
    let answer = crate::web::exchange(site.at(), long.as_bytes()).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_without_a_bottom_costs_no_stack() {
    let site = Site::start().await;
    let alice = site.user("alice").await;
    // Who is not known yet may send less.
    for (path, most) in [
        ("/api/tasks", 1 << 20),
        ("/api/tasks/batch", 1 << 20),
        ("/api/keys", 1 << 20),
        ("/api/auth/login", 64 << 10),
        ("/api/auth/register", 64 << 10),
    ] {
        let levels = most / 10;
        let bodies = [
            "[".repeat(most * 9 / 10),
            "{\"a\":".repeat(levels),
            format!(
                "{{\"docker_image\": {}1{}}}",
                "[".repeat(levels * 4),
                "]".repeat(levels * 4)
            ),
            format!("{{\"env\": {}", "{\"a\":".repeat(levels)),
        ];
        for body in bodies {
            let asked = post(path)
                .by(&alice)
                .header("Content-Type", "application/json");
            let refused = asked.body(body).send(site.at()).await;
            refused.expect_problem(400, "invalid_json");
        }
    }
    // Neither do many mistakes make a long answer.
    let wrong = json!({"tasks": vec![json!({"x": 1, "y": 2, "z": 3}); 10_000]});
    let refused = post("/api/tasks/batch")
        .by(&alice)
        .json(&wrong)
        .send(site.at())
        .await;
    let refused = refused.expect_problem(400, "invalid_body");
    assert!(refused.body.len() < 1 << 20, "{} bytes", refused.body.len());
    site.cluster.end().await;
}
