//! Commands that show what is inside: workers, differences, reasons, files; and screens that move.

use cloudai_core::{
    explain::{Obstacle, ResourceKind},
    inspect::{Deed, Difference, InspectedWorker, Mended},
};
use cloudai_model::AttemptId;
use serde_json::{Value, json};

use super::*;
use crate::testing::worker;

async fn as_json(stage: &mut Stage, line: &str) -> Value {
    let before = stage.screen.text().len();
    stage.session.run(&format!("{line} --json")).await;
    let text = stage.screen.text();
    serde_json::from_str(&text[before..]).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
}

#[tokio::test]
async fn a_worker_is_shown_with_what_it_runs() {
    let mut stage = stage();
    let mut record = finished(task(7, "training"), TaskStatus::Running, 0);
    record.state.phase = Phase::Running;
    stage.master.put(record);
    stage.session.run("stats worker-1").await;
    let text = stage.screen.text();
    assert!(
        text.starts_with("Worker worker-1: active\n  Last heartbeat: 2s ago\n"),
        "{text}"
    );
    assert!(text.contains("\n1 attempt:\nTASK "), "{text}");
    assert!(
        text.contains("\ntask-7  1    running  9s   4 cpu, 8.0 GB  training\n"),
        "{text}"
    );

    let worker = as_json(&mut stage, "stats worker-1").await;
    assert_eq!(worker["total_cpu"], 4.0);
    assert_eq!(worker["usage"]["cpu_percent"], 0.0);
    assert_eq!(worker["attempts"][0]["task"]["phase"], "running");
    assert_eq!(
        answer("stats worker-2").await,
        (
            "❌ worker worker-2 is not registered: `workers` shows those that are\n".to_owned(),
            1
        )
    );
}

#[tokio::test]
async fn a_drain_says_what_still_runs_and_an_undrain_ends_it() {
    assert_eq!(
        answer("drain worker-1").await.0,
        "✓ Worker worker-1 is given nothing new; 1 attempt goes on there to its end\n"
    );
    assert_eq!(
        answer("undrain worker-1").await.0,
        "✓ Worker worker-1 takes tasks again\n"
    );
    assert_eq!(
        answer("drain worker-2").await,
        (
            "❌ Failed to drain worker: worker worker-2 is not registered: `workers` shows those \
             that are\n"
                .to_owned(),
            1
        )
    );
}

#[tokio::test]
async fn a_waiting_task_is_explained_worker_by_worker() {
    let mut stage = stage();
    stage.master.put(task(7, ""));
    let short = |kind, by, never| Obstacle::Short { kind, by, never };
    *stage.master.waiting.lock().unwrap() = vec![
        (
            "worker-1".parse().unwrap(),
            vec![short(ResourceKind::Cpu, 2000, false)],
        ),
        (
            "worker-2".parse().unwrap(),
            vec![short(ResourceKind::Gpu, 1000, true)],
        ),
    ];
    stage.session.run("explain task-7").await;
    assert_eq!(
        stage.screen.text(),
        "\
Task task-7 has waited for 10s, at position 3 of 12
  Needs:   CPU 4, memory 8.0 GB, storage 1.0 GB
  Waits:   worker-1: CPU short by 2 cores
  Not now:
    worker-1: CPU short by 2 cores
  Never fits:
    worker-2: 1 GPU short, even when idle
"
    );
    let why = as_json(&mut stage, "explain task-7").await;
    assert_eq!(why["task_id"], "task-7");
    assert_eq!(why["waiting"]["position"], 3);
    assert_eq!(
        why["waiting"]["workers"][0],
        json!({"worker_id": "worker-1", "outlook": "later", "obstacles": [
            {"kind": "cpu", "short_by": 2.0, "never": false, "message": "CPU short by 2 cores"}
        ]})
    );
    assert_eq!(why["waiting"]["workers"][1]["outlook"], "never");
    assert_eq!(
        answer("explain task-8").await,
        (
            "❌ Failed to explain: there is no task task-8: `list-tasks` shows those that there \
             are\n"
                .to_owned(),
            1
        )
    );
}

