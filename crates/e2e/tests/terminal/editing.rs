//! Lines as they are typed.

use std::fs;

use cloudai_tests::{
    cluster::free_port,
    pty::key::{CTRL_C, ENTER, LEFT, TAB, UP},
};

use crate::desk::{Desk, PROMPT, holds, master};

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

    desk.terminal = master(&desk.folder, [&desk.grpc, &desk.http], 80, &[]);
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
async fn bytes_that_are_no_text_are_told_and_nothing_of_their_line_runs() {
    let mut desk = Desk::new().await;
    desk.asks("register worker-1 127.0.0.1:1").await;
    for typed in [
        &b"\xff"[..],
        b"list-tasks f\xfc",
        b"x\xc3(unregister worker-1",
    ] {
        desk.terminal.types(typed);
        desk.terminal.row_with("a line is no UTF-8 text").await;
        // Whatever came behind the byte is shown, and thrown away.
        desk.terminal.row_with("Enter begins a new line:").await;
        desk.terminal.types(ENTER);
        desk.terminal.cursor_after(PROMPT).await;
        desk.wipes().await;
    }
    assert!(holds(&desk.asks("workers").await, "worker-1"));
    desk.exits().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_come_above_a_half_typed_line_too() {
    // Every call to a worker that is not there is logged.
    let chatty = [("LOG_LEVEL", "cloudai_master=debug")];
    let mut desk = Desk::with(160, &chatty).await;
    desk.asks("register worker-1 127.0.0.1:1").await;
    desk.wipes().await;
    desk.terminal.types("list-ta");

    desk.terminal.row_with("worker not reached").await;
    desk.terminal.cursor_after("master> list-ta").await;
    let rows = desk.terminal.rows();
    let typed = rows.iter().filter(|row| row.contains("list-ta")).count();
    assert_eq!(typed, 1, "{rows:#?}");
    assert!(
        rows.last().unwrap().starts_with("master> list-ta"),
        "{rows:#?}"
    );
    desk.terminal.types(CTRL_C);
    desk.wipes().await;
    desk.exits().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_can_be_recalled_whole() {
    let mut desk = Desk::new().await;
    desk.exits().await;
    let lines: String = (0..900).map(|n| format!("cancel t{n}\n")).collect();
    fs::write(desk.folder.path().join("master/console-history"), lines).unwrap();

    desk.terminal = master(&desk.folder, [&desk.grpc, &desk.http], 80, &[]);
    desk.terminal.cursor_after(PROMPT).await;
    desk.terminal.types(UP.repeat(900));
    desk.terminal.cursor_after("master> cancel t0").await;
    desk.types_on(CTRL_C).await;
    desk.exits().await;
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
