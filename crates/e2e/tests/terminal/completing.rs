//! The Tab key.

use cloudai_tests::pty::key::{CTRL_C, ENTER, TAB};

use crate::desk::{Desk, PROMPT, holds};

#[tokio::test(flavor = "multi_thread")]
async fn tab_completes_ids_users_options_and_words() {
    let mut desk = Desk::new().await;
    desk.asks("register gpu-worker 127.0.0.1:1").await;
    // Both wait: the worker was never seen.
    let first = desk.submits("alpine -user alice").await;
    let second = desk.submits("alpine -user bob").await;
    desk.asks(&format!("cancel {first}")).await;

    for (typed, expected) in [
        // As far as it is clear.
        ("sta", "stat".to_owned()),
        ("status -", "status -".to_owned()),
        ("stats g", "stats gpu-worker ".to_owned()),
        ("drain ", "drain gpu-worker ".to_owned()),
        ("task g", "task gpu-worker ".to_owned()),
        ("cancel ", format!("cancel {second} ")),
        ("task-files ", format!("task-files {first} ")),
        (
            &format!("download {first} "),
            format!("download {first} alice "),
        ),
        ("files b", "files bob ".to_owned()),
        ("list-tasks -user a", "list-tasks -user alice ".to_owned()),
        ("list-tasks ru", "list-tasks running ".to_owned()),
        ("queue --j", "queue --json ".to_owned()),
        ("task img -prio", "task img -priority ".to_owned()),
    ] {
        desk.terminal.cursor_after(PROMPT).await;
        desk.terminal.types(format!("{typed}{TAB}"));
        desk.terminal
            .cursor_after(&format!("master> {expected}"))
            .await;
        desk.terminal.types(CTRL_C);
        desk.wipes().await;
    }
    // A second Tab shows what there is to choose from: of tasks those that have ended, too.
    desk.terminal.types(format!("explain {}", TAB.repeat(2)));
    desk.terminal
        .shows("both tasks", |terminal| {
            let rows = terminal.rows();
            (holds(&rows, &first) && holds(&rows, &second)).then_some(())
        })
        .await;
    desk.terminal.types(CTRL_C);
    desk.wipes().await;
    // What is completed can be run.
    let beginning = &second[..second.len() - 3];
    desk.terminal.types(format!("explain {beginning}{TAB}"));
    desk.terminal
        .cursor_after(&format!("master> explain {second} "))
        .await;
    assert!(holds(&desk.types_on(ENTER).await, "at position 1 of 1"));
    desk.exits().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_task_is_found_behind_many_new_ones() {
    let mut desk = Desk::new().await;
    let oldest = desk.submits("alpine").await;
    for _ in 0..56 {
        desk.wipes().await;
        desk.submits("alpine").await;
    }
    desk.wipes().await;
    let beginning = &oldest[..oldest.len() - 3];
    desk.terminal.types(format!("cancel {beginning}{TAB}"));
    desk.terminal
        .cursor_after(&format!("master> cancel {oldest} "))
        .await;
    assert!(holds(&desk.types_on(ENTER).await, "cancelled"));
    desk.exits().await;
}
