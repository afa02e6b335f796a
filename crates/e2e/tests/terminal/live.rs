//! Commands that go on: `monitor`, `status -w`, `download`.

use cloudai_tests::{
    cluster::free_port,
    pty::{
        Terminal,
        key::{CTRL_C, CTRL_S, ENTER, UP},
    },
};

use crate::desk::{Desk, holds};

/// A task of the test image that leaves room for others.
const SMALL: &str = "cloudai/test-task -cpu_cores 0.5 -mem 0.125 -storage 0.5";

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_and_any_other_key_leave_monitor_and_the_task_goes_on() {
    let mut desk = Desk::with(160, &[]).await;
    let mut worker = desk.add_worker().await;
    let before = desk.terminal.settings();
    let id = desk
        .submits(&format!("{SMALL} -- /test-task sleep 600"))
        .await;

    for key in [CTRL_C, "q", UP, CTRL_S] {
        desk.terminal.types(&format!("monitor {id}{ENTER}"));
        desk.terminal.row_with("sleeping 600 s").await;
        let answer = desk.types_on(key).await;
        let note = format!("Note: task {id} goes on");
        assert_eq!(answer.last(), Some(&note), "{key:?}: {answer:#?}");
        // The key was for the monitor, and the editor has the terminal as it likes it.
        assert_eq!(desk.terminal.settings(), before);
        desk.wipes().await;
    }
    let running = desk.asks("list-tasks running").await;
    assert!(holds(&running, &id), "{running:#?}");
    desk.ends(&[&id], &mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn news_come_between_the_rows_of_a_task_that_is_followed() {
    let mut desk = Desk::with(160, &[]).await;
    let mut worker = desk.add_worker().await;
    let long = desk
        .submits(&format!("{SMALL} -- /test-task sleep 600"))
        .await;
    let short = desk
        .submits(&format!("{SMALL} -- /test-task sleep 3"))
        .await;

    desk.terminal.types(&format!("monitor {long}{ENTER}"));
    desk.terminal.row_with("sleeping 600 s").await;
    desk.terminal
        .row_with(&format!("Task completion: {short}"))
        .await;
    let answer = desk.types_on("x").await;
    assert!(
        holds(&answer, &format!("Task completion: {short}")),
        "{answer:#?}"
    );
    desk.ends(&[&long], &mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_status_is_drawn_in_place_and_any_key_ends_it() {
    let mut desk = Desk::new().await;
    let port = free_port();
    desk.asks(&format!("register worker-1 127.0.0.1:{port}"))
        .await;
    desk.terminal.types(&format!("status -w{ENTER}"));
    desk.terminal.row_with("Any key ends this").await;
    desk.terminal.row_with("0 active, 1 inactive").await;

    // What happens stands above it, and it shows what has changed.
    let mut worker = desk.start_worker(port);
    desk.terminal
        .row_with("Worker registration: worker-1")
        .await;
    desk.terminal.row_with("1 active, 0 inactive").await;
    let rows = desk.terminal.rows();
    let places = ["status -w", "Worker registration", "Cluster c-", "Any key"];
    let places = places.map(|text| rows.iter().position(|row| row.contains(text)));
    assert!(places.is_sorted() && places[0].is_some(), "{rows:#?}");
    let blocks = rows.iter().filter(|row| row.starts_with("Cluster c-"));
    assert_eq!(blocks.count(), 1, "{rows:#?}");

    // It goes on by itself: the last heartbeat is seen to get older.
    for age in ["1s ago", "2s ago"] {
        desk.terminal.row_with(age).await;
    }
    let before = desk.terminal.settings();
    let answer = desk.types_on("q").await;
    assert!(holds(&answer, "1 active, 0 inactive"), "{answer:#?}");
    assert!(!holds(&answer, "Any key"), "{answer:#?}");
    assert_ne!(desk.terminal.settings(), before, "the editor reads again");
    desk.ends(&[], &mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_program_during_a_watched_status_gives_the_terminal_back() {
    let mut untouched = Terminal::start("true", "true".as_ref(), &[], &[], 80, ".".as_ref());
    untouched.ends().await;
    let mut desk = Desk::new().await;
    desk.terminal.types(&format!("status -w{ENTER}"));
    desk.terminal.row_with("Any key ends this").await;
    desk.terminal.signal("TERM");
    assert_eq!(desk.terminal.ends().await, Some(0));
    assert_eq!(desk.terminal.settings(), untouched.settings());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_draws_a_bar_and_leaves_one_line() {
    let mut desk = Desk::with(160, &[]).await;
    let mut worker = desk.add_worker().await;
    let size = 96 << 20;
    let words = format!("{SMALL} -- /test-task output weights.bin {size} 7");
    let id = desk.submits(&words).await;
    desk.terminal
        .row_with(&format!(
            "Task completion: {id} from worker worker-1 [Status: success]"
        ))
        .await;

    let folder = desk.folder.path().join("results");
    let answer = desk
        .asks(&format!("download {id} admin {}", folder.display()))
        .await;
    let line = format!("✓ 1 file to {} (96.0 MB)", folder.display());
    assert_eq!(answer, [line]);
    let printed = String::from_utf8(desk.terminal.bytes()).unwrap();
    assert!(printed.contains(" of 96.0 MB, "), "a bar was drawn");
    let got = std::fs::metadata(folder.join("weights.bin")).unwrap();
    assert_eq!(got.len(), size);
    desk.ends(&[], &mut worker).await;
}
