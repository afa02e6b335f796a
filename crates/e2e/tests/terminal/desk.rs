//! A master on a terminal, and what a person does there.

use cloudai_tests::{
    cluster::free_port,
    engine::{containers, engine},
    process::Process,
    programs::programs,
    pty::{
        Terminal,
        key::{CTRL_L, ENTER},
    },
    wait::until,
};
use tempfile::TempDir;

pub(crate) const PROMPT: &str = "master> ";

/// A master on a terminal, with a folder and ports of its own.
pub(crate) struct Desk {
    pub(crate) folder: TempDir,
    pub(crate) grpc: String,
    pub(crate) http: String,
    pub(crate) terminal: Terminal,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self::with(80, &[]).await
    }

    pub(crate) async fn with(columns: u16, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let grpc = format!("127.0.0.1:{}", free_port());
        let http = format!("127.0.0.1:{}", free_port());
        let terminal = master(&folder, [&grpc, &http], columns, environment);
        // The first news of a new master, after which none comes by itself.
        terminal.row_with("User admin was made").await;
        terminal.cursor_after(PROMPT).await;
        Self {
            folder,
            grpc,
            http,
            terminal,
        }
    }

    /// Types a line at the prompt, and waits for its answer and the next prompt: the answer's rows.
    pub(crate) async fn asks(&mut self, line: &str) -> Vec<String> {
        self.terminal.cursor_after(PROMPT).await;
        self.types_on(&format!("{line}{ENTER}")).await
    }

    /// Types the rest of a line, and waits for its answer and the next prompt: the answer's rows.
    pub(crate) async fn types_on(&mut self, rest: &str) -> Vec<String> {
        let before = prompts(&self.terminal.rows()).len();
        self.terminal.types(rest);
        let what = format!("the prompt after {rest:?}");
        self.terminal
            .shows(&what, |terminal| {
                let rows = terminal.rows();
                let prompts = prompts(&rows);
                let (row, column) = terminal.cursor();
                let waits = prompts.len() == before + 1 && (row.as_str(), column) == ("master>", 8);
                let answer = || rows[prompts[before - 1] + 1..prompts[before]].to_vec();
                waits.then(answer)
            })
            .await
    }

    pub(crate) async fn exits(&mut self) {
        self.terminal.cursor_after(PROMPT).await;
        self.terminal.types(&format!("exit{ENTER}"));
        assert_eq!(self.terminal.ends().await, Some(0));
    }

    /// Registers a worker and starts it, and waits until it has been let in.
    pub(crate) async fn add_worker(&mut self) -> Process {
        let port = free_port();
        let line = format!("register worker-1 127.0.0.1:{port}");
        self.asks(&line).await;
        let worker = self.start_worker(port);
        self.terminal
            .row_with("Worker registration: worker-1")
            .await;
        worker
    }

    /// Submits a task with these words, and answers its id.
    pub(crate) async fn submits(&mut self, words: &str) -> String {
        let said = self.asks(&format!("task {words}")).await;
        submitted(&said)
    }

    /// Asks again and again, on a clean screen, until the answer holds `text`.
    pub(crate) async fn asks_until(&mut self, line: &str, text: &str) -> Vec<String> {
        for _ in 0..600 {
            let rows = self.asks(line).await;
            if holds(&rows, text) {
                return rows;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            self.wipes().await;
        }
        panic!("{line} never said {text}");
    }

    /// Clears the screen but for the prompt.
    pub(crate) async fn wipes(&mut self) {
        self.terminal.cursor_after(PROMPT).await;
        self.terminal.types(CTRL_L);
        self.terminal
            .shows("nothing but the prompt", |terminal| {
                (terminal.rows() == ["master>"]).then_some(())
            })
            .await;
    }

    /// Cancels a task, waits for its end, and stops the worker: no container is left.
    pub(crate) async fn ends(&mut self, tasks: &[&str], worker: &mut Process) {
        let engine = engine().await;
        for task in tasks {
            self.asks(&format!("cancel {task}")).await;
            self.terminal
                .row_with(&format!("Task completion: {task}"))
                .await;
        }
        let cluster = self.asks("status --json").await.concat();
        let cluster: serde_json::Value = serde_json::from_str(&cluster).unwrap();
        let cluster = cluster["cluster_id"].as_str().unwrap().parse().unwrap();
        until("the container to be removed", async || {
            let left = containers(&engine, &cluster, "worker-1").await;
            left.is_empty().then_some(())
        })
        .await;
        worker.signal("TERM").await;
        worker.ends().await;
        self.exits().await;
    }

    /// Starts the worker that was registered at this port.
    pub(crate) fn start_worker(&self, port: u16) -> Process {
        let data = self.folder.path().join("worker").display().to_string();
        let args = [
            ["-id", "worker-1"],
            ["-master", &self.grpc],
            ["-port", &format!("127.0.0.1:{port}")],
            ["-data-dir", &data],
            ["-cpu", "2"],
            ["-mem", "2"],
            ["-storage", "10"],
        ];
        let args: Vec<_> = args.concat().into_iter().map(str::to_owned).collect();
        Process::start("worker-1", &programs().worker, &args, self.folder.path())
    }
}

pub(crate) fn master(
    folder: &TempDir,
    [grpc, http]: [&str; 2],
    columns: u16,
    environment: &[(&str, &str)],
) -> Terminal {
    let args = ["-grpc", grpc, "-http", http, "-data-dir", "./master"];
    let args = args.map(str::to_owned);
    let program = &programs().master;
    Terminal::start(
        "master",
        program,
        &args,
        environment,
        columns,
        folder.path(),
    )
}

/// The id in the answer to a submit.
pub(crate) fn submitted(answer: &[String]) -> String {
    let said = answer.iter().find(|row| row.starts_with("✓ Task "));
    let id = said.and_then(|row| row.split_whitespace().nth(2));
    id.unwrap_or_else(|| panic!("{answer:#?}")).to_owned()
}

/// Which rows begin with the prompt.
pub(crate) fn prompts(rows: &[String]) -> Vec<usize> {
    let rows = rows.iter().enumerate();
    let prompts = rows.filter(|(_, row)| row.starts_with("master>"));
    prompts.map(|(index, _)| index).collect()
}

/// Whether one of the rows holds `text`.
pub(crate) fn holds(rows: &[String], text: &str) -> bool {
    rows.iter().any(|row| row.contains(text))
}
