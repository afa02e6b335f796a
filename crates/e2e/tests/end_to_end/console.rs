//! Commands from stdin, as a script sends them.

use cloudai_tests::{cluster::Cluster, engine::TEST_TASK, process::Process, programs::programs};

#[tokio::test(flavor = "multi_thread")]
async fn a_script_gets_its_answers_and_the_server_goes_on_after_its_end() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let line =
        format!("task {TEST_TASK} -name scripted -cpu_cores 0.5 -mem 0.125 -- /test-task exit 0");
    cluster.master.type_line(&line).await;
    let said = cluster.master.says("submitted").await;
    let id = said
        .split_whitespace()
        .find(|word| word.starts_with("task-"))
        .unwrap()
        .to_owned();
    cluster.has_status(&id.parse().unwrap(), "completed").await;
    for (command, answer) in [
        ("help", "register"),
        ("status", "sqlite"),
        ("workers", "worker-1"),
        ("list-tasks", "scripted"),
        ("queue", "No task waits"),
        ("wokers", "workers"),
        ("task", "image"),
        ("register ../x localhost", "❌"),
    ] {
        let seen = cluster.master.lines().len();
        cluster.master.type_line(command).await;
        cluster.master.says_after(seen, answer).await;
    }
    let seen = cluster.master.lines().len();
    cluster.master.type_line(&format!("monitor {id}")).await;
    cluster.master.says_after(seen, "exit code 0").await;

    cluster.master.close_stdin();
    let health = cluster.get("/health").await;
    assert_eq!(
        (&health["status"], &health["active_workers"]),
        (&"ok".into(), &1.into())
    );
    assert_eq!(cluster.get("/ready").await["ready"], true);
    cluster.master.signal("TERM").await;
    // Three of the lines failed.
    assert_eq!(cluster.master.ends().await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_of_which_nothing_failed_ends_well_with_and_without_exit() {
    for exit in [true, false] {
        let mut cluster = Cluster::start().await;
        cluster.master.type_line("queue").await;
        cluster.master.says("No task waits").await;
        if exit {
            cluster.master.type_line("exit").await;
        } else {
            cluster.master.close_stdin();
            cluster.master.signal("TERM").await;
        }
        assert_eq!(cluster.master.ends().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_a_start_is_told_in_one_clear_line() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let start = |args: &[&str]| {
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        Process::start("second", &programs().master, &args, folder.path())
    };
    // A port in use.
    let mut second = start(&[
        "-grpc",
        &cluster.grpc,
        "-http",
        "127.0.0.1:0",
        "-data-dir",
        "a",
    ]);
    second.says("choose another with -grpc").await;
    assert_eq!(second.ends().await, Some(1));
    // A data directory in use.
    let data = cluster.path("master").display().to_string();
    let mut second = start(&[
        "-grpc",
        "127.0.0.1:0",
        "-http",
        "127.0.0.1:0",
        "-data-dir",
        &data,
    ]);
    second.says("in use").await;
    assert_eq!(second.ends().await, Some(1));
    // A flag that there is not.
    let mut second = start(&["-gprc", ":1"]);
    second.says("grpc").await;
    assert_eq!(second.ends().await, Some(2));
    cluster.end().await;
}
