//! The HTTP server of a real master: who comes in, tasks, logs and files over it, what somebody may
//! try, and its own document held against it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod accounts;
mod browser;
mod crowds;
mod document;
mod ends;
mod intruders;
mod logs_and_files;
mod requests;
mod sockets;
mod tasks;
mod tls;
mod tokens;

use cloudai_tests::{
    cluster::Cluster,
    engine::{TEST_SHELL, TEST_TASK},
    wait::until,
    web,
};
use serde_json::{Value, json};

use self::web::{get, post};

/// The first admin's password in these tests.
const ADMIN_PASSWORD: &str = "the first admin of tests";
/// Everybody else's.
const PASSWORD: &str = "correct horse battery";

/// A cluster, and its admin's token.
struct Site {
    cluster: Cluster,
    admin: String,
}

impl Site {
    /// A master alone.
    async fn start() -> Self {
        Self::start_in(&[], &[]).await
    }

    /// The same with one worker.
    async fn with_worker() -> Self {
        let mut site = Self::start().await;
        site.cluster.add_worker("w-1", 4.0).await;
        site
    }

    /// A master with these flags and this environment.
    async fn start_in(flags: &[&str], env: &[(&str, &str)]) -> Self {
        let mut all = vec![("CLOUDAI_ADMIN_PASSWORD", ADMIN_PASSWORD)];
        all.extend(env);
        let cluster = Cluster::start_in("127.0.0.1", flags, &all).await;
        let admin = log_in(&cluster.http, "admin", ADMIN_PASSWORD).await;
        Self { cluster, admin }
    }

    fn at(&self) -> &str {
        &self.cluster.http
    }

    /// Makes a user; their token.
    async fn user(&self, name: &str) -> String {
        let new = json!({"username": name, "password": PASSWORD});
        let made = post("/api/users").by(&self.admin).json(&new);
        made.send(self.at()).await.expect(201);
        log_in(self.at(), name, PASSWORD).await
    }

    /// Submits a task that runs this line; its id.
    async fn submit(&self, token: &str, line: &str) -> String {
        let asked = post("/api/tasks").by(token).json(&shell(line));
        let task = asked.send(self.at()).await.expect(201).json();
        task["task_id"].as_str().unwrap().to_owned()
    }

    async fn task(&self, token: &str, task: &str) -> Value {
        let asked = get(format!("/api/tasks/{task}")).by(token);
        asked.send(self.at()).await.expect(200).json()
    }

    /// Waits until a task has this status.
    async fn has_status(&self, token: &str, task: &str, status: &str) -> Value {
        until(&format!("{task} to be {status}"), async || {
            let told = self.task(token, task).await;
            let now = told["status"].as_str().unwrap().to_owned();
            let is_final = ["completed", "failed", "cancelled"].contains(&now.as_str());
            assert!(now == status || !is_final, "{task} is {now}: {told}");
            (now == status).then_some(told)
        })
        .await
    }
}

/// Logs in, as soon as the master lets anybody in; the token.
async fn log_in(at: &str, name: &str, password: &str) -> String {
    let asked = post("/api/auth/login").json(&json!({"username": name, "password": password}));
    let session = until(&format!("{name} to be let in"), async || {
        let reply = asked.send(at).await;
        (reply.status != 503).then_some(reply)
    })
    .await;
    let session = session.expect(200).json();
    session["token"].as_str().unwrap().to_owned()
}

/// A task that runs this line, small enough for many at once.
fn shell(line: &str) -> Value {
    json!({"docker_image": TEST_SHELL, "command": line, "cpu_cores": 0.5, "memory_gb": 0.125, "storage_gb": 0.5})
}

/// A task that runs `test_task` with these words.
fn test_task(words: &[&str]) -> Value {
    let command: Vec<&str> = [&["/test-task"], words].concat();
    json!({"docker_image": TEST_TASK, "command": command, "cpu_cores": 0.5, "memory_gb": 0.125, "storage_gb": 0.5})
}
