//! What is run again, when and how often; time-outs; workers that are given nothing: each sentence
//! of `docs/retries.md` with the real programs and real containers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod failures;
mod machines;
mod time_outs;
mod workers;

use cloudai_model::{Command, TaskDraft, TaskId};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    engine::TEST_SHELL,
    wait::until,
};
use serde_json::Value;

/// A small task that a shell runs.
fn shell(line: &str) -> TaskDraft {
    TaskDraft {
        docker_image: TEST_SHELL.to_owned(),
        command: Command::Shell(line.to_owned()),
        ..test_task(&[])
    }
}

fn reason(entry: &Value) -> &str {
    entry["reason"].as_str().unwrap()
}

/// Types a command, and waits for a line of its answer that holds `text`.
async fn answers(cluster: &mut Cluster, command: &str, text: &str) -> String {
    let seen = cluster.master.lines().len();
    cluster.master.type_line(command).await;
    cluster.master.says_after(seen, text).await
}

/// Waits until the listing says this of a task, whatever its status.
async fn is_said(cluster: &mut Cluster, task: &TaskId, words: &str) -> Value {
    until(&format!("{words:?} of {task}"), async || {
        let entry = cluster.task(task).await;
        reason(&entry).contains(words).then(|| entry.clone())
    })
    .await
}
