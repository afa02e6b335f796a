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
        ("sta", "stats ".to_owned()),
        ("stats g", "stats gpu-worker ".to_owned()),
        ("drain ", "drain gpu-worker ".to_owned()),
        ("task g", "task gpu-worker ".to_owned()),
        ("explain t", format!("explain {second} ")),
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
        // The first of several: commands by their order in help, tasks the newest first.
        let tabs = if typed == "sta" { 2 } else { 1 };
        desk.terminal.types(&format!("{typed}{}", TAB.repeat(tabs)));
        desk.terminal
            .cursor_after(&format!("master> {expected}"))
            .await;
        desk.terminal.types(CTRL_C);
        desk.wipes().await;
    }
    // What is completed can be run.
    desk.terminal.types(&format!("explain {TAB}"));
    desk.terminal
        .cursor_after(&format!("master> explain {second} "))
        .await;
    assert!(holds(&desk.types_on(ENTER).await, "at position 1 of 1"));
    desk.exits().await;
}