#[tokio::test]
async fn both_views_are_shown_and_what_was_put_right_is_told() {
    let mut stage = stage();
    stage.session.run("fix-resources").await;
    assert_eq!(
        stage.screen.text(),
        "✓ Nothing is amiss: 1 worker with 0 attempts compared\n"
    );

    let attempt = AttemptId::new("task-9".parse().unwrap(), 2);
    let difference = Difference::Unwanted(attempt, Phase::Running);
    let held = InspectedWorker {
        worker: Arc::new(worker("worker-1", "localhost")),
        promises: Vec::new(),
        differences: vec![difference.clone()],
    };
    stage.master.inspection.lock().unwrap().workers.push(held);
    *stage.master.mended.lock().unwrap() = vec![Mended {
        worker: "worker-1".parse().unwrap(),
        difference,
        deed: Some(Deed::StopAsked),
    }];
    let both = as_json(&mut stage, "internal-state").await;
    assert_eq!(
        both["workers"][0]["differences"][0],
        json!({"kind": "unwanted", "task_id": "task-9", "attempt": 2,
               "message": "task-9, attempt 2: the worker holds it (running), and should not"})
    );
    stage.session.run("internal-state").await;
    stage.session.run("fix-resources").await;
    let text = stage.screen.text();
    assert!(
        text.contains("1 difference between the views\nworker-1: inactive\n"),
        "{text}"
    );
    assert!(
        text.ends_with(
            "✓ worker-1: task-9, attempt 2: the worker holds it (running), and should not: asked \
             the worker to stop it\n✓ 1 difference put right\n"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn files_are_listed_by_user_and_by_task() {
    let mut stage = stage();
    stage.session.run("files admin -limit 1").await;
    assert_eq!(
        stage.screen.text(),
        "TASK    NAME      FILES  SIZE    AGE\n\
         task-8  training  2      3.0 MB  3s\n\
         Note: the newest task alone; -limit n shows others\n"
    );
    let list = as_json(&mut stage, "files admin").await;
    assert_eq!(
        list[1],
        json!({"task_id": "task-7", "name": "training", "user_id": "admin", "attempt": 1,
               "files": 2, "bytes": 3_145_740, "uploaded_at": "2023-10-12T15:10:57.000Z"})
    );
    assert_eq!(
        answer("files eve").await.0,
        "No task of user eve left files\n"
    );

    let files = as_json(&mut stage, "task-files task-7 admin").await;
    assert_eq!(files["files"][1]["path"], "result.txt");
    assert_eq!(files["files"][1]["size"], 12);
    assert_eq!(files["files_complete"], false);
    assert_eq!(files["files_reason"], "disk full");
    let (text, _) = answer("task-files task-7 admin").await;
    assert!(
        text.ends_with("2 files, 3.0 MB\n   Note: files not complete: disk full\n"),
        "{text}"
    );
    assert_eq!(
        answer("task-files task-9 admin").await.0,
        "Task task-9 left no files\n"
    );
    assert_eq!(
        answer("task-files task-7 eve").await,
        (
            "❌ Failed to list files: there is no task task-7 of user eve\n".to_owned(),
            1
        )
    );
}

#[tokio::test]
async fn a_download_shows_a_bar_on_a_screen_and_leaves_one_line() {
    let mut stage = screen_stage();
    stage.session.run("download task-7 admin ./results").await;
    let text = stage.screen.text();
    let bar = "] ";
    assert!(
        text.contains(bar) && text.contains(" 25 %  1.0 MB of 4.0 MB, "),
        "{text:?}"
    );
    let (_, line) = text.split_once("\x1b[1A\r\x1b[J✓ 1 file to /").unwrap();
    assert!(
        line.ends_with(
            "/results (3.0 MB, 1 there already)\n   Note: files not complete: disk full\n"
        ),
        "{text:?}"
    );
}

#[tokio::test]
async fn a_status_that_is_watched_is_drawn_again_when_something_happens_until_it_is_left() {
    let Stage {
        master,
        screen,
        mut session,
    } = screen_stage();
    *master.completed.lock().unwrap() = Some(3);
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        let until = |how| async move {
            assert_eq!(how, Leaving::AnyKey);
            left.await.unwrap();
        };
        let flow = session.run_until("status -w", until).await;
        (flow, session.failures())
    });
    shows(&screen, "3 completed").await;
    shows(&screen, "Any key ends this").await;

    *master.completed.lock().unwrap() = Some(4);
    let _ = master
        .events
        .send(Event::WorkerRemoved("worker-2".parse().unwrap()));
    shows(&screen, "4 completed").await;

    leave.send(()).unwrap();
    assert_eq!(running.await.unwrap(), (Flow::Continue, 0));
    assert!(
        screen.text().ends_with("\x1b[1A\r\x1b[J"),
        "{:?}",
        screen.text()
    );
}

#[tokio::test]
async fn without_a_screen_nothing_is_watched() {
    assert_eq!(
        answer("status -w").await,
        (
            "❌ status -w needs a terminal: expected `status`, which shows it once\n".to_owned(),
            1
        )
    );
}
