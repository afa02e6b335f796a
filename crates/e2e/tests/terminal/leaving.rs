//! Ways out of the program.

use cloudai_tests::pty::{
    Terminal,
    key::{CTRL_D, ENTER},
};

use crate::desk::Desk;

#[tokio::test(flavor = "multi_thread")]
async fn every_way_out_gives_the_terminal_back_as_it_was() {
    for way in [
        "exit",
        "quit",
        "Ctrl-D",
        "TERM at the prompt",
        "TERM with a line half typed",
        "HUP, as from a window that is closed",
    ] {
        let mut desk = Desk::new().await;
        // What the editor needs is not what a shell needs; so equal settings at the end mean something.
        let during = desk.terminal.settings();
        match way {
            "Ctrl-D" => desk.terminal.types(CTRL_D),
            "TERM at the prompt" => desk.terminal.signal("TERM"),
            "HUP, as from a window that is closed" => desk.terminal.signal("HUP"),
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
    let mut untouched = Terminal::start("true", "true".as_ref(), &[], &[], 80, ".".as_ref());
    untouched.ends().await;
    untouched.settings()
}
