//! The server's own document, held against it by schemathesis: what the document says is taken is
//! taken, what it doesn't say is refused, and every answer is one that it names.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::{Site, web::get};

/// What schemathesis can't do rightly: it knows nobody's password, and is to leave everybody their tokens.
const NEVER_RIGHT: [&str; 3] = ["login", "change_password", "rotate_token_key"];

/// Longer than schemathesis takes on a slow machine.
const LONGEST: Duration = Duration::from_secs(1200);

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The program that `scripts/schemathesis-up` puts under target/.
fn schemathesis() -> PathBuf {
    let path = root().join("target/schemathesis/venv/bin/st");
    let is_there = path.exists();
    assert!(
        is_there,
        "expected schemathesis at {}: run scripts/schemathesis-up",
        path.display()
    );
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_outside_the_document() {
    // Given a master with two tasks that left files, and a worker that was lost, so that nothing runs,
    let mut site = Site::with_worker().await;
    let left = [
        site.submit(&site.admin, "echo hello; echo 1 >/output/a")
            .await,
        site.submit(&site.admin, "echo 1 >/output/a").await,
    ];
    for task in &left {
        site.has_status(&site.admin, task, "completed").await;
    }
    site.cluster.kill_worker("w-1").await;
    let waits = [
        site.submit(&site.admin, "true").await,
        site.submit(&site.admin, "true").await,
    ];
    let (other, leaving) = (site.user("other").await, site.user("leaving").await);
    let document = get("/api-docs/openapi.json")
        .send(site.at())
        .await
        .expect(200)
        .json();
    // when schemathesis asks it everything that the document has a word for, alone and in sequence,
    let settings = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/schemathesis.toml");
    let report = site.cluster.path("report");
    let mut command = Command::new(schemathesis());
    command
        .args(["--config-file", settings, "run", "--no-color"])
        .args(["--checks", "all"])
        .args(["--phases", "examples,coverage,fuzzing,stateful"])
        .args(["--report", "json", "--report-dir", report.to_str().unwrap()])
        .arg(format!("http://{}/api-docs/openapi.json", site.at()))
        .env("CLOUDAI_TOKEN", &site.admin)
        .env("CLOUDAI_OTHER", "other")
        .env("CLOUDAI_OTHER_TOKEN", &other)
        .env("CLOUDAI_LEAVING_TOKEN", &leaving)
        .env("CLOUDAI_TASK", &left[0])
        .env("CLOUDAI_TASK_TO_DELETE", &left[1])
        .env("CLOUDAI_TASK_TO_CHANGE", &waits[0])
        .env("CLOUDAI_TASK_TO_CANCEL", &waits[1])
        .current_dir(site.cluster.path(""))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let run = tokio::time::timeout(LONGEST, command.output()).await;
    let run = run.expect("schemathesis ends in time").unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    // then it has nothing to say,
    assert!(
        run.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    // has gone from one operation to another as the document links them,
    assert!(links_followed(&said) > 0, "{said}");
    // has had every operation done at least once,
    let metrics = get("/metrics").send(site.at()).await.expect(200).text();
    let mut never = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let route = path.replace("download/{path}", "download/{*path}");
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let method = method.to_uppercase();
            let done = format!(
                "cloudai_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"2xx\"}}"
            );
            if !metrics.contains(&done) && !NEVER_RIGHT.contains(&id) {
                never.push(id.to_owned());
            }
        }
    }
    assert!(never.is_empty(), "{never:?} were never done: {said}");
    // and the master has made no mistake that it had to confess to its log.
    let lines = site.cluster.master.lines();
    let confessed = |line: &&String| line.contains(" ERROR ") || line.contains("panicked");
    let confessed: Vec<&String> = lines.iter().filter(confessed).collect();
    assert!(confessed.is_empty(), "{confessed:#?}");
    get("/health").send(site.at()).await.expect(200);
    site.cluster.master.type_line("exit").await;
    site.cluster.master.ends().await;
}

/// How many of the document's links from one operation to another were followed.
fn links_followed(said: &str) -> usize {
    let mut lines = said.lines();
    let links = lines.find_map(|line| line.trim().strip_prefix("API Links:"));
    let covered = links.and_then(|links| links.split_whitespace().next());
    covered.map_or(0, |count| count.parse().unwrap())
}
