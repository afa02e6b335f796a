//! promtool, which knows Prometheus' conventions, finds nothing to say.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use super::{cluster, metrics, program, root, shell};

fn promtool(words: &[&str], input: &str) -> Output {
    let mut child = Command::new(program("promtool"))
        .args(words)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that has found fault already reads no further.
    let _ = child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .is_ok();
    child.wait_with_output().unwrap()
}

/// That it is content, and has no advice either.
fn assert_content(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_master_counts_is_in_the_form_and_by_the_conventions() {
    // Given a master under which a task has run and left something,
    let mut cluster = cluster().await;
    let task = cluster
        .submit_draft(shell("echo hello; echo 1 >/output/x"))
        .await;
    cluster.has_status(&task, "completed").await;
    // then promtool finds nothing wrong with what it tells,
    let text = metrics(&cluster).await;
    assert_content(&promtool(&["check", "metrics"], &text));
    // though it would.
    let misnamed = format!("{text}# TYPE cloudai_visits counter\ncloudai_visits 1\n");
    assert!(!promtool(&["check", "metrics"], &misnamed).status.success());
    cluster.end().await;
}

#[test]
fn the_settings_that_are_handed_out_are_right() {
    assert_content(&promtool(&["check", "config", "deploy/prometheus.yml"], ""));
    let wrong = promtool(&["check", "config", "deploy/docker-compose.yml"], "");
    assert!(!wrong.status.success());
}
