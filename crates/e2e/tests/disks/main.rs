//! The master's disks with real programs and real containers: full ones, and what retention removes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod full;
mod retention;

use cloudai_model::{Command, TaskDraft, TaskId};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    engine::TEST_SHELL,
};

/// A task that runs this line.
async fn submit(cluster: &mut Cluster, line: &str) -> TaskId {
    cluster.submit_draft(shell(line)).await
}

fn shell(line: &str) -> TaskDraft {
    TaskDraft {
        docker_image: TEST_SHELL.to_owned(),
        command: Command::Shell(line.to_owned()),
        ..test_task(&[])
    }
}

/// What the console says to a command, up to the answer of the next.
async fn asks(cluster: &mut Cluster, command: &str) -> String {
    let seen = cluster.master.lines().len();
    cluster.master.type_line(command).await;
    cluster.json("workers").await;
    let lines = cluster.master.lines().split_off(seen);
    let said = lines.into_iter().filter(|line| !line.starts_with('['));
    said.collect::<Vec<_>>().join("\n")
}
