//! `docs/transcript.md`: what the screen shows of a session, compared with what it really shows.

use std::{fs, path::PathBuf};

use cloudai_tests::{cluster::free_port, pty::key::ENTER};

use crate::desk::{Desk, PROMPT, submitted};

/// With this in the environment the file is written anew.
const WRITE: &str = "CLOUDAI_WRITE_TRANSCRIPT";

const ABOVE: &str = "\
# A session at the master's terminal

What an 80 columns wide screen shows, commands and events alike. A test plays it with the real
programs and compares (`crates/e2e/tests/terminal/transcript.rs`); ids, times and ports are made uniform.
With `CLOUDAI_WRITE_TRANSCRIPT=1 cargo test -p cloudai-tests --test terminal transcript` this file
is written anew.

```text
";

#[tokio::test(flavor = "multi_thread")]
async fn the_transcript_in_the_docs_is_what_the_screen_shows() {
    let port = free_port();
    let mut scene = Scene::begin(port).await;

    scene
        .plays(&format!("register worker-1 127.0.0.1:{port}"))
        .await;
    let mut worker = scene.desk.start_worker(port);
    scene.waits("Worker registration: worker-1").await;

    let sum = scene
        .submits("task cloudai/test-shell -name sum -cmd \"echo hi; echo 42 >/output/sum\"")
        .await;
    scene.waits("Task completion").await;
    scene.plays(&format!("monitor {sum}")).await;

    let long = scene
        .submits("task cloudai/test-shell -name long -cmd \"echo working; sleep 600\"")
        .await;
    scene.desk.wipes().await;
    scene.desk.asks_until("list-tasks running", &long).await;
    scene.desk.wipes().await;
    scene.leaves(&format!("monitor {long}"), "working").await;
    scene.plays(&format!("explain {long}")).await;
    scene.plays(&format!("change {long} -timeout 2h")).await;

    let large = scene
        .submits("task cloudai/test-shell -name large -mem 64 -gpu_cores 1")
        .await;
    scene.plays(&format!("explain {large}")).await;
    scene.plays("queue").await;
    scene.plays("stats worker-1").await;

    // Two views of the same: after a heartbeat that it runs they agree.
    let heard = "1    running  running";
    scene.desk.asks_until("internal-state", heard).await;
    scene.desk.wipes().await;
    scene.plays("internal-state").await;
    scene.plays("fix-resources").await;
    scene.plays("drain worker-1").await;
    scene.plays("workers").await;
    scene.plays("undrain worker-1").await;

    for task in [&large, &long] {
        scene.plays(&format!("cancel {task}")).await;
        scene.waits(&format!("Task completion: {task}")).await;
    }
    scene.plays("list-tasks").await;
    scene.plays("files admin").await;
    scene.plays(&format!("task-files {sum} admin")).await;
    scene
        .plays(&format!("download {sum} admin ./results"))
        .await;
    scene.plays("wokers").await;
    scene.leaves("status -w", "Any key ends this").await;

    scene.compares();
    scene.desk.ends(&[], &mut worker).await;
}

/// A session, and what its screen has shown.
struct Scene {
    desk: Desk,
    worker: u16,
    shown: String,
    /// What was on the screen when it was last kept.
    last: Vec<String>,
}

impl Scene {
    async fn begin(worker: u16) -> Self {
        let mut scene = Self {
            desk: Desk::new().await,
            worker,
            shown: String::new(),
            last: Vec::new(),
        };
        scene.keeps();
        scene
    }

    /// Types a command, waits for its answer, and keeps what the screen shows.
    async fn plays(&mut self, line: &str) -> Vec<String> {
        self.desk.wipes().await;
        let answer = self.desk.asks(line).await;
        self.keeps();
        answer
    }

    async fn submits(&mut self, line: &str) -> String {
        submitted(&self.plays(line).await)
    }

    /// Types a command that goes on, and hits a key when the screen shows `text`.
    async fn leaves(&mut self, line: &str, text: &str) {
        self.desk.wipes().await;
        self.desk.terminal.types(&format!("{line}{ENTER}"));
        self.desk.terminal.row_with(text).await;
        self.desk.types_on("q").await;
        self.keeps();
    }

    /// Waits for news above the prompt, and keeps them.
    async fn waits(&mut self, text: &str) {
        self.desk.terminal.row_with(text).await;
        self.desk.terminal.cursor_after(PROMPT).await;
        self.keeps();
    }

    /// Takes over what is on the screen and was not there the last time.
    fn keeps(&mut self) {
        let mut rows = self.desk.terminal.rows();
        // The prompt that waits.
        rows.pop();
        let new = match rows.starts_with(&self.last) {
            true => &rows[self.last.len()..],
            false => &rows[..],
        };
        for row in new {
            self.shown.push_str(row);
            self.shown.push('\n');
        }
        self.last = rows;
    }

    /// Compares with the file, or writes it.
    fn compares(&self) {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/transcript.md");
        let shown = self.uniform();
        if std::env::var_os(WRITE).is_some() {
            fs::write(&file, format!("{ABOVE}{shown}```\n")).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        let kept = kept.strip_prefix(ABOVE).unwrap_or_default();
        let kept = kept.trim_end().trim_end_matches("```");
        let (kept, shown) = (masked(kept), masked(&shown));
        for (kept, shown) in kept.iter().zip(&shown) {
            assert_eq!(
                kept, shown,
                "docs/transcript.md differs: {WRITE}=1 writes it anew"
            );
        }
        assert_eq!(
            kept.len(),
            shown.len(),
            "docs/transcript.md: {WRITE}=1 writes it anew"
        );
    }

    /// What was shown with the ids, ports, folders and secrets that any reader may have.
    fn uniform(&self) -> String {
        let port = |address: &str| address.rsplit(':').next().unwrap().to_owned();
        let mut text = self.shown.clone();
        for (real, shown) in [
            (port(&self.desk.grpc), "50051"),
            (port(&self.desk.http), "8080"),
            (self.worker.to_string(), "50052"),
        ] {
            text = text.replace(&format!("127.0.0.1:{real}"), &format!("127.0.0.1:{shown}"));
        }
        let folder = self.desk.folder.path().display().to_string();
        text = text.replace(&folder, "/home/operator");
        let ids = numbers_after(&text, "task-");
        for (index, id) in ids.iter().enumerate() {
            // As long as a real one, so that tables stay in line.
            let shown = format!("task-{}", 1_790_000_000_000_001 + index);
            text = text.replace(&format!("task-{id}"), &shown);
        }
        for (before, shown) in [
            ("-token ", "7f…"),
            ("Cluster ", "c-…"),
            ("with the password ", "f58d4-…"),
        ] {
            if let Some(at) = text.find(before).map(|at| at + before.len()) {
                let end = text[at..]
                    .find([',', '\n', ' '])
                    .map_or(text.len(), |end| at + end);
                let secret = text[at..end].to_owned();
                text = text.replace(&secret, shown);
            }
        }
        text
    }
}

