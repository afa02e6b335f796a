//! What somebody may try who is let in: others' things by their ids, paths that leave a folder, lines
//! and headers of their own.

use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::{
    PASSWORD, Site, log_in,
    web::{Ask, delete, exchange, get, patch, post, socket},
};

/// Spellings of a path that leaves its folder; `{FILE}` is what somebody looks for.
const SPELLINGS: &str = include_str!("../../../http/tests/vectors/path-traversal.txt");

/// Every path that names a task.
fn asked_of(task: &str) -> Vec<Ask> {
    vec![
        get(format!("/api/tasks/{task}")),
        patch(format!("/api/tasks/{task}")).json(&json!({"name": "x"})),
        delete(format!("/api/tasks/{task}")),
        get(format!("/api/tasks/{task}/logs")),
        get(format!("/api/tasks/{task}/logs?follow=true")),
        get(format!("/api/tasks/{task}/logs?follow=true")).header("Accept", "text/event-stream"),
        get(format!("/api/tasks/{task}/logs")).header("Last-Event-ID", "1:0"),
        get(format!("/api/tasks/{task}/logs?attempt=1")),
        get(format!("/api/tasks/{task}/events")),
        get(format!("/api/tasks/{task}/explain")),
        get(format!("/api/files/{task}")),
        get(format!("/api/files/{task}/download/a")),
        get(format!("/api/files/{task}/download/b")),
        get(format!("/api/files/{task}/archive")),
        delete(format!("/api/files/{task}")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_things_are_answered_as_what_does_not_exist() {
    // Given alice's tasks: one that ended and left a file, one that runs, one that waits,
    let site = Site::with_worker().await;
    let alice = site.user("alice").await;
    let ended = site.submit(&alice, "echo mine; echo mine >/output/a").await;
    site.has_status(&alice, &ended, "completed").await;
    let running = site.submit(&alice, "echo mine; sleep 600").await;
    site.has_status(&alice, &running, "running").await;
    let mut waits = crate::shell("true");
    waits["hold"] = json!(true);
    let waits = post("/api/tasks")
        .by(&alice)
        .json(&waits)
        .send(site.at())
        .await
        .expect(201)
        .json();
    let waits = waits["task_id"].as_str().unwrap().to_owned();
    // when bob guesses their ids, or a program does for him, or eve who was never here,
    let bob = site.user("bob").await;
    let made = post("/api/keys")
        .by(&bob)
        .json(&json!({"name": "k", "scope": "all"}));
    let key = made.send(site.at()).await.expect(201).json()["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    // One of the same length, for what repeats it.
    let nobodys = "task-1697123456000001";
    for task in [&ended, &running, &waits] {
        for by in [&bob, &key] {
            for (there, not_there) in asked_of(task).into_iter().zip(asked_of(nobodys)) {
                // then the answer is, to the byte, that of one that doesn't exist.
                let theirs = there.clone().by(by).send(site.at()).await;
                let theirs = theirs.expect_problem(404, "not_found");
                let nobodys = not_there
                    .by(by)
                    .send(site.at())
                    .await
                    .expect_problem(404, "not_found");
                assert_eq!(theirs.nameless(), nobodys.nameless(), "{there:?}");
                let names = |reply: &crate::web::Reply| -> Vec<String> {
                    reply.headers.keys().map(ToString::to_string).collect()
                };
                assert_eq!(names(&theirs), names(&nobodys), "{there:?}");
                assert_eq!(theirs.body.len(), nobodys.body.len(), "{there:?}");
            }
        }
        let watched = async |task: &str| {
            let path = format!("/ws/tasks/{task}/logs");
            socket(site.at(), &path, &bob)
                .await
                .map(|_| ())
                .unwrap_err()
        };
        let refused = watched(task).await;
        assert_eq!(refused.0, 404);
        assert_eq!(refused, watched(nobodys).await);
    }
    // In no list is anything of hers,
    for list in [
        "/api/tasks",
        "/api/tasks?user=alice",
        "/api/files",
        "/api/workers/w-1/tasks",
        "/api/keys",
    ] {
        let told = get(list).by(&bob).send(site.at()).await.expect(200).text();
        assert!(
            !told.contains("alice") && !told.contains(&running),
            "{list}: {told}"
        );
    }
    for asked in [
        get("/api/files?user=alice"),
        get("/api/keys?user=alice"),
        get("/api/users/alice"),
    ] {
        let told = asked.clone().by(&bob).send(site.at()).await;
        let is_nothing = [403, 404].contains(&told.status)
            || told.status == 200 && told.json()["items"] == json!([]);
        assert!(is_nothing, "{asked:?}: {}", told.text());
    }
    // and nothing of hers has changed.
    assert_eq!(site.task(&alice, &running).await["status"], "running");
    assert_eq!(site.task(&alice, &waits).await["name"], json!(""));
    let file = get(format!("/api/files/{ended}/download/a")).by(&alice);
    assert_eq!(file.send(site.at()).await.expect(200).text(), "mine\n");
    // The admin sees all of it.
    for task in [&ended, &running, &waits] {
        site.task(&site.admin, task).await;
    }
    site.cluster.end().await;
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_leaves_a_tasks_folder() {
    // Given a task that left files whose names are such spellings, as far as one name can be one,
    let site = Site::with_worker().await;
    let alice = site.user("alice").await;
    let wanted: Vec<String> = SPELLINGS
        .lines()
        .map(|line| line.replace("{FILE}", "etc/passwd"))
        .collect();
    assert_eq!(wanted.len(), 140);
    let line = r#"cd /output && printf own >a && printf '%s\n' "$NAMES" | while IFS= read -r name
        do name=$(printf %s "$name" | tr / _ | cut -b -200); printf own >"$name"; done"#;
    let mut body = crate::shell(line);
    body["env"] = json!({"NAMES": wanted.join("\n")});
    let made = post("/api/tasks")
        .by(&alice)
        .json(&body)
        .send(site.at())
        .await
        .expect(201)
        .json();
    let task = made["task_id"].as_str().unwrap().to_owned();
    site.has_status(&alice, &task, "completed").await;
    // and files that are nobody's business around its folder,
    let files = site.cluster.path("master").join("files");
    assert!(
        files.join("alice").join(&task).is_dir(),
        "its files lie where this test thinks"
    );
    std::fs::write(files.join("secret"), "SECRET").unwrap();
    std::fs::write(files.join("alice/secret"), "SECRET").unwrap();
    std::fs::create_dir_all(files.join("alice/etc")).unwrap();
    std::fs::write(files.join("alice/etc/passwd"), "SECRET").unwrap();

    // then each is had by its own name,
    let listed = get(format!("/api/files/{task}")).by(&alice);
    let listed = listed.send(site.at()).await.expect(200).json();
    assert_eq!(listed["files_complete"], true, "{listed}");
    let listed: Vec<String> = listed["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap().to_owned())
        .collect();
    assert!(listed.len() > 100, "{}", listed.len());
    for path in &listed {
        let asked = get(format!("/api/files/{task}/download/{}", escaped(path))).by(&alice);
        assert_eq!(
            asked.send(site.at()).await.expect(200).text(),
            "own",
            "{path}"
        );
    }
    // the archive holds them under names that stay within,
    let archive = get(format!("/api/files/{task}/archive")).by(&alice);
    let archive = archive.send(site.at()).await.expect(200).body;
    let mut packed = 0;
    for entry in tar::Archive::new(GzDecoder::new(&archive[..]))
        .entries()
        .unwrap()
    {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let stays = |part| matches!(part, std::path::Component::Normal(_));
        assert!(path.components().all(stays), "{}", path.display());
        if entry.header().entry_type().is_file() {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            assert_eq!(text, "own");
            packed += 1;
        }
    }
    assert_eq!(packed, listed.len());
    // and no spelling of any, in a path or an id, as it is or escaped once more, reaches another.
    let mut tried = 0;
    for spelling in &wanted {
        let raw: String = spelling
            .chars()
            .map(|c| match c {
                c if c.is_ascii_graphic() && !"\"<>\\^`{|}#".contains(c) => c.to_string(),
                c => escaped(&c.to_string()),
            })
            .collect();
        for path in [raw, escaped(spelling)] {
            tried += 1;
            for asked in [
                format!("/api/files/{task}/download/{path}"),
                format!("/api/files/{task}/download/../secret/{path}"),
                format!("/api/files/{path}"),
                format!("/api/files/{path}/archive"),
                format!("/api/tasks/{path}/logs"),
            ] {
                let request = format!(
                    "GET {asked} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {alice}\r\n\
                     Connection: close\r\n\r\n"
                );
                let told = exchange(site.at(), request.as_bytes()).await;
                // What it holds is the task's own, where a name is spelled so.
                let is_refused =
                    told.starts_with("HTTP/1.1 404") || told.starts_with("HTTP/1.1 400");
                let is_own = told.starts_with("HTTP/1.1 200") && told.ends_with("\r\n\r\nown");
                assert!(is_refused || is_own, "{asked}: {told}");
                assert!(
                    !told.contains("SECRET") && !told.contains("root:"),
                    "{asked}: {told}"
                );
            }
        }
    }
    assert_eq!(tried, 280);
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_forges_a_header_a_line_of_the_log_or_a_record() {
    let mut site = Site::start_in(&["-log-level", "debug"], &[]).await;
    let alice = site.user("alice").await;
    // Two lengths, or a length and chunks: whoever stands before the server may have read the other.
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: x\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5\r\nContent-Length : 6\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        let request = format!(
            "POST /api/tasks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {alice}\r\n\
             Content-Type: application/json\r\n{lengths}Connection: close\r\n\r\n{{}}   \
             GET /api/auth/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {alice}\r\n\r\n"
        );
        let told = exchange(site.at(), request.as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 400"), "{lengths}: {told}");
        assert_eq!(told.matches("HTTP/1.1").count(), 1, "{lengths}: {told}");
    }
    // What a client sends comes back in no header but as it is allowed.
    for id in [
        "x\r\nSet-Cookie: a=b",
        "x\nY: z",
        "x\0y",
        "\u{e9}",
        "a\rSet-Cookie: a=b",
    ] {
        let request = format!(
            "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {id}\r\nConnection: close\r\n\r\n"
        );
        let told = exchange(site.at(), request.as_bytes()).await.to_lowercase();
        assert!(
            !told.contains("set-cookie") && !told.contains("\ny: z"),
            "{told}"
        );
    }
    let odd = get("/api/tasks?a%0d%0aSet-Cookie:%20x=y=1")
        .by(&alice)
        .send(site.at())
        .await;
    let problem = odd.expect_problem(400, "invalid_parameter");
    assert_eq!(problem.header("set-cookie"), None);
    assert_eq!(
        problem.json()["errors"][0]["parameter"],
        "a\r\nSet-Cookie: x"
    );

    // Whatever has a line's end in it makes no line of the log, and none of the audit.
    let forged = "x\nFORGED\r\nFORGED\u{1b}[31m\u{2028}FORGED";
    let mut task = crate::shell("true");
    task["name"] = json!(forged);
    task["labels"] = json!({"a": forged});
    for asked in [
        get(format!("/api/tasks/{}", escaped("\nFORGED"))).by(&alice),
        get(format!("/x{}", escaped("\r\nFORGED"))),
        get("/x?token=QUERYSECRET"),
        get("/health").header("User-Agent", "FORGED"),
        get("/health").header("X-Request-Id", "told-by-this-test"),
        post("/api/auth/login").json(&json!({"username": forged, "password": "PASSSECRET"})),
        post("/api/auth/register").json(&json!({"username": forged, "password": "PASSSECRET"})),
        post("/api/auth/register")
            .json(&json!({"username": "mallory", "password": PASSWORD, "name": forged})),
        post("/api/keys")
            .by(&alice)
            .json(&json!({"name": forged, "scope": "read"})),
        post("/api/tasks").by(&alice).json(&task),
        post("/api/workers")
            .by(&site.admin)
            .json(&json!({"worker_id": forged, "address": forged})),
        patch(format!("/api/users/{}", escaped("alice\nFORGED")))
            .by(&site.admin)
            .json(&json!({})),
    ] {
        let reply = asked.send(site.at()).await;
        assert!(reply.status < 500, "{asked:?}: {}", reply.text());
    }
    site.cluster.master.says("told-by-this-test").await;
    let lines = site.cluster.master.lines();
    assert!(
        !lines
            .iter()
            .any(|line| line.trim_start().starts_with("FORGED")),
        "{lines:?}"
    );
    assert!(
        !lines.iter().any(|line| line.contains('\u{1b}')),
        "{lines:?}"
    );
    let said = lines.join("\n");
    for secret in ["QUERYSECRET", "PASSSECRET", PASSWORD, &alice] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    let audit = get("/api/audit?limit=1000")
        .by(&site.admin)
        .send(site.at())
        .await
        .expect(200);
    for record in audit.json()["items"].as_array().unwrap() {
        for (field, value) in record.as_object().unwrap() {
            let text = value.as_str().unwrap_or_default();
            assert!(!text.chars().any(char::is_control), "{field}: {record}");
        }
    }
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_slowed_down_and_shut_nobody_else_out() {
    // Given somebody who has logged in from here before,
    let site = Site::start().await;
    site.user("alice").await;
    for name in ["bob", "carol"] {
        let new = json!({"username": name, "password": PASSWORD});
        post("/api/users")
            .by(&site.admin)
            .json(&new)
            .send(site.at())
            .await
            .expect(201);
    }
    let login = async |name: &str, password: &str| {
        let body = json!({"username": name, "password": password});
        post("/api/auth/login").json(&body).send(site.at()).await
    };
    // then a name that there is and one that there isn't are refused alike,
    let known = login("carol", "wrong")
        .await
        .expect_problem(401, "wrong_password");
    let unknown = login("nobody", "wrong")
        .await
        .expect_problem(401, "wrong_password");
    assert_eq!(known.nameless(), unknown.nameless());
    // and after a few guesses whoever guesses waits, whatever the password;
    let mut refused = 0;
    while login("bob", "wrong").await.status != 429 {
        refused += 1;
        assert!(refused < 10, "guesses go on for ever");
    }
    assert!(refused >= 4, "{refused}");
    let right = login("bob", PASSWORD)
        .await
        .expect_problem(429, "too_many_tries");
    let after: u64 = right.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&after), "{after}");
    // so does who tries many names;
    let mut tried = 0;
    while login(&format!("user-{tried}"), "wrong").await.status != 429 {
        tried += 1;
        assert!(tried < 40, "guesses go on for ever");
    }
    // but not who was here before, or is in already.
    log_in(site.at(), "alice", PASSWORD).await;
    get("/api/auth/me")
        .by(&site.admin)
        .send(site.at())
        .await
        .expect(200);
    // What was guessed is in the audit, but no name that may be a password.
    let audit: Value = get("/api/audit?limit=1000")
        .by(&site.admin)
        .send(site.at())
        .await
        .expect(200)
        .json();
    let text = audit.to_string();
    assert!(text.contains("bob") && !text.contains("user-3"), "{text}");
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_there_is_takes_as_long_as_one_that_there_is_not() {
    let site = Site::start().await;
    for name in ["alice", "bob", "carol"] {
        let new = json!({"username": name, "password": PASSWORD});
        post("/api/users")
            .by(&site.admin)
            .json(&new)
            .send(site.at())
            .await
            .expect(201);
    }
    // The least of nine each, in turn: what else the machine does makes some longer, none shorter.
    let mut least = [f64::MAX; 2];
    for round in 0..3 {
        for names in [
            ["alice", "nobody-1"],
            ["bob", "nobody-2"],
            ["carol", "nobody-3"],
        ] {
            for (place, name) in names.iter().enumerate() {
                let body = json!({"username": name, "password": format!("wrong {round}")});
                let began = tokio::time::Instant::now();
                let refused = post("/api/auth/login").json(&body).send(site.at()).await;
                refused.expect_problem(401, "wrong_password");
                least[place] = least[place].min(began.elapsed().as_secs_f64());
            }
        }
    }
    // A login without a hash takes a hundredth of one with it.
    let [known, unknown] = least;
    assert!(known < unknown * 3.0 && unknown < known * 3.0, "{least:?}");
    site.cluster.end().await;
}
