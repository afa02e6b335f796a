//! The server's own document, held against it by schemathesis: what the document says is taken is
//! taken, what it doesn't say is refused, and every answer is one that it names.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::{Site, web::get};

/// Longer than schemathesis takes on a slow machine.
const LONGEST: Duration = Duration::from_secs(600);

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
    // Given a master whom nobody else asks, and from which nobody is kept out by a limit,
    let mut site = Site::start().await;
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
        .args(["--report", "json", "--report-dir", report.to_str().unwrap()])
        .arg(format!("http://{}/api-docs/openapi.json", site.at()))
        .env("CLOUDAI_TOKEN", &site.admin)
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
    // has looked at every operation,
    let operations = document["paths"].as_object().unwrap().values();
    let operations: usize = operations.map(|item| item.as_object().unwrap().len()).sum();
    assert!(said.contains(&format!("Tested: {operations}")), "{said}");
    // and the master has made no mistake that it had to confess to its log.
    let lines = site.cluster.master.lines();
    let confessed = |line: &&String| line.contains(" ERROR ") || line.contains("panicked");
    let confessed: Vec<&String> = lines.iter().filter(confessed).collect();
    assert!(confessed.is_empty(), "{confessed:#?}");
    get("/health").send(site.at()).await.expect(200);
    site.cluster.master.type_line("exit").await;
    site.cluster.master.ends().await;
}
