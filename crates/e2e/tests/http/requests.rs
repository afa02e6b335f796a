//! `docs/requests.md`: a request for every path, compared with what a real master answers.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Stdio};

use cloudai_tests::wait::until;
use serde_json::Value;
use tokio::process::Command;

use crate::{ADMIN_PASSWORD, Site, web::get};

/// With this in the environment the file is written anew.
const WRITE: &str = "CLOUDAI_WRITE_TRANSCRIPT";

const ABOVE: &str = "\
# A request for every path

What a master answers, as [api.md](api.md) explains it. A test sends these lines to a real one and compares
(`crates/e2e/tests/http/requests.rs`); ids, times, secrets and what a machine uses are made uniform. With
`CLOUDAI_WRITE_TRANSCRIPT=1 cargo test -p cloudai-tests --test http requests` this file is written anew.

`URL` is `http://localhost:8080`. `AUTH` is `Authorization: Bearer` and the token of a login or a key; here it is an
admin's. `JSON` is `Content-Type: application/json`.
";

/// What differs from one machine and moment to the next, or is shown to nobody, and what stands for it.
const VARYING: [(&str, &str); 20] = [
    ("total_bytes", "270553174016"),
    ("free_bytes", "135276587008"),
    ("keep_free_bytes", "2147483648"),
    ("cpu_percent", "12.5"),
    ("gpu_percent", "0.0"),
    ("used_memory", "1.5"),
    ("used_storage", "10.25"),
    ("disk_read_bytes_per_s", "0.0"),
    ("disk_write_bytes_per_s", "4096.0"),
    ("running_tasks", "0"),
    ("cpu_time_s", "null"),
    ("peak_memory_gb", "null"),
    ("number", "17"),
    ("token", "\"(shown this once)\""),
    ("secret", "\"(shown this once)\""),
    ("image_digest", "\"sha256:4f1c86b0...\""),
    ("sha256", "\"084c799cd551dd1d...\""),
    ("request_id", "\"4f1c86b0d5a3e972\""),
    ("master_address", "\"10.0.0.1:50051\""),
    ("version", "\"0.1.0\""),
];

struct Scene<'a> {
    at: &'a str,
    variables: BTreeMap<&'static str, String>,
    shown: String,
    /// What is shown in the place of something.
    uniform: Vec<(String, String)>,
}

impl Scene<'_> {
    /// Runs a line of the shell, and keeps it with what it prints.
    async fn plays(&mut self, line: &str) -> String {
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("set -o pipefail; {line}")])
            .env("URL", format!("http://{}", self.at))
            .envs(&self.variables)
            .stdin(Stdio::null());
        let run = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        let wrong = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{line}: {said}{wrong}");
        let kept = match serde_json::from_str::<Value>(&said) {
            Ok(_) => wrapped(&self.made_uniform(&evened(&said))),
            Err(_) => self.made_uniform(&said),
        };
        self.shown
            .push_str(&format!("$ {line}\n{}\n\n", kept.trim_end()));
        said
    }

    /// The same; its answer, which is JSON.
    async fn asks(&mut self, line: &str) -> Value {
        let said = self.plays(line).await;
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{line}: {said}"))
    }

    fn chapter(&mut self, title: &str) {
        if !self.shown.is_empty() {
            self.shown.push_str("```\n");
        }
        self.shown
            .push_str(&format!("\n## {title}\n\n```console\n"));
    }

    fn sets(&mut self, name: &'static str, value: &str, shown: &str) {
        self.variables.insert(name, value.to_owned());
        self.uniform.push((value.to_owned(), shown.to_owned()));
    }

    fn made_uniform(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, shown) in &self.uniform {
            text = text.replace(value, shown);
        }
        timeless(&text).replace(self.at, "localhost:8080")
    }
}

/// An answer with what varies made the same.
fn evened(answer: &str) -> String {
    let mut text = answer.to_owned();
    for (name, shown) in VARYING {
        let field = format!("\"{name}\":");
        let mut parts = text.split(&field);
        let mut even = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            // A list or an object of this name is something else; a text has no comma here.
            let end = match part.starts_with(['[', '{']) {
                true => 0,
                false => part.find([',', '}']).unwrap_or(part.len()),
            };
            let value = if end == 0 { "" } else { shown };
            even.push_str(&format!("{field}{value}{}", &part[end..]));
        }
        text = even;
    }
    // Of a history the first point.
    if let (Some(first), Some(last)) = (text.find("}},{\"at\""), text.rfind(']')) {
        text.replace_range(first + 2..last, "");
    }
    text
}

/// Lines of at most some width, broken behind commas.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for part in text.split_inclusive(',') {
        let last = lines.last_mut().unwrap();
        match last.is_empty() || last.len() + part.len() <= 118 {
            true => last.push_str(part),
            false => lines.push(format!("  {}", part.trim_start())),
        }
    }
    lines.join("\n")
}

