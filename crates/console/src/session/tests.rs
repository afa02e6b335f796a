//! Sessions against a fake master: the real one can't be made to give every answer.

mod accounts;
mod fake;
mod following;
mod looking;
mod removed;

use std::{sync::Arc, time::Duration};

use cloudai_core::{Event, TaskNews};
use cloudai_model::{Phase, TaskStatus, record::TaskRecord};

use super::*;
use crate::{
    output::Style,
    piped,
    testing::{NOW, Shared, finished, task},
};
use fake::FakeMaster;

struct Stage {
    master: Arc<FakeMaster>,
    screen: Shared,
    session: Session,
}

fn stage() -> Stage {
    stage_with(|screen| Output::new(screen).unwrap())
}

/// On a screen of 24 rows and 80 columns.
fn screen_stage() -> Stage {
    let style = Style {
        width: 80,
        rows: Some(24),
        ..Style::PLAIN
    };
    stage_with(|screen| Output::with_news(screen, None, move || style).unwrap())
}

fn stage_with(output: impl FnOnce(Shared) -> Output) -> Stage {
    let master = Arc::new(FakeMaster::new());
    let screen = Shared::default();
    let output = output(screen.clone());
    let session = Session::new(Arc::clone(&master) as Arc<dyn Operator>, output);
    Stage {
        master,
        screen,
        session,
    }
}

async fn answer(line: &str) -> (String, u64) {
    let mut stage = stage();
    assert_eq!(stage.session.run(line).await, Flow::Continue);
    (stage.screen.text(), stage.session.failures())
}

fn moved(record: &TaskRecord) -> Event {
    Event::Task(TaskNews {
        task: record.task.clone(),
        attempt: record.state.attempt,
        worker: record.state.worker.clone(),
        status: record.state.status,
        phase: record.state.phase,
        detail: record.state.reason.clone(),
        at: NOW.wall,
    })
}

