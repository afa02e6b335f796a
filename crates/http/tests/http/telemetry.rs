//! What workers use, over REST.

use cloudai_metrics::history::Figures;
use cloudai_model::Mono;
use serde_json::json;

use crate::support::{Site, client::get};

#[tokio::test]
async fn everybody_sees_what_workers_use_and_nobody_else_s_tasks() {
    // Given a worker that runs tasks of two users,
    let site = Site::new().await;
    let (alices, bobs) = (site.master.put("alice", 1), site.master.put("bob", 2));
    site.master.start(&alices, 1);
    site.master.start(&bobs, 1);
    site.master.add_worker("worker-1", &[&alices, &bobs]);
    site.master.uses("worker-1", 12.5);
    site.send(get("/telemetry"))
        .await
        .expect_problem(401, "unauthenticated");
    let token = site.token("alice").await;
    let get = |path: &str| get(path).by(&token);
    // then one of them sees how much it runs,
    let all = site.send(get("/telemetry")).await.expect(200).json();
    assert_eq!(all["at"], "2023-10-12T15:11:00.000Z");
    let worker = &all["workers"][0];
    assert_eq!(
        (&worker["cpu_percent"], &worker["running_tasks"]),
        (&json!(12.5), &json!(2))
    );
    let one = site
        .send(get("/telemetry/worker-1"))
        .await
        .expect(200)
        .json();
    assert_eq!(one, *worker);
    // and by name those that are the user's own.
    let workers = site.send(get("/workers")).await.expect(200).json();
    assert_eq!(workers["workers"][0]["running_tasks"], json!(["task-1"]));
    for path in ["/telemetry/worker-2", "/telemetry/..%2f"] {
        site.send(get(path)).await.expect_problem(404, "not_found");
    }
    let odd = site.send(get("/telemetry?x=1")).await;
    assert_eq!(odd.expect_problem(400, "invalid_parameter").places(), ["x"]);
}

#[tokio::test]
async fn a_worker_s_figures_are_there_for_the_last_hour_and_day() {
    // Given a worker that said twice what it uses, the last time now,
    let site = Site::new().await;
    site.master.add_worker("worker-1", &[]);
    let id = "worker-1".parse().unwrap();
    for (ms, percent) in [(30_000, 10.0), (60_000, 30.0)] {
        let figures = Figures::from([percent, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        site.master.history.take(&id, Mono(ms), figures);
    }
    let token = site.token("bob").await;
    let history = async |query: &str| {
        let path = format!("/api/workers/worker-1/metrics{query}");
        site.send(get(path).by(&token)).await
    };
    // then both are there, finely,
    let fine = history("").await.expect(200).json();
    assert_eq!(fine["resolution"], "5s");
    let at = |point: usize| fine["points"][point]["at"].clone();
    assert_eq!(
        (at(0), at(1)),
        (
            json!("2023-10-12T15:10:30.000Z"),
            json!("2023-10-12T15:11:00.000Z")
        )
    );
    assert_eq!(fine["points"][1]["mean"]["cpu_percent"], json!(30.0));
    // by the minute,
    let coarse = history("?resolution=1m").await.expect(200).json();
    assert_eq!(coarse["points"].as_array().unwrap().len(), 2);
    // and from a time on.
    let since = history("?resolution=5s&since=2023-10-12T15:10:59Z")
        .await
        .expect(200)
        .json();
    assert_eq!(since["points"].as_array().unwrap().len(), 1);
    let wrong = history("?resolution=1h&since=yesterday").await;
    assert_eq!(
        wrong.expect_problem(400, "invalid_parameter").places(),
        ["resolution", "since"]
    );
    let path = "/api/workers/worker-2/metrics";
    site.send(get(path).by(&token))
        .await
        .expect_problem(404, "not_found");
}