/// Times, and what was made at random, as if it were always the same.
fn timeless(text: &str) -> String {
    let mut uniform = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        uniform.push_str(&rest[..at]);
        rest = &rest[at..];
        let word = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ":.-_".contains(c)));
        let (word, after) = rest.split_at(word.unwrap_or(rest.len()));
        let bytes = word.as_bytes();
        let is_time = bytes.len() >= 20 && bytes[10] == b'T' && bytes[13] == b':';
        let is_hex = bytes.len() >= 16 && bytes.iter().all(u8::is_ascii_hexdigit);
        uniform.push_str(match (is_time, is_hex) {
            (true, _) => "2026-01-31T08:00:00.000Z",
            (_, true) => "4f1c86b0d5a3e972",
            _ => word,
        });
        rest = after;
    }
    uniform + rest
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a text, not {value}"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_in_the_docs_are_answered_so() {
    let site = Site::with_worker().await;
    let document = get("/api-docs/openapi.json")
        .send(site.at())
        .await
        .expect(200)
        .json();
    let port = site.cluster.worker_port("w-1").to_string();
    let mut scene = Scene {
        at: site.at(),
        variables: BTreeMap::new(),
        shown: String::new(),
        uniform: vec![
            (site.cluster.id().to_string(), "c-4f1c86b0d5a3".to_owned()),
            (
                site.cluster.path("master").display().to_string(),
                "/var/lib/cloudai".to_owned(),
            ),
            (format!("127.0.0.1:{port}"), "127.0.0.1:50052".to_owned()),
            (format!("localhost:{port}"), "localhost:50052".to_owned()),
        ],
    };
    // A point of the history, and a heartbeat.
    until("the worker's history", async || {
        let asked = get("/api/workers/w-1/metrics").by(&site.admin);
        let history = asked.send(site.at()).await.json();
        (!history["points"].as_array()?.is_empty()).then_some(())
    })
    .await;

    scene.chapter("Coming in");
    scene.sets("PASSWORD", ADMIN_PASSWORD, "the password");
    // Not `--json`, which curl has since 7.82.
    scene.sets("JSON", "Content-Type: application/json", "$JSON");
    let line = r#"curl -s $URL/api/auth/login -H "$JSON" -d "{\"username\": \"admin\", \"password\": \"$PASSWORD\"}""#;
    let token = text(&scene.asks(line).await["token"]);
    scene.sets("AUTH", &format!("Authorization: Bearer {token}"), "$AUTH");
    scene.plays(r#"curl -s $URL/api/auth/me -H "$AUTH""#).await;
    scene
        .plays(r#"curl -s $URL/api/auth/register -H "$JSON" -d '{"username": "alice", "password": "correct horse battery"}'"#)
        .await;
    scene
        .plays(r#"curl -s $URL/api/users -H "$AUTH" -H "$JSON" -d '{"username": "bob", "password": "correct horse battery"}'"#)
        .await;
    scene
        .plays(r#"curl -s "$URL/api/users?limit=2" -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s $URL/api/users/bob -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s -X PATCH $URL/api/users/bob -H "$AUTH" -H "$JSON" -d '{"limits": {"queued_tasks": 100, "cpu_cores": 8}}'"#)
        .await;
    scene
        .plays(r#"curl -s -i -X DELETE $URL/api/users/bob -H "$AUTH" | head -n 1"#)
        .await;
    let line =
        r#"curl -s $URL/api/keys -H "$AUTH" -H "$JSON" -d '{"name": "nightly", "scope": "tasks"}'"#;
    let key = scene.asks(line).await;
    scene.sets("KEY", &text(&key["key"]["id"]), "4f1c86b0d5a3e972");
    scene.plays(r#"curl -s $URL/api/keys -H "$AUTH""#).await;
    scene
        .plays(r#"curl -s -i -X DELETE $URL/api/keys/$KEY -H "$AUTH" | head -n 1"#)
        .await;

    scene.chapter("Tasks");
    let task = scene
        .asks(r#"curl -s $URL/api/tasks -H "$AUTH" -H "$JSON" -d '{"docker_image": "cloudai/test-shell", "command": "echo 6 times 7; echo 42 >/output/sum", "name": "sum", "cpu_cores": 0.5, "hold": true}'"#)
        .await;
    let task = text(&task["task_id"]);
    scene.sets("TASK", &task, "task-1697123456000001");
    scene
        .plays(r#"curl -s $URL/api/tasks/$TASK/explain -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s -X PATCH $URL/api/tasks/$TASK -H "$AUTH" -H "$JSON" -d '{"labels": {"team": "vision"}}'"#)
        .await;
    scene
        .plays(r#"curl -s -o /dev/null -w '%{http_code}' -X PATCH $URL/api/tasks/$TASK -H "$AUTH" -H "$JSON" -d '{"hold": false}'"#)
        .await;
    site.has_status(&site.admin, &task, "completed").await;
    scene
        .plays(r#"curl -s $URL/api/tasks/$TASK -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s $URL/api/tasks/$TASK/events -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s "$URL/api/tasks/$TASK/logs?tail=10" -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s "$URL/api/tasks/$TASK/logs?follow=true" -H "$AUTH" -H "Accept: text/event-stream""#)
        .await;
    let batch = scene
        .asks(r#"curl -s $URL/api/tasks/batch -H "$AUTH" -H "$JSON" -d '{"tasks": [{"docker_image": "cloudai/test-shell", "command": ["sleep", "600"], "hold": true}]}'"#)
        .await;
    scene.sets(
        "OTHER",
        &text(&batch["items"][0]["task_id"]),
        "task-1697123456000002",
    );
    // What the answer showed before it had its name.
    scene.shown = scene.made_uniform(&scene.shown);
    scene
        .plays(r#"curl -s "$URL/api/tasks?status=queued,running&limit=10" -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s -X DELETE $URL/api/tasks/$OTHER -H "$AUTH""#)
        .await;

    scene.chapter("Files");
    scene.plays(r#"curl -s $URL/api/files -H "$AUTH""#).await;
    scene
        .plays(r#"curl -s $URL/api/files/$TASK -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s $URL/api/files/$TASK/download/sum -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s $URL/api/files/$TASK/archive -H "$AUTH" | tar -tz"#)
        .await;
    scene
        .plays(r#"curl -s -i -X DELETE $URL/api/files/$TASK -H "$AUTH" | head -n 1"#)
        .await;

    scene.chapter("Workers");
    scene.plays(r#"curl -s $URL/api/workers -H "$AUTH""#).await;
    scene
        .plays(r#"curl -s $URL/api/workers/w-1 -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s "$URL/api/workers/w-1/tasks?limit=1" -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s "$URL/api/workers/w-1/metrics?resolution=1m" -H "$AUTH""#)
        .await;
    scene.plays(r#"curl -s $URL/telemetry -H "$AUTH""#).await;
    scene
        .plays(r#"curl -s $URL/telemetry/w-1 -H "$AUTH""#)
        .await;
    scene.plays(r#"curl -s $URL/workers -H "$AUTH""#).await;
    let line = r#"curl -s $URL/api/workers -H "$AUTH" -H "$JSON" -d '{"worker_id": "w-2", "address": "10.0.0.7"}'"#;
    scene.asks(line).await;
    scene
        .plays(r#"curl -s -X DELETE $URL/api/workers/w-2 -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s -X POST $URL/api/workers/w-1/drain -H "$AUTH""#)
        .await;

    scene.chapter("The master");
    scene.plays("curl -s $URL/health").await;
    scene.plays("curl -s $URL/ready").await;
    scene
        .plays("curl -s $URL/metrics | grep cloudai_tasks_submitted")
        .await;
    scene
        .plays(r#"curl -s "$URL/api/audit?action=task.cancel" -H "$AUTH""#)
        .await;
    scene
        .plays(r#"curl -s $URL/api/auth/password -H "$AUTH" -H "$JSON" -d '{"current_password": "wrong", "new_password": "another staple battery"}'"#)
        .await;
    scene
        .plays(r#"curl -s -i -X POST $URL/api/auth/token-key -H "$AUTH" | head -n 1"#)
        .await;
    scene
        .plays(r#"curl -s -i -X POST $URL/api/auth/logout -H "$AUTH" | head -n 1"#)
        .await;
    scene.plays(r#"curl -s $URL/api/tasks -H "$AUTH""#).await;
    scene.shown.push_str("```\n");

    every_path_is_in(&scene.shown, &document);
    compares(&format!("{ABOVE}{}", scene.shown));
    site.cluster.end().await;
}

/// Holds the lines against the document: each operation has one.
fn every_path_is_in(shown: &str, document: &Value) {
    let lines: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("$ curl"))
        .collect();
    let mut missing = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let is_it = |line: &&&str| {
                let url = line.split_once("$URL").map_or("", |(_, rest)| rest);
                let url = url.split([' ', '"', '?']).next().unwrap_or_default();
                let sent = match line.split_once("-X ") {
                    Some((_, rest)) => rest.split(' ').next().unwrap_or_default(),
                    None if line.contains(" -d ") => "POST",
                    None => "GET",
                };
                let parts = |path: &str| path.split('/').count();
                let mut pairs = url.split('/').zip(path.split('/'));
                sent.eq_ignore_ascii_case(method)
                    && parts(url) == parts(path)
                    && pairs.all(|(is, wanted)| is == wanted || wanted.starts_with('{'))
            };
            if !lines.iter().any(|line| is_it(&line)) {
                missing.push(format!("{method} {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "no line for {missing:?}");
}

fn compares(shown: &str) {
    let file = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/requests.md"
    ));
    if std::env::var_os(WRITE).is_some() {
        fs::write(&file, shown).unwrap();
        return;
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let differs = kept
        .lines()
        .zip(shown.lines())
        .find(|(kept, shown)| kept != shown);
    if let Some((kept, shown)) = differs {
        panic!(
            "docs/requests.md differs: it has\n{kept}\nand it is\n{shown}\n({WRITE}=1 writes it anew)"
        );
    }
    assert_eq!(kept.lines().count(), shown.lines().count(), "{shown}");
}