/// The runs of digits that follow `before`, each once, in their order.
fn numbers_after(text: &str, before: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (at, _) in text.match_indices(before) {
        let rest = &text[at + before.len()..];
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if digits.len() > 10 && !found.contains(&digits) {
            found.push(digits);
        }
    }
    found
}

/// Rows with what no two runs have in common masked: spans, times, what the machine uses, and how
/// far columns stand apart for them, but not that they do.
fn masked(text: &str) -> Vec<String> {
    let rows = text.lines().map(|row| {
        // How much there is and is free is this machine's.
        for told in ["  Disk: ", "  Kept: "] {
            if row.starts_with(told) {
                return told.to_owned();
            }
        }
        let cells = row
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty());
        let cells = cells.flat_map(|cell| ["|"].into_iter().chain(cell.split_whitespace()));
        let mut words: Vec<String> = cells.map(masked_word).collect();
        for at in 1..words.len() {
            let uses = words[at] == "%" || (words[at] == "GB" && at + 1 == words.len());
            if uses {
                words[at - 1] = "#".to_owned();
            }
        }
        words.join(" ")
    });
    rows.collect()
}

fn masked_word(word: &str) -> String {
    let bare = word.trim_matches([',', ')', '(', ';']);
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    let is_span = ["s", "m", "h"]
        .iter()
        .any(|unit| bare.strip_suffix(unit).is_some_and(is_number));
    let is_time = bare.len() == 24 && bare.ends_with('Z') && bare.contains('T');
    if is_span || is_time {
        word.replace(bare, "#")
    } else {
        word.to_owned()
    }
}
