//! What somebody may try: other people's things, strange spellings, requests that hide another.

use std::{
    io,
    sync::{Arc, Mutex},
};

use cloudai_model::{TaskId, TaskStatus};
use serde_json::{Value, json};

use crate::support::{
    Site,
    client::{Ask, Reply, delete, exchange, get, patch, post},
};

/// Every path that names a task.
fn asked_of(task: &str) -> Vec<Ask> {
    vec![
        get(format!("/api/tasks/{task}")),
        patch(format!("/api/tasks/{task}")).json(&json!({"name": "x"})),
        delete(format!("/api/tasks/{task}")),
        get(format!("/api/tasks/{task}/logs")),
        get(format!("/api/tasks/{task}/logs?follow=true")).header("Accept", "text/event-stream"),
        get(format!("/api/tasks/{task}/events")),
        get(format!("/api/tasks/{task}/explain")),
        get(format!("/api/files/{task}")),
        get(format!("/api/files/{task}/download/a")),
        get(format!("/api/files/{task}/archive")),
        delete(format!("/api/files/{task}")),
    ]
}

/// A body without what differs by request.
fn body(reply: &Reply) -> Value {
    let mut problem = reply.json();
    problem["request_id"] = Value::Null;
    problem
}

#[tokio::test]
async fn another_users_things_are_as_if_they_were_not_there() {
    // Given an ended task of alice's with files and a log, and one that runs,
    let site = Site::new().await;
    let ended = site.master.put("alice", 1);
    site.master.start(&ended, 1);
    site.master.print(&ended, 1, b"secret");
    site.master.end(&ended, TaskStatus::Completed);
    site.master.leave(&ended, &[("a", b"secret")]);
    let running = site.master.put("alice", 2);
    site.master.start(&running, 1);

    // when bob asks for them, then he is answered, to the byte, as of one that doesn't exist;
    let bob = site.token("bob").await;
    for task in [&ended, &running] {
        let there = asked_of(&task.to_string());
        for (there, not_there) in there.into_iter().zip(asked_of("task-99")) {
            let of_alice = site
                .send(there.clone().by(&bob))
                .await
                .expect_problem(404, "not_found");
            let of_nobody = site
                .send(not_there.by(&bob))
                .await
                .expect_problem(404, "not_found");
            assert_eq!(body(&of_alice), body(&of_nobody), "{there:?}");
            let names = |reply: &Reply| -> Vec<String> {
                reply.headers.iter().map(|(name, _)| name.clone()).collect()
            };
            assert_eq!(names(&of_alice), names(&of_nobody), "{there:?}");
        }
    }
    // and nothing of hers has changed.
    let alice = site.token("alice").await;
    let read = site
        .send(get(format!("/api/tasks/{ended}")).by(&alice))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&read["name"], &read["status"]),
        (&json!(""), &json!("completed"))
    );
    let log = site
        .send(get(format!("/api/tasks/{ended}/logs")).by(&alice))
        .await
        .expect(200);
    assert_eq!(log.body, b"secret");
    let all = site
        .send(get("/api/tasks").by(&bob))
        .await
        .expect(200)
        .json();
    assert_eq!(all["items"], json!([]));
}

#[tokio::test]
async fn without_a_token_that_counts_nothing_is_told() {
    let site = Site::new().await;
    let task = site.master.put("alice", 1).to_string();
    let good = site.token("alice").await;
    let cut = &good[..good.len() - 1];
    let mut parts: Vec<&str> = good.split('.').collect();
    parts[2] = "AAAA";
    let unsigned = parts.join(".");
    let none = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
    let mut paths = asked_of(&task);
    paths.extend([
        get("/api/tasks"),
        post("/api/tasks").json(&json!({"docker_image": "a"})),
        post("/api/tasks/batch").json(&json!({"tasks": []})),
        get("/api/workers"),
        get("/api/workers/w"),
        get("/api/workers/w/tasks"),
        post("/api/workers").json(&json!({})),
        post("/api/workers/w/drain"),
        delete("/api/workers/w"),
        get("/api/files"),
        get("/api/users"),
        post("/api/users").json(&json!({})),
        get("/api/users/alice"),
        patch("/api/users/alice").json(&json!({})),
        delete("/api/users/alice"),
        get("/api/keys"),
        post("/api/keys").json(&json!({})),
        delete("/api/keys/x"),
        get("/api/audit"),
        get("/api/auth/me"),
        post("/api/auth/logout"),
        post("/api/auth/password").json(&json!({})),
    ]);
    for asked in paths {
        site.send(asked.clone())
            .await
            .expect_problem(401, "unauthenticated");
        for token in ["", "x", cut, &unsigned, &none, &format!("{good} {good}")] {
            let reply = site.send(asked.clone().by(token)).await;
            reply.expect_problem(401, "unauthenticated");
        }
    }
    for open in ["/", "/health", "/ready", "/docs", "/api-docs/openapi.json"] {
        site.send(get(open)).await.expect(200);
    }
}