/// Waits until the screen shows `text`.
async fn shows(screen: &Shared, text: &str) {
    for _ in 0..2000 {
        if String::from_utf8_lossy(&screen.bytes()).contains(text) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!(
        "{text:?} never appeared in {:?}",
        String::from_utf8_lossy(&screen.bytes())
    );
}

#[tokio::test]
async fn a_submit_says_where_the_task_stands() {
    assert_eq!(
        answer("task docker.io/username/gpu-task:latest -gpu_cores 1.0")
            .await
            .0,
        "✓ Task task-1697123456000001 submitted: queued, position 1 \
         (waiting: no worker with 1 GPU)\n"
    );
    assert_eq!(
        answer("dispatch worker-1 alpine").await.0,
        "✓ Task task-1697123456000001 submitted: pending on worker-1\n"
    );
    assert_eq!(
        answer("task worker-1").await.0,
        "❌ Failed to submit task: an image is missing: worker-1 is a worker: expected \
         `task worker-1 <image>`, or worker-1:latest for an image of that name\n"
    );
    assert_eq!(
        answer("task alpine -priority 101 -cpu_cores 0").await,
        (
            "❌ Failed to submit task: cpu_cores: 0 is not valid: expected at least 0.01 and at most 1000000 cores, such as 0.5 or 4; \
             priority: 101 is not valid: expected 0 to 100\n"
                .to_owned(),
            1
        )
    );
}

#[tokio::test]
async fn a_store_out_of_reach_shows_in_every_answer_that_rests_on_it() {
    let mut stage = stage();
    *stage.master.degraded.lock().unwrap() = Some(cloudai_operator::Degraded {
        place: "mongodb db:27017/jobs".to_owned(),
        since: NOW.wall,
        reason: "connection refused".to_owned(),
        read: true,
        changes: 3,
        submitted: 0,
        journal_bytes: 900,
    });
    let away = format!(
        "mongodb db:27017/jobs is out of reach since {} (connection refused)",
        NOW.wall
    );
    for line in ["dispatch worker-1 alpine", "list-tasks", "queue", "status"] {
        stage.session.run(line).await;
    }
    let text = stage.screen.text();
    let note = format!("Note: {away}: what lies only there is not shown\n");
    for expected in [
        &format!("   Degraded: {away}; the task is kept in a journal\n"),
        &note,
        &format!("  Degraded:  {away}\n"),
        "  Tasks:     12 waiting",
    ] {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
    assert_eq!(text.matches(&note).count(), 2, "{text}");
    assert_eq!(stage.session.failures(), 0, "{text}");
}

#[tokio::test]
async fn a_registration_shows_what_to_type_on_the_other_machine() {
    assert_eq!(
        answer("register worker-2 192.168.1.100:50052").await.0,
        "✅ Worker worker-2 registered with address 192.168.1.100:50052\n\
         \x20  Note: Worker will send full specs when it connects\n\
         \x20  On that machine: worker-node -id worker-2 -master 192.168.1.10:50051 -token 7f00\n"
    );
    assert_eq!(
        answer("register worker-1 localhost").await,
        (
            "❌ Failed to register worker: worker worker-1 already registered\n".to_owned(),
            1
        )
    );
    assert_eq!(
        answer("unregister worker-2").await.0,
        "✅ Worker worker-2 unregistered\n\
         \x20  Note: 1 task was stopped there and waits again\n"
    );
}

#[tokio::test]
async fn a_cancel_says_what_it_came_to() {
    for (task, expected) in [
        (1, "✓ Task task-1 cancelled\n"),
        (2, "✓ Task task-2 is being stopped on worker-1\n"),
        (
            3,
            "✓ Task task-3 has just ended by itself: that result stands\n",
        ),
        (
            4,
            "❌ Failed to cancel task: task task-4 is final: completed\n",
        ),
        (
            5,
            "❌ Failed to cancel task: there is no task task-5: `list-tasks` shows those that \
             there are\n",
        ),
    ] {
        assert_eq!(answer(&format!("cancel task-{task}")).await.0, expected);
    }
}

#[tokio::test]
async fn a_change_says_what_holds_now_and_what_it_came_to() {
    for (line, expected) in [
        (
            "change task-1 -timeout 90s",
            "✓ Task task-1 changed: it may run for 1m 30s\n",
        ),
        (
            "change task-1 -timeout none",
            "✓ Task task-1 changed: it may run as long as it will\n",
        ),
        (
            "change task-1 -name nightly -deadline none",
            "✓ Task task-1 changed\n",
        ),
        (
            "hold task-1",
            "✓ Task task-1 is on hold: `release task-1` lets it go\n",
        ),
        ("release task-1", "✓ Task task-1 is not on hold\n"),
        (
            "hold task-6",
            "❌ Failed to hold task: task task-6 is with worker worker-1: it can be put on hold \
             only while it waits\n",
        ),
        (
            "release task-5",
            "❌ Failed to release task: there is no task task-5: `list-tasks` shows those that \
             there are\n",
        ),
        (
            "change task-2 -timeout 5",
            "✓ Task task-2 changed: it may run for 5s, and is being stopped on worker-1\n",
        ),
        (
            "change task-3 -timeout 5",
            "❌ Failed to change task: task task-3 is being stopped (it was cancelled): a change \
             would come too late\n",
        ),
        (
            "change task-4 -timeout 5",
            "❌ Failed to change task: task task-4 is final: completed\n",
        ),
        (
            "change task-5 -timeout 5",
            "❌ Failed to change task: there is no task task-5: `list-tasks` shows those that \
             there are\n",
        ),
        (
            "change task-1 -timeout 0",
            "❌ Failed to change task: timeout_s: 0 is not valid: expected at least 0.001 and at \
             most 315360000 seconds, such as 90\n",
        ),
    ] {
        assert_eq!(answer(line).await.0, expected);
    }
}

#[tokio::test]
async fn a_download_is_told_in_one_line_where_there_is_no_screen() {
    assert_eq!(
        answer("download task-7 admin ./results").await.0,
        format!(
            "✓ 1 file to {}/results (3.0 MB, 1 there already)\n\
             \x20  Note: files not complete: disk full\n",
            std::env::current_dir().unwrap().display()
        )
    );
    assert_eq!(
        answer("download task-9 admin ./results").await.0,
        "✓ Task task-9 left no files\n"
    );
    assert_eq!(
        answer("download task-7 eve ./results").await.0,
        "❌ Failed to download: there is no task task-7 of user eve\n"
    );
    let refused = answer("download task-7 admin ./taken").await.0;
    assert!(
        refused.contains("taken/\\u{1b}[2Jmodel\\n.bin exists and differs"),
        "{refused}"
    );
}

#[tokio::test]
async fn listings_come_as_tables_and_as_json() {
    let mut stage = stage();
    stage
        .master
        .put(finished(task(7, "x"), TaskStatus::Failed, 3));
    stage.master.put(task(8, "y"));

    stage.session.run("list-tasks failed --json").await;
    let list: serde_json::Value = serde_json::from_str(&stage.screen.text()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["task_id"], "task-7");

    stage.session.run("list-tasks -limit 1").await;
    let text = stage.screen.text();
    assert!(text.contains("\ntask-8  y     queued"), "{text}");
    assert!(
        text.ends_with("Note: the newest task alone; -limit n shows others\n"),
        "{text}"
    );

    let (queue, _) = answer("queue").await;
    assert!(
        queue.ends_with("Note: 2 of 12; -limit n shows others\n"),
        "{queue}"
    );
    let workers: serde_json::Value =
        serde_json::from_str(&answer("workers --json").await.0).unwrap();
    assert_eq!(workers[0]["status"], "active");
}

#[tokio::test]
async fn a_store_that_fails_is_told_with_its_cause() {
    assert_eq!(
        answer("status").await,
        ("❌ cannot read the store: the disk is gone\n".to_owned(), 1)
    );
}

#[tokio::test]
async fn news_come_between_answers_and_not_within_one() {
    let Stage {
        master,
        screen,
        mut session,
    } = stage();
    let news = tokio::spawn(crate::news::announce(
        master.events(),
        session.output.clone(),
    ));
    let mut record = task(7, "");
    master.put(record.clone());
    let running = tokio::spawn(async move { session.run("monitor task-7").await });
    shows(&screen, "Task task-7 queued\n").await;

    // Another task ends while this one is being watched.
    let _ = master
        .events
        .send(moved(&finished(task(8, ""), TaskStatus::Completed, 0)));
    record = finished(record, TaskStatus::Completed, 0);
    let _ = master
        .events
        .send(Event::WorkerRemoved("worker-2".parse().unwrap()));
    master.put(record);
    running.await.unwrap();
    let ended = "✓ Task task-7 completed on worker-1 (exit code 0, 1.5s)\n";
    let completion = "Task completion: task-8 from worker worker-1 [Status: success]\n";
    shows(&screen, &format!("{ended}{completion}")).await;
    news.abort();
}

#[tokio::test]
async fn piped_lines_are_answered_in_order_and_failures_are_counted() {
    let Stage {
        screen,
        mut session,
        ..
    } = stage();
    let input = "# register what is there\n\ncancel task-1\nwokers\n\u{1b}[2J\ncancel task-4\n\
                 exit\ncancel task-2\n";
    let lines = piped::read(input.as_bytes()).unwrap();
    assert_eq!(piped::run(&mut session, lines).await, piped::End::Exit);
    assert_eq!(
        screen.text(),
        "✓ Task task-1 cancelled\n\
         ❌ Unknown command \"wokers\": did you mean `workers`? `help` lists all\n\
         ❌ Unknown command \"\\u{1b}[2J\": `help` lists all\n\
         ❌ Failed to cancel task: task task-4 is final: completed\n"
    );
    assert_eq!(session.failures(), 3);
}

#[tokio::test]
async fn the_end_of_the_input_is_not_the_wish_to_exit() {
    let Stage { mut session, .. } = stage();
    let lines = piped::read("help\n".as_bytes()).unwrap();
    assert_eq!(piped::run(&mut session, lines).await, piped::End::Input);
    assert_eq!(session.failures(), 0);
}
