//! A machine whose wall clock is stepped, forth and back. The real programs get another wall clock
//! from `wall_clock`.

use cloudai_tests::{cluster::Cluster, wait::until, wall_clock::WallClock};
use serde_json::Value;

use crate::task::{gated, is_whole, let_go, telling};

const DAY_S: i64 = 24 * 3600;

fn submitted_at(entry: &Value) -> String {
    entry["submitted_at"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_stepped_forth_and_back_loses_nobody_and_ids_go_on_rising() {
    // Given a cluster on a machine with such a clock, and tasks that run over all of it
    let folder = tempfile::tempdir().unwrap();
    let clock = WallClock::new(folder.path());
    let env = clock.env();
    let env = env.each_ref().map(|(key, value)| (*key, &**value));
    let spans = [
        "-heartbeat-interval",
        "500ms",
        "-inactive-after",
        "4s",
        "-lost-after",
        "8s",
    ];
    let mut cluster = Cluster::start_in("127.0.0.1", &spans, &env).await;
    cluster
        .add_worker_with("worker-1", 2.0, |command| {
            command.envs(env);
        })
        .await;
    let over_all = cluster.submit_draft(gated()).await;
    let telling_all = cluster.submit_draft(telling(100, 60, 100)).await;
    let now = submitted_at(&cluster.has_status(&over_all, "running").await);
    let mut last = over_all.clone();

    for offset in [DAY_S, -DAY_S, 400 * DAY_S, 0] {
        // When the clock is stepped
        let seen = cluster.master.lines().len();
        clock.step_to(offset);

        // Then the programs see it, new tasks have higher ids, and run,
        let task = cluster.submit(&["exit", "0"]).await;
        let entry = cluster.has_status(&task, "completed").await;
        assert_eq!(entry["attempt"], 1, "{entry}");
        let at = submitted_at(&entry);
        assert_eq!(at > now, offset >= 0, "{at} with {offset}, began {now}");
        let number = |id: &cloudai_model::TaskId| {
            let text = id.to_string();
            text["task-".len()..].parse::<u64>().unwrap()
        };
        assert!(number(&task) > number(&last), "{task} after {last}");
        last = task;

        // a restart finds all as it was,
        cluster.kill_master().await;
        cluster.restart_master().await;
        until("the worker to be heard again", async || {
            let workers = cluster.json("workers").await;
            (workers[0]["status"] == "active").then_some(())
        })
        .await;

        // and what ran before runs on.
        let entry = cluster.task(&over_all).await;
        assert_eq!(
            (&entry["status"], &entry["attempt"]),
            (&"running".into(), &1.into()),
            "{entry}"
        );
        let said = cluster.master.lines();
        let lost = said
            .iter()
            .skip(seen)
            .find(|line| line.contains("was lost"));
        assert_eq!(lost, None);
    }
    let_go(
        &cluster,
        "worker-1",
        &cloudai_tests::cluster::first(&over_all),
    );
    let entry = cluster.has_status(&over_all, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    let entry = cluster.has_status(&telling_all, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    is_whole(&mut cluster, &telling_all, 100, &entry).await;
    cluster.end().await;
}
