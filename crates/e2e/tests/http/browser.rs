//! The page of the interface, `/docs`, opened in a real browser that reaches the master and nothing
//! else. What is looked at is in `browser/docs_page.mjs`.

use std::{env, path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::Site;

/// Longer than the browser takes on a slow machine.
const LONGEST: Duration = Duration::from_secs(600);

/// What `scripts/browser-up` puts under target/.
fn browser() -> PathBuf {
    let home = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/browser"));
    let names = ["ready", "chromium", "node"];
    let is_there = names.iter().all(|name| home.join(name).exists());
    assert!(
        is_there,
        "expected a browser at {}: run scripts/browser-up",
        home.display()
    );
    home.canonicalize().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_interface_works_in_a_browser() {
    // Given a master, and somebody who may submit,
    let site = Site::start().await;
    // when a browser opens its page in every way that the script knows,
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/http/browser/docs_page.mjs"
    );
    let browser = browser();
    let mut command = Command::new(browser.join("node"));
    command
        .arg(script)
        .env("MASTER", site.at())
        .env("TOKEN", &site.admin)
        .env("BROWSER", browser)
        // Profiles and sockets of the browser: they go with the cluster's folder.
        .env("TMPDIR", site.cluster.path(""))
        .env_remove("PICTURES")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // (people who want to see what it sees name a folder)
    if let Some(folder) = env::var_os("CLOUDAI_TESTS_PICTURES") {
        command.env("PICTURES", folder);
    }
    let run = tokio::time::timeout(LONGEST, command.output()).await;
    let run = run.expect("the browser ends in time");
    let run = run.expect("target/browser/node runs: scripts/browser-up has tried it");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    // then nothing is amiss,
    assert!(
        run.status.success(),
        "{}\n{said}",
        String::from_utf8_lossy(&run.stderr)
    );
    // it has looked at everything,
    assert!(said.trim_end().ends_with("checks, 0 failed"), "{said}");
    // and the master has nothing to confess.
    let lines = site.cluster.master.lines();
    let confessed = |line: &&String| line.contains(" ERROR ") || line.contains("panicked");
    let confessed: Vec<&String> = lines.iter().filter(confessed).collect();
    assert!(confessed.is_empty(), "{confessed:#?}");
}