#[tokio::test]
async fn no_spelling_leaves_a_tasks_folder() {
    // Given a task with a file, and files of others around it,
    let site = Site::new().await;
    let token = site.token("alice").await;
    let task = site.master.put("alice", 1);
    site.master.end(&task, TaskStatus::Completed);
    site.master.leave(&task, &[("a", b"own")]);
    std::fs::write(site.folder.path().join("files/secret"), "secret").unwrap();
    std::fs::write(site.folder.path().join("files/alice/.htaccess"), "secret").unwrap();

    // when a path is spelled in any of these ways, as it is or escaped once more, then no file is there.
    let spellings = include_str!("../vectors/path-traversal.txt");
    let escape = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let mut tried = 0;
    for spelling in spellings
        .lines()
        .map(|line| line.replace("{FILE}", "etc/passwd"))
    {
        // What can't stand in a request's first line at all is escaped.
        let raw: String = spelling
            .chars()
            .map(|c| match c {
                c if c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c) => c.to_string(),
                c => escape(&c.to_string()),
            })
            .collect();
        for path in [raw, escape(&spelling)] {
            tried += 1;
            for asked in [
                get(format!("/api/files/{task}/download/{path}")),
                get(format!("/api/files/{path}/archive")),
                get(format!("/api/files/{path}")),
                get(format!("/api/tasks/{path}/logs")),
            ] {
                let reply = site.send(asked.clone().by(&token)).await;
                // Some have a query, or a NUL that no path holds.
                assert!(
                    [404, 400].contains(&reply.status),
                    "{asked:?}: {}",
                    reply.status
                );
                reply.code();
                assert!(!reply.text().contains("secret"), "{asked:?}");
            }
        }
    }
    assert_eq!(tried, 280);
    let own = get(format!("/api/files/{task}/download/a")).by(&token);
    assert_eq!(site.send(own).await.expect(200).body, b"own");
}

#[tokio::test]
async fn deep_json_costs_no_stack() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let submit = post("/api/tasks")
        .by(&token)
        .header("Content-Type", "application/json");
    for deep in ["[".repeat(500_000), "{\"a\":".repeat(100_000)] {
        site.send(submit.clone().body(deep))
            .await
            .expect_problem(400, "invalid_json");
    }
    let twice = r#"{"docker_image": "a", "docker_image": "b"}"#;
    let reply = site
        .send(submit.body(twice))
        .await
        .expect_problem(400, "invalid_json");
    assert!(reply.text().contains("twice"), "{}", reply.text());
}

#[tokio::test]
async fn no_request_hides_another_or_a_header() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    // Two lengths, or a length and chunks: whoever stands before us may have read the other one.
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: x\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: gzip\r\n",
    ] {
        let request = format!(
            "POST /api/tasks HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n{lengths}Connection: close\r\n\r\n{{}}   "
        );
        let reply = exchange(site.at, request.as_bytes()).await;
        assert_eq!(reply.status, 400, "{lengths}");
    }
    // What a client sends comes back in no header but as it is allowed.
    for id in ["x\r\nSet-Cookie: a=b", "x\nY: z", "x\0y", "\u{e9}"] {
        let request = format!(
            "GET /health HTTP/1.1\r\nHost: here\r\nX-Request-Id: {id}\r\nConnection: close\r\n\r\n"
        );
        let reply = exchange(site.at, request.as_bytes()).await;
        assert_eq!(reply.header("set-cookie"), None);
        assert_eq!(reply.header("y"), None);
        if let Some(answered) = reply.header("x-request-id") {
            assert!(answered.len() <= 16 && answered.is_ascii(), "{answered:?}");
        }
    }
    // A name that is repeated in a problem is data, whatever it holds.
    let odd = get("/api/tasks?a%0d%0aSet-Cookie:%20x=y=1").by(&token);
    let reply = site
        .send(odd)
        .await
        .expect_problem(400, "invalid_parameter");
    assert_eq!(reply.header("set-cookie"), None);
    assert_eq!(reply.places(), ["a\r\nSet-Cookie: x"]);
}

/// Where this test's log goes.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_forges_a_line_of_the_log_or_leaves_a_secret_there() {
    // One for the whole process: what other tests write stands there, too, and says nothing else.
    let written = Written::default();
    let writer = written.clone();
    tracing_subscriber::fmt()
        .with_env_filter("cloudai=debug")
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .init();
    let site = Site::new().await;
    let token = site.token("alice").await;
    let task: TaskId = site.master.put("alice", 1);
    for asked in [
        get("/api/tasks/%0aFORGED").by(&token),
        get("/x%0d%0aFORGED"),
        get("/x?token=QUERYSECRET"),
        get(format!("/api/files/{task}/download/%0aFORGED")).by(&token),
        post("/api/auth/login").json(&json!({"username": "a\nFORGED", "password": "PASSSECRET"})),
        get("/health").header("X-Request-Id", "a FORGED"),
        get("/health").header("X-Request-Id", "told-by-this-test"),
        get("/health").header("User-Agent", "FORGED"),
    ] {
        site.send(asked).await;
    }
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let told = |line: &str| line.contains("told-by-this-test") && line.contains("answered");
    assert!(text.lines().any(told), "{text}");
    assert!(
        !text
            .lines()
            .any(|line| line.trim_start().starts_with("FORGED")),
        "{text}"
    );
    for secret in ["QUERYSECRET", "PASSSECRET", &token] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}
