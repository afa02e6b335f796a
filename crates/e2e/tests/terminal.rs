//! The master's console as a person uses it: the real programs on a pseudo-terminal.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use cloudai_tests::{
    cluster::free_port,
    engine::{TEST_TASK, containers, engine},
    process::Process,
    programs::programs,
    pty::{
        Terminal,
        key::{CTRL_C, CTRL_D, ENTER, LEFT, TAB, UP},
    },
    wait::until,
};
use tempfile::TempDir;

const PROMPT: &str = "master> ";

/// A master on a terminal, with a folder and ports of its own.
struct Desk {
    folder: TempDir,
    grpc: String,
    terminal: Terminal,
}

impl Desk {
    async fn new() -> Self {
        Self::with(80, &[]).await
    }

    async fn with(columns: u16, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let grpc = format!("127.0.0.1:{}", free_port());
        let terminal = master(&folder, &grpc, columns, environment);
        terminal.cursor_after(PROMPT).await;
        Self {
            folder,
            grpc,
            terminal,
        }
    }

    /// Types a line at the prompt, and waits for its answer and the next prompt: the answer's rows.
    async fn asks(&mut self, line: &str) -> Vec<String> {
        self.terminal.cursor_after(PROMPT).await;
        self.types_on(&format!("{line}{ENTER}")).await
    }

