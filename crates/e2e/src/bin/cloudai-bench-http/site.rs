//! A master of a benchmark: its admin, users, and what is asked of it.

use cloudai_tests::{
    cluster::Cluster,
    engine::TEST_TASK,
    measuring::{Memory, forget_most_memory, memory_mb},
    wait::until,
    web::{Ask, get, post},
};
use serde_json::{Value, json};

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// See the module.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    /// A token of the admin.
    pub(crate) admin: String,
}

impl Site {
    /// A master without workers, with these flags more.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let env = [("CLOUDAI_ADMIN_PASSWORD", PASSWORD)];
        let cluster = Cluster::start_in("127.0.0.1", flags, &env).await;
        let asked = login("admin");
        let session = until("the admin to be let in", async || {
            let reply = asked.send(&cluster.http).await;
            (reply.status != 503).then(|| reply.expect(200).json())
        })
        .await;
        let admin = session["token"].as_str().unwrap().to_owned();
        Self { cluster, admin }
    }

    pub(crate) fn at(&self) -> &str {
        &self.cluster.http
    }

    /// The master's process.
    pub(crate) fn pid(&self) -> u32 {
        self.cluster.master.pid()
    }

    /// Makes a user.
    pub(crate) async fn user(&self, name: &str) {
        let new = json!({"username": name, "password": PASSWORD});
        let asked = post("/api/users").by(&self.admin).json(&new);
        asked.send(self.at()).await.expect(201);
    }

    /// Submits a task; its id.
    pub(crate) async fn submit(&self, task: &Value) -> String {
        let asked = post("/api/tasks").by(&self.admin).json(task);
        let task = asked.send(self.at()).await.expect(201).json();
        task["task_id"].as_str().unwrap().to_owned()
    }

    /// What somebody asks for who wants little: a task.
    pub(crate) async fn small_request(&self) -> Ask {
        let task = self.submit(&task()).await;
        get(format!("/api/tasks/{task}")).by(&self.admin)
    }

    /// What the master holds now; from here on the most is told anew.
    pub(crate) fn memory_before(&self) -> f64 {
        let _ = forget_most_memory(self.pid()).is_ok();
        memory_mb(self.pid(), Memory::Now)
    }

    /// Ends it without a word: to cancel all its tasks would take long.
    pub(crate) async fn kill(mut self) {
        self.cluster.kill_master().await;
    }
}

/// A login.
pub(crate) fn login(user: &str) -> Ask {
    post("/api/auth/login").json(&json!({"username": user, "password": PASSWORD}))
}

/// A task like those that the other benchmarks submit over gRPC.
pub(crate) fn task() -> Value {
    json!({
        "docker_image": TEST_TASK,
        "command": ["/test-task", "exit", "0"],
        "cpu_cores": 0.5,
        "memory_gb": 0.125,
        "storage_gb": 0.5,
    })
}

/// Prints what the master held before and at most since.
pub(crate) fn print_memory(site: &Site, before: f64) {
    let (most, now) = (
        memory_mb(site.pid(), Memory::Most),
        memory_mb(site.pid(), Memory::Now),
    );
    println!(
        "{:<34}{before:>10.1} MB{most:>11.1} MB{now:>11.1} MB",
        "memory of the master: before, most, after"
    );
}
