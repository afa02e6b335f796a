//! Widths and colours.

use cloudai_tests::pty::key::{CTRL_C, ENTER};

use crate::desk::{Desk, holds};

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_as_wide_as_the_window_also_when_that_changes() {
    let mut desk = Desk::new().await;
    let name = "a-name-that-takes-forty-columns-or-more-";
    let image = "registry.example.org/team/project/trainer:2026.11";
    desk.asks(&format!("task {image} -name {name}")).await;

    // A row that wrapped would be one more.
    let rows = desk.asks("list-tasks").await;
    let [head, narrow, reason] = rows.try_into().unwrap();
    assert!(head.starts_with("TASK "), "{head}");
    assert_eq!(reason, "     no worker is registered");
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
            "explain task-1",
            "internal-state",
            "fix-resources",
            "files admin",
            "status",
            "help",
        ] {
            desk.wipes().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn every_listing_fits_eighty_columns_and_uses_two_hundred() {
    let mut desk = Desk::new().await;
    let name = "a-name-that-takes-forty-columns-or-more-";
    let image = "registry.example.org/team/project/trainer:2026.11";
    desk.asks("register a-worker-with-a-name-that-takes-forty-columns-x 10.255.255.1")
        .await;
    let words = format!("{image} -name {name} -cpu_cores 4000 -gpu_cores 8");
    let id = desk.submits(&words).await;
    let lines = [
        "list-tasks".to_owned(),
        "queue".to_owned(),
        format!("explain {id}"),
        "workers".to_owned(),
        "stats a-worker-with-a-name-that-takes-forty-columns-x".to_owned(),
        "internal-state".to_owned(),
        "help task".to_owned(),
        "help".to_owned(),
    ];
    // Of a listing the reason is what it is read for.
    let queue = desk.asks("queue --json").await.concat();
    let queue: serde_json::Value = serde_json::from_str(&queue).unwrap();
    let reason = queue[0]["waiting_for"].as_str().unwrap().to_owned();
    for columns in [80, 200] {
        desk.terminal.resize(columns);
        desk.terminal.types(CTRL_C);
        for line in &lines {
            // All of them together are more than a window holds.
            desk.wipes().await;
            // A row that wrapped is one line of the screen's contents, and too long.
            let rows = desk.asks(line).await;
            let long = rows
                .iter()
                .find(|row| row.chars().count() > usize::from(columns));
            assert_eq!(long, None, "{line} at {columns}");
            if line == "list-tasks" {
                assert_eq!(holds(&rows, name), columns == 200, "{rows:#?}");
            }
            if line == "queue" {
                let words: Vec<_> = rows.iter().flat_map(|row| row.split_whitespace()).collect();
                assert!(words.join(" ").contains(&reason), "{reason}: {rows:#?}");
            }
            // With room for everything nothing is cut.
            assert!(columns < 200 || !holds(&rows, "…"), "{rows:#?}");
        }
        desk.wipes().await;
        desk.terminal.types(&format!("status -w{ENTER}"));
        desk.terminal.row_with("Any key ends this").await;
        let rows = desk.types_on("q").await;
        let long = rows
            .iter()
            .find(|row| row.chars().count() > usize::from(columns));
        assert_eq!(long, None, "status -w at {columns}");
    }
    desk.exits().await;
}