    /// Types the rest of a line, and waits for its answer and the next prompt: the answer's rows.
    async fn types_on(&mut self, rest: &str) -> Vec<String> {
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

    async fn exits(&mut self) {
        self.terminal.cursor_after(PROMPT).await;
        self.terminal.types(&format!("exit{ENTER}"));
        assert_eq!(self.terminal.ends().await, Some(0));
    }

    /// Starts the worker that was registered at this port.
    fn start_worker(&self, port: u16) -> Process {
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

fn master(folder: &TempDir, grpc: &str, columns: u16, environment: &[(&str, &str)]) -> Terminal {
    let data = folder.path().join("master").display().to_string();
    let args = ["-grpc", grpc, "-http", "127.0.0.1:0", "-data-dir", &data];
    let args = args.map(str::to_owned);
    Terminal::start("master", &programs().master, &args, environment, columns)
}

/// Which rows begin with the prompt.
fn prompts(rows: &[String]) -> Vec<usize> {
    let rows = rows.iter().enumerate();
    let prompts = rows.filter(|(_, row)| row.starts_with("master>"));
    prompts.map(|(index, _)| index).collect()
}

/// Whether one of the rows holds `text`.
fn holds(rows: &[String], text: &str) -> bool {
    rows.iter().any(|row| row.contains(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_completed_edited_and_recalled_also_after_a_restart() {
    let mut desk = Desk::new().await;
    desk.terminal.types(&format!("hel{TAB}"));
    desk.terminal.cursor_after("master> help ").await;
    assert!(holds(&desk.types_on(ENTER).await, "unregister"));

    desk.terminal.types("satus");
    desk.terminal.cursor_after("master> satus").await;
    desk.terminal.types(&format!("{}t", LEFT.repeat(4)));
    desk.terminal
        .shows("the letter in its place", |terminal| {
            (terminal.cursor() == ("master> status".to_owned(), 10)).then_some(())
        })
        .await;
    assert!(holds(&desk.types_on(ENTER).await, "sqlite"));

    desk.terminal.types(UP);
    desk.terminal.cursor_after("master> status").await;
    desk.terminal.types(UP);
    desk.terminal.cursor_after("master> help ").await;
    desk.types_on(CTRL_C).await;
    desk.exits().await;

    desk.terminal = master(&desk.folder, &desk.grpc, 80, &[]);
    desk.terminal.cursor_after(PROMPT).await;
    desk.terminal.types(&UP.repeat(2));
    desk.terminal.cursor_after("master> status").await;
    assert!(holds(&desk.types_on(ENTER).await, "sqlite"));
    desk.exits().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_pasted_at_once_are_all_run_in_order() {
    let mut desk = Desk::new().await;
    desk.terminal
        .types("queue\rlist-tasks\rworkers\rnonsense\rexit\r");
    assert_eq!(desk.terminal.ends().await, Some(0));
    desk.terminal.row_with("Unknown command").await;
    let rows = desk.terminal.rows();
    let answers = [
        "No task waits",
        "No tasks",
        "none: add one",
        "Unknown command",
    ];
    let places = answers.map(|text| rows.iter().position(|row| row.contains(text)));
    assert!(places.is_sorted() && places[0].is_some(), "{rows:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_clears_the_line_and_the_master_goes_on() {
    let mut desk = Desk::new().await;
    desk.terminal.types("unregister worker-1");
    desk.terminal
        .cursor_after("master> unregister worker-1")
        .await;
    assert!(desk.types_on(CTRL_C).await.is_empty());
    // Nor does it end the master at an empty line, however often.
    for _ in 0..3 {
        assert!(desk.types_on(CTRL_C).await.is_empty());
    }
    assert!(holds(&desk.asks("queue").await, "No task waits"));
    desk.exits().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn news_come_above_a_half_typed_line_which_stays_as_it_was() {
    let mut desk = Desk::new().await;
    let port = free_port();
    desk.asks(&format!("register worker-1 127.0.0.1:{port}"))
        .await;
    desk.terminal.types("list-ta");
    desk.terminal.cursor_after("master> list-ta").await;

    let _worker = desk.start_worker(port);

    desk.terminal
        .row_with("Worker registration: worker-1")
        .await;
    desk.terminal.cursor_after("master> list-ta").await;
    let rows = desk.terminal.rows();
    let typed = rows.iter().filter(|row| row.contains("list-ta")).count();
    assert_eq!(typed, 1, "{rows:#?}");
    assert!(holds(
        &desk.types_on(&format!("sks{ENTER}")).await,
        "No tasks"
    ));
    desk.exits().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_monitor_and_the_task_goes_on() {
    let engine = engine().await;
    let mut desk = Desk::with(160, &[]).await;
    let port = free_port();
    desk.asks(&format!("register worker-1 127.0.0.1:{port}"))
        .await;
    let mut worker = desk.start_worker(port);
    desk.terminal
        .row_with("Worker registration: worker-1")
        .await;
    let submit = format!("task {TEST_TASK} -cpu_cores 0.5 -mem 0.125 -- /test-task sleep 600");
    let said = desk.asks(&submit).await.join(" ");
    let id = said.split_whitespace().nth(2).unwrap().to_owned();

    desk.terminal.types(&format!("monitor {id}{ENTER}"));
    desk.terminal.row_with("sleeping 600 s").await;
    let answer = desk.types_on(CTRL_C).await;

    let note = format!("Note: task {id} goes on");
    assert!(holds(&answer, &note), "{answer:#?}");
    let running = desk.asks("list-tasks running").await;
    assert!(holds(&running, &id), "{running:#?}");
    let cancelled = desk.asks(&format!("cancel {id}")).await;
    assert!(
        holds(&cancelled, "is being stopped on worker-1"),
        "{cancelled:#?}"
    );
    desk.terminal.row_with("[Status: cancelled]").await;

    let cluster = desk.asks("status --json").await.concat();
    let cluster: serde_json::Value = serde_json::from_str(&cluster).unwrap();
    let cluster = cluster["cluster_id"].as_str().unwrap().parse().unwrap();
    until("the container to be removed", async || {
        let left = containers(&engine, &cluster, "worker-1").await;
        left.is_empty().then_some(())
    })
    .await;
    worker.signal("TERM").await;
    worker.ends().await;
    desk.exits().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_out_gives_the_terminal_back_as_it_was() {
    for way in [
        "exit",
        "quit",
        "Ctrl-D",
        "TERM at the prompt",
        "TERM with a line half typed",
    ] {
        let mut desk = Desk::new().await;
        // What the editor needs is not what a shell needs; so equal settings at the end mean something.
        let during = desk.terminal.settings();
        match way {
            "Ctrl-D" => desk.terminal.types(CTRL_D),
            "TERM at the prompt" => desk.terminal.signal("TERM"),
            "TERM with a line half typed" => {
                desk.terminal.types("list");
                desk.terminal.cursor_after("master> list").await;
                desk.terminal.signal("TERM");
            }
            word => desk.terminal.types(&format!("{word}{ENTER}")),
        }
        assert_eq!(desk.terminal.ends().await, Some(0), "{way}");
        let before = new_terminal_settings().await;
        assert_ne!(during, before, "{way}");
        assert_eq!(desk.terminal.settings(), before, "{way}");
        // The shell's prompt comes at the beginning of a row.
        desk.terminal
            .shows(&format!("a new row after {way}"), |terminal| {
                (terminal.cursor() == (String::new(), 0)).then_some(())
            })
            .await;
    }
}

/// The settings that a terminal has that nobody changed.
async fn new_terminal_settings() -> String {
    let mut untouched = Terminal::start("true", "true".as_ref(), &[], &[], 80);
    untouched.ends().await;
    untouched.settings()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_as_wide_as_the_window_also_when_that_changes() {
    let mut desk = Desk::new().await;
    let name = "a-name-that-takes-forty-columns-or-more-";
    let image = "registry.example.org/team/project/trainer:2026.11";
    desk.asks(&format!("task {image} -name {name}")).await;

    // A row that wrapped would be two.
    let [head, narrow] = desk.asks("list-tasks").await.try_into().unwrap();
    assert!(head.starts_with("TASK "), "{head}");
    assert!(narrow.contains('…') && !narrow.contains(name), "{narrow}");

    desk.terminal.resize(200);
    desk.terminal.types(CTRL_C);
    let [_, wide] = desk.asks("list-tasks").await.try_into().unwrap();
    assert!(wide.contains(name) && wide.contains(image), "{wide}");
    assert!(!wide.contains('…'), "{wide}");
    desk.exits().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_come_unless_no_color_says_otherwise() {
    for (environment, expected) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let mut desk = Desk::with(80, environment).await;
        for line in [
            "task alpine",
            "list-tasks",
            "queue",
            "workers",
            "status",
            "help",
        ] {
            desk.asks(line).await;
        }
        let printed = String::from_utf8(desk.terminal.bytes()).unwrap();
        assert_eq!(has_colour(&printed), expected, "{printed:?}");
        desk.exits().await;
    }
}

/// Whether a text holds an escape sequence that chooses a colour or weight.
fn has_colour(text: &str) -> bool {
    text.split("\x1b[").skip(1).any(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != ';');
        end.is_some_and(|end| rest[end..].starts_with('m') && !matches!(&rest[..end], "" | "0"))
    })
}
