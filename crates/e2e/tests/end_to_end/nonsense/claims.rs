//! What a worker claims of itself, and of tasks that are not its own.

use cloudai_proto::cluster::{FileChunk, Heartbeat, RunningTask, TaskProgress};
use cloudai_tests::wait::until;

use super::*;

async fn listed(cluster: &mut Cluster, worker: &str) -> Value {
    let workers = cluster.json("workers").await;
    let mut entries = workers.as_array().unwrap().iter();
    entries
        .find(|entry| entry["worker_id"] == worker)
        .cloned()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_capacity_is_refused_by_name() {
    let mut cluster = with_liar().await;
    let mut client = cluster.client().await.0;
    for cpu in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
        let refused = client.register_worker(info(cpu)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{cpu}");
        assert!(refused.message().contains("total_cpu"), "{refused}");
    }
    let entry = listed(&mut cluster, NAME).await;
    assert_eq!(
        (&entry["total_cpu"], &entry["status"]),
        (&Value::Null, &"inactive".into())
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_views_differ_in_is_mended_by_hand_and_told() {
    let mut cluster = with_liar().await;
    let task = given(&mut cluster).await;
    // Given a worker that holds what nobody gave it
    let stray = RunningTask {
        task_id: "task-1".to_owned(),
        status: "running".to_owned(),
        attempt: 7,
        ..RunningTask::default()
    };
    let given = RunningTask {
        task_id: task.to_string(),
        status: "running".to_owned(),
        attempt: 1,
        ..RunningTask::default()
    };
    let heartbeat = Heartbeat {
        worker_id: NAME.to_owned(),
        running_tasks: vec![given, stray],
        last_sequence: Some(u64::MAX),
        holds_complete: true,
        ..Heartbeat::default()
    };
    let mut client = cluster.client().await.0;
    client.send_heartbeat(heartbeat).await.unwrap();

    // then both views show it, and to mend it is told.
    let state = cluster.json("internal-state").await;
    let shown = state.to_string();
    assert!(shown.contains("task-1, attempt 7"), "{shown}");
    cluster.master.type_line("fix-resources").await;
    let told = cluster.master.says("asked the worker to stop it").await;
    assert!(told.contains("task-1, attempt 7"), "{told}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_speaks_for_nobody_but_itself() {
    let (mut cluster, asked_to_stop) = with(Logs::Silent).await;
    let honest = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&honest, "running").await;
    let mut client = cluster.client().await.0;
    client.register_worker(info(4.0)).await.unwrap();

    // It claims another's task, and one that never was.
    for task in [honest.to_string(), "task-1".to_owned()] {
        everything_it_says_is_superseded(&mut cluster, &task).await;
    }
    // One whose id leaves its folder is none.
    let refused = client.report_task_completion(result("../../etc/passwd", 1));
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("task_id"), "{refused}");

    let running = |task_id: &str| RunningTask {
        task_id: task_id.to_owned(),
        cpu_allocated: -7.0,
        memory_allocated: f64::NAN,
        status: "dancing".to_owned(),
        attempt: 1,
        ..RunningTask::default()
    };
    let held = ["", "../..", "task-1", &honest.to_string()];
    let heartbeat = Heartbeat {
        worker_id: NAME.to_owned(),
        cpu_usage: f64::NAN,
        memory_usage: -1.0,
        storage_usage: f64::INFINITY,
        gpu_usage: 1e300,
        running_tasks: held.map(running).into(),
        last_sequence: Some(u64::MAX),
        holds_complete: true,
        ..Heartbeat::default()
    };
    let taken = client.send_heartbeat(heartbeat).await.unwrap().into_inner();
    assert!(taken.success, "{taken:?}");

    // It is asked to stop what it says to hold; on the other's worker all is as it was.
    until("it to be asked to stop both", async || {
        let asked = asked_to_stop.lock().unwrap();
        let mut tasks: Vec<_> = asked.iter().map(|stop| stop.task_id.as_str()).collect();
        tasks.sort_unstable();
        let honest = honest.to_string();
        let mut both = ["task-1", &honest];
        both.sort_unstable();
        (tasks == both).then_some(())
    })
    .await;
    let entry = cluster.has_status(&honest, "running").await;
    assert_eq!(entry["worker_id"], "worker-1");
    // What is shown of it are figures.
    for (figure, used) in [
        ("CPU", "0 %"),
        ("Memory", "0.0 GB"),
        ("Storage", "0.0 GB"),
        ("GPU", "0 %"),
    ] {
        let row = shown(&mut cluster, figure).await;
        assert!(row.ends_with(&format!(" {used}")), "{row}");
    }
    cluster.client().await.cancel(&honest).await;
    cluster.has_status(&honest, "cancelled").await;
    cluster.end().await;
}

/// A row of what the console shows of the liar.
async fn shown(cluster: &mut Cluster, row: &str) -> String {
    let seen = cluster.master.lines().len();
    cluster.master.type_line(&format!("stats {NAME}")).await;
    let row = format!("{row} ");
    until(&format!("a row of {row}"), async || {
        let lines = cluster.master.lines().split_off(seen);
        let found = lines
            .iter()
            .find(|line| line.trim_start().starts_with(&row))?;
        Some(found.trim_end().to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_on_another_worker_stays_as_it_was() {
    // Given a task of an honest worker that ended with a log and a file,
    let (mut cluster, _) = with(Logs::Babbling).await;
    let mut draft = cloudai_model::TaskDraft {
        docker_image: cloudai_tests::engine::TEST_SHELL.to_owned(),
        command: cloudai_model::Command::Shell("echo true; echo true > /output/true".to_owned()),
        ..test_task(&[])
    };
    draft.worker_id = Some("worker-1".to_owned());
    let task = cluster.submit_draft(draft).await;
    let before = cluster.has_status(&task, "completed").await;
    let log = cluster.path("master").join(format!("logs/{task}/1.log"));
    let file = cluster.path(&format!("master/files/admin/{task}/true"));
    let kept = || [&log, &file].map(|path| std::fs::read(path).unwrap());
    let as_it_was = kept();
    assert_eq!(as_it_was[1], b"true\n");

    // when a liar says whatever can be said of it,
    let mut client = cluster.client().await.0;
    client.register_worker(info(4.0)).await.unwrap();
    everything_it_says_is_superseded(&mut cluster, &task.to_string()).await;

    // then all of it is as it was, and nobody asks the liar for more of its log.
    an_honest_task_completes(&mut cluster).await;
    assert_eq!(kept(), as_it_was);
    assert_eq!(cluster.task(&task).await, before);
    cluster.end().await;
}

/// Files, none at all, progress and the end of an attempt that isn't the liar's.
async fn everything_it_says_is_superseded(cluster: &mut Cluster, task: &str) {
    let mut client = cluster.client().await.0;
    let none = FileChunk {
        task_id: task.to_owned(),
        worker_id: NAME.to_owned(),
        attempt: 1,
        is_empty_set: true,
        ..FileChunk::default()
    };
    let one = FileChunk {
        file_path: "true".to_owned(),
        offset: Some(0),
        data: b"false".as_slice().into(),
        is_last_chunk: true,
        is_last_file: true,
        sha256: "0".repeat(64),
        size: 5,
        is_empty_set: false,
        ..none.clone()
    };
    for chunk in [none, one] {
        let answer = client.upload_task_files(tokio_stream::once(chunk));
        let answer = answer.await.unwrap().into_inner();
        assert!(!answer.success && answer.superseded, "{task}: {answer:?}");
    }
    for phase in ["running", "uploading", "done"] {
        let progress = TaskProgress {
            worker_id: NAME.to_owned(),
            task_id: task.to_owned(),
            attempt: 1,
            phase: phase.to_owned(),
            detail: "false".to_owned(),
            ..TaskProgress::default()
        };
        let answer = client.report_task_progress(progress);
        let answer = answer.await.unwrap().into_inner();
        assert!(!answer.success && answer.superseded, "{task}: {answer:?}");
    }
    let end = TaskResult {
        log_length: Some(1 << 60),
        ..result(task, 1)
    };
    let answer = client.report_task_completion(end).await;
    let answer = answer.unwrap().into_inner();
    assert!(!answer.success && answer.superseded, "{task}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_full_of_made_up_tasks_costs_a_few_calls() {
    let (mut cluster, asked_to_stop) = with(Logs::Silent).await;
    let mut client = cluster.client().await.0;
    client.register_worker(info(4.0)).await.unwrap();
    let beat = |count: u32| Heartbeat {
        worker_id: NAME.to_owned(),
        running_tasks: (0..count)
            .map(|number| RunningTask {
                task_id: format!("x{number}"),
                status: "running".to_owned(),
                attempt: 1,
                ..RunningTask::default()
            })
            .collect(),
        last_sequence: Some(u64::MAX),
        holds_complete: true,
        ..Heartbeat::default()
    };
    let refused = client.send_heartbeat(beat(200_000)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("running_tasks"), "{refused}");
    client.send_heartbeat(beat(90_000)).await.unwrap();
    until("it to be asked to stop some", async || {
        (!asked_to_stop.lock().unwrap().is_empty()).then_some(())
    })
    .await;
    an_honest_task_completes(&mut cluster).await;
    let asked = asked_to_stop.lock().unwrap().len();
    assert!(asked <= 64, "{asked}");
    cluster.end().await;
}
