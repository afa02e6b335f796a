//! A real Prometheus reads a real master, and answers every query of the board.

use cloudai_tests::{cluster::free_port, process::Process, wait::until};
use serde_json::Value;
use tokio::process::Command;

use super::{Cluster, cluster, get, program, root, shell};

/// What a Prometheus answers to a query, if it takes it.
async fn ask(address: &str, query: &str) -> Result<Vec<Value>, String> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let (_, body) = get(address, &format!("/api/v1/query?query={encoded}")).await;
    let answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
    match answer["status"].as_str() {
        Some("success") => Ok(answer["data"]["result"]
            .as_array()
            .cloned()
            .unwrap_or_default()),
        _ => Err(answer["error"].to_string()),
    }
}

/// A Prometheus that reads the master every second, and where it answers.
async fn prometheus(cluster: &Cluster) -> (Process, String) {
    let handed_out = std::fs::read_to_string(root().join("deploy/prometheus.yml")).unwrap();
    let settings = handed_out
        .replace("scrape_interval: 15s", "scrape_interval: 1s")
        .replace("127.0.0.1:8080", &cluster.http);
    assert!(settings.contains("interval: 1s") && settings.contains(&cluster.http));
    let file = cluster.path("prometheus.yml");
    std::fs::write(&file, settings).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(program("prometheus"));
    command.args([
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", cluster.path("tsdb").display()),
        format!("--web.listen-address={address}"),
    ]);
    let process = Process::spawn("prometheus", command, &cluster.path(""));
    (process, address)
}

/// Every query of the board, as Grafana would send it.
fn queries() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deploy/grafana/cloudai.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let queries = targets.map(|target| {
        let query = target["expr"].as_str().unwrap();
        query
            .replace("$__rate_interval", "1m")
            .replace("$instance", ".*")
    });
    queries.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_board_is_answered() {
    // Given a Prometheus that has read a master a few times, before and after a task ran,
    let mut cluster = cluster().await;
    let (mut process, address) = prometheus(&cluster).await;
    process
        .says("Server is ready to receive web requests")
        .await;
    let has_read = async |times: usize| {
        until("Prometheus to have read the master", async || {
            let query = format!("count_over_time(cloudai_ready[5m]) >= {times}");
            let found = ask(&address, &query).await.unwrap();
            (!found.is_empty()).then_some(())
        })
        .await;
    };
    has_read(2).await;
    let task = cluster
        .submit_draft(shell("echo hello; echo 1 >/output/x"))
        .await;
    cluster.has_status(&task, "completed").await;
    has_read(6).await;
    // then it knows an answer to everything that the board asks.
    let mut unanswered = Vec::new();
    for query in queries() {
        match ask(&address, &query).await {
            Ok(found) if found.is_empty() => unanswered.push(format!("nothing: {query}")),
            Ok(_) => {}
            Err(error) => unanswered.push(format!("{error}: {query}")),
        }
    }
    assert!(unanswered.is_empty(), "{}", unanswered.join("\n"));
    drop(process);
    cluster.end().await;
}
