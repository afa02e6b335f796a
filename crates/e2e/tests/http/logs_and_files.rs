//! A task's log as text, as events and by WebSocket; its files, whole, in parts and packed.

use std::{collections::BTreeMap, io::Read as _};

use flate2::read::GzDecoder;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    Site,
    web::{delete, events, get, next, socket},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_told_as_text_as_events_and_by_a_websocket_while_it_grows() {
    // Given a task that prints, and goes on to print after a while,
    let site = Site::with_worker().await;
    let alice = site.user("alice").await;
    let line = "echo one; echo two >&2; sleep 3; echo three; printf 'caf\\351\\n'";
    let task = site.submit(&alice, line).await;
    site.has_status(&alice, &task, "running").await;
    // when its log is followed in each of three ways from the beginning,
    let path = format!("/api/tasks/{task}/logs");
    let followed = get(format!("{path}?follow=true")).by(&alice);
    let mut text = followed.open(site.at()).await;
    assert_eq!(text.headers["content-type"], "text/plain; charset=utf-8");
    let as_events = followed.clone().header("Accept", "text/event-stream");
    let mut stream = as_events.open(site.at()).await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    let mut socket = socket(site.at(), &format!("/ws/tasks/{task}/logs"), &alice)
        .await
        .unwrap();
    text.until("one\n").await;
    stream.until("two").await;
    // then each has all of it, and its end.
    let text = text.end().await.body;
    assert!(text.ends_with(b"three\ncaf\xe9\n"), "{text:?}");
    let told = events(&stream.end().await.text());
    let kinds: Vec<&str> = told.iter().map(|(kind, ..)| kind.as_str()).collect();
    assert_eq!(
        (kinds[0], *kinds.last().unwrap()),
        ("log", "end"),
        "{told:?}"
    );
    assert_eq!(told.last().unwrap().2["status"], "completed");
    let mut by_socket = String::new();
    assert_eq!(next(&mut socket).await.unwrap()["type"], "attempt");
    let code = loop {
        match next(&mut socket).await {
            Ok(message) => by_socket.push_str(message["text"].as_str().unwrap()),
            Err(code) => break code,
        }
    };
    assert_eq!(code, 1000);
    assert!(
        by_socket.contains("one\n") && by_socket.contains("three\n"),
        "{by_socket}"
    );

    // Whoever comes back with the id of any event is told what came after it, and nothing twice.
    let logs: Vec<_> = told.iter().filter(|(kind, ..)| kind == "log").collect();
    assert!(logs.len() >= 3, "{told:?}");
    for (place, (_, id, _)) in logs.iter().enumerate() {
        let id = id.as_deref().unwrap();
        let rest = as_events
            .clone()
            .header("Last-Event-ID", id)
            .send(site.at())
            .await;
        let rest = events(&rest.expect(200).text());
        let rest: Vec<_> = rest.iter().filter(|(kind, ..)| kind == "log").collect();
        assert_eq!(rest, logs[place + 1..], "after {id}");
    }
    let last = told.last().unwrap().1.clone().expect("the end has an id");
    let behind = as_events
        .clone()
        .header("Last-Event-ID", &last)
        .send(site.at())
        .await;
    behind.expect(204);
    // The last lines, and their times.
    let tail = get(format!("{path}?tail=1"))
        .by(&alice)
        .send(site.at())
        .await
        .expect(200);
    assert_eq!(&tail.body[..], b"caf\xe9\n");
    let stamped = get(format!("{path}?tail=2&timestamps=true"))
        .by(&alice)
        .send(site.at())
        .await;
    let stamped = stamped.expect(200).text();
    let first = stamped.lines().next().unwrap();
    assert!(
        first.starts_with("20") && first.ends_with("Z three"),
        "{stamped}"
    );
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_listed_and_had_whole_in_parts_and_packed_until_they_are_deleted() {
    let site = Site::with_worker().await;
    let alice = site.user("alice").await;
    let line = "cd /output && mkdir -p deep/er && printf 0123456789 >digits \
        && head -c 3000000 /dev/zero >deep/er/zeros && printf x >'a name?#'";
    let task = site.submit(&alice, line).await;
    site.has_status(&alice, &task, "completed").await;
    let expected: BTreeMap<&str, Vec<u8>> = [
        ("a name?#", b"x".to_vec()),
        ("deep/er/zeros", vec![0; 3_000_000]),
        ("digits", b"0123456789".to_vec()),
    ]
    .into();
    // They are listed with size and SHA-256,
    let all = get("/api/files")
        .by(&alice)
        .send(site.at())
        .await
        .expect(200)
        .json();
    assert_eq!(all["items"][0]["task_id"], json!(task));
    assert_eq!(
        (&all["items"][0]["files"], &all["items"][0]["bytes"]),
        (&json!(3), &json!(3_000_011))
    );
    let of_task = get(format!("/api/files/{task}")).by(&alice);
    let listed = of_task.send(site.at()).await.expect(200).json();
    assert_eq!(listed["files_complete"], true);
    let listed = listed["files"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 3, "{listed:?}");
    for file in &listed {
        let bytes = &expected[file["path"].as_str().unwrap()];
        assert_eq!(file["size"], json!(bytes.len()));
        assert_eq!(file["sha256"], hex::encode(Sha256::digest(bytes)));
    }
    // each can be had, whole and in parts,
    let escaped = |path: &str| -> String {
        path.bytes()
            .map(|byte| match byte {
                b'/' => "/".to_owned(),
                byte => format!("%{byte:02X}"),
            })
            .collect()
    };
    let download =
        |path: &str| get(format!("/api/files/{task}/download/{}", escaped(path))).by(&alice);
    for (path, bytes) in &expected {
        let reply = download(path).send(site.at()).await.expect(200);
        assert_eq!(&reply.body[..], &bytes[..], "{path}");
    }
    let whole = download("digits").send(site.at()).await.expect(200);
    let tag = whole.header("etag").unwrap().to_owned();
    for (range, status, body, said) in [
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-1", 206, "9", Some("bytes 9-9/10")),
        ("bytes=0-99", 206, "0123456789", Some("bytes 0-9/10")),
        ("lines=1-2", 200, "0123456789", None),
    ] {
        let part = download("digits")
            .header("Range", range)
            .send(site.at())
            .await;
        assert_eq!(
            (part.status, part.text()),
            (status, body.to_owned()),
            "{range}"
        );
        assert_eq!(part.header("content-range"), said, "{range}");
    }
    let beyond = download("digits")
        .header("Range", "bytes=10-")
        .send(site.at())
        .await;
    assert_eq!(beyond.header("content-range"), Some("bytes */10"));
    beyond.expect_problem(416, "range_not_satisfiable");
    let ranged = |tag: &str| {
        download("digits")
            .header("Range", "bytes=0-0")
            .header("If-Range", tag)
    };
    ranged(&tag).send(site.at()).await.expect(206);
    ranged("\"other\"").send(site.at()).await.expect(200);
    download("digits")
        .header("If-None-Match", &tag)
        .send(site.at())
        .await
        .expect(304);
    // and all of them packed.
    let archive = get(format!("/api/files/{task}/archive")).by(&alice);
    let archive = archive.send(site.at()).await.expect(200);
    assert_eq!(archive.header("content-type"), Some("application/gzip"));
    let mut packed = BTreeMap::new();
    for entry in tar::Archive::new(GzDecoder::new(&archive.body[..]))
        .entries()
        .unwrap()
    {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let path = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            packed.insert(path, bytes);
        }
    }
    for (path, bytes) in &expected {
        let found = packed.iter().find(|(name, _)| name.ends_with(path));
        assert!(
            found.is_some_and(|(_, packed)| packed == bytes),
            "{path}: {:?}",
            packed.keys()
        );
    }
    assert_eq!(packed.len(), 3);
    // Deleted they are gone, and that is told.
    delete(format!("/api/files/{task}"))
        .by(&alice)
        .send(site.at())
        .await
        .expect(204);
    download("digits")
        .send(site.at())
        .await
        .expect_problem(410, "removed");
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_workers_use_is_told_at_once_over_an_hour_and_as_it_changes() {
    let site = Site::with_worker().await;
    let alice = site.user("alice").await;
    let ask = async |path: &str| {
        get(path)
            .by(&alice)
            .send(site.at())
            .await
            .expect(200)
            .json()
    };
    let mut all = socket(site.at(), "/ws/telemetry", &alice).await.unwrap();
    let first = next(&mut all).await.unwrap();
    assert_eq!(
        (&first["type"], &first["workers"][0]["worker_id"]),
        (&json!("snapshot"), &json!("w-1"))
    );
    // A heartbeat comes every five seconds, and a task changes what is promised.
    let task = site.submit(&alice, "sleep 600").await;
    site.has_status(&alice, &task, "running").await;
    let promised = loop {
        let changes = next(&mut all).await.unwrap();
        assert_eq!(changes["type"], "changes");
        let promised = changes["workers"][0]["allocated_cpu"].clone();
        if promised == json!(0.5) {
            break promised;
        }
    };
    assert_eq!(ask("/telemetry/w-1").await["allocated_cpu"], promised);
    assert_eq!(
        ask("/telemetry").await["workers"].as_array().unwrap().len(),
        1
    );
    assert_eq!(ask("/api/workers").await["items"][0]["worker_id"], "w-1");
    let of_worker = ask("/api/workers/w-1/tasks").await;
    assert_eq!(of_worker["items"][0]["task_id"], json!(task));
    cloudai_tests::wait::until("a point of the worker's history", async || {
        let history = ask("/api/workers/w-1/metrics?resolution=5s").await;
        history["points"]
            .as_array()
            .is_some_and(|points| !points.is_empty())
            .then_some(())
    })
    .await;
    get("/telemetry/w-2")
        .by(&alice)
        .send(site.at())
        .await
        .expect_problem(404, "not_found");
    // What a master counts is open to its own machine.
    let metrics = get("/metrics").send(site.at()).await.expect(200).text();
    assert!(
        metrics.contains("cloudai_tasks{status=\"running\"} 1"),
        "{metrics}"
    );
    site.cluster.end().await;
}
