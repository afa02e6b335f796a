//! What was removed is said where it is looked for.

use cloudai_model::record::Removed;
use cloudai_operator::Disks;

use super::{fake::removal, *};

const REMOVED: &str = "removed on 2023-10-12T15:10:57.000Z by retention after 30 d";

#[tokio::test]
async fn a_monitor_says_how_the_task_ended_and_that_its_log_was_removed() {
    let Stage {
        master,
        screen,
        mut session,
    } = stage();
    *master.removed.lock().unwrap() = Removed {
        log: Some(removal()),
        files: Some(removal()),
    };
    let mut record = finished(task(7, ""), TaskStatus::Completed, 0);
    record.state.attempt = 1;
    master.put(record);
    session.run("monitor task-7").await;
    assert_eq!(session.failures(), 0);
    assert_eq!(
        screen.text(),
        format!(
            "✓ Task task-7 completed on worker-1 (exit code 0, 1.5s)\n\
             \x20  Note: the log was {REMOVED}\n\
             \x20  Note: its files were {REMOVED}\n"
        )
    );
    session.run("list-tasks --json").await;
    let said = screen.text();
    assert!(said.contains("\"log_removed\":{\"at\":"), "{said}");
}

#[tokio::test]
async fn files_that_were_removed_are_not_taken_for_none() {
    assert_eq!(
        answer("task-files task-10 admin").await,
        (format!("The files of task task-10 were {REMOVED}\n"), 0)
    );
    let (said, failures) = answer("task-files task-10 admin --json").await;
    assert!(said.contains("\"files_removed\":{\"at\":"), "{said}");
    assert_eq!(failures, 0);
    assert_eq!(
        answer("download task-10 admin ./results").await,
        (
            format!("❌ Failed to download: the files of task task-10 were {REMOVED}\n"),
            1
        )
    );
}

#[tokio::test]
async fn a_status_tells_that_a_disk_is_full() {
    let Stage {
        master,
        screen,
        mut session,
    } = stage();
    *master.completed.lock().unwrap() = Some(3);
    *master.disks.lock().unwrap() = Disks {
        held_up: Some("the disk is nearly full".to_owned()),
        ..Disks::default()
    };
    session.run("status").await;
    let said = screen.text();
    let expected = "  ⚠️ Full:   no new task is taken: the disk is nearly full\n";
    assert!(said.ends_with(expected), "{said}");
    session.run("status --json").await;
    let said = screen.text();
    assert!(said.contains("\"takes_new_tasks\":false"), "{said}");
}
