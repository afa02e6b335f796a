//! From where and under which name somebody comes, and what is written down of it.

use std::sync::atomic::Ordering;

use cloudai_http::Settings;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{
    PASSWORD, Setup, Site,
    client::{Ask, PATIENCE, delete, exchange, get, patch, post},
};

fn login(user: &str, password: &str) -> Ask {
    post("/api/auth/login").json(&json!({"username": user, "password": password}))
}

async fn until(condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll).await.unwrap();
}

#[tokio::test]
async fn a_strange_name_is_refused_wherever_it_asks() {
    let site = Site::with(Setup {
        settings: Settings {
            hosts: Some(vec!["cloud.example.org".to_owned()]),
            ..Settings::default()
        },
        ..Setup::default()
    })
    .await;
    let asked = |path: &str, host: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let at = site.at;
        async move { exchange(at, text.as_bytes()).await }
    };
    for path in [
        "/health",
        "/",
        "/metrics",
        "/api/tasks",
        "/ws/telemetry",
        "/nothing",
    ] {
        let reply = asked(path, "evil.example:8080").await;
        reply.expect_problem(421, "strange_host");
    }
    for host in [
        "127.0.0.1:8080",
        "localhost",
        "[::1]:8080",
        "cloud.example.org",
    ] {
        asked("/health", host).await.expect(200);
    }
}

#[tokio::test]
async fn behind_a_proxy_each_client_is_throttled_alone_and_tls_is_seen() {
    // Given a server that believes who is on its machine,
    let site = Site::with(Setup {
        settings: Settings {
            proxies: vec!["127.0.0.0/8".parse().unwrap()],
            ..Settings::default()
        },
        ..Setup::default()
    })
    .await;
    let from =
        |client: &str, password: &str| login("alice", password).header("X-Forwarded-For", client);
    // when somebody guesses until they have to wait,
    let mut tries = 0;
    while site.send(from("198.51.100.7", "wrong one")).await.status != 429 {
        tries += 1;
        assert!(tries < 100, "nobody throttles");
    }
    // then nobody else does, and the audit says who it was.
    let session = site.send(from("192.0.2.1", PASSWORD)).await.expect(200);
    let last = site.audit.whole_audit().pop().unwrap();
    assert_eq!((last.from.as_str(), last.done), ("192.0.2.1", true));
    let set = session.header("set-cookie").unwrap();
    assert!(
        set.starts_with("cloudai_session=") && !set.contains("Secure"),
        "{set}"
    );

    // One that came to the proxy by TLS gets a cookie that stays there, and has it taken back.
    let tls = from("192.0.2.1", PASSWORD).header("X-Forwarded-Proto", "https");
    let session = site.send(tls).await.expect(200);
    let set = session.header("set-cookie").unwrap();
    assert!(
        set.starts_with("__Host-cloudai_session=") && set.ends_with("; Secure"),
        "{set}"
    );
    let cookie = set.split(';').next().unwrap();
    let me = |proto: &str| {
        let asked = get("/api/auth/me").header("Cookie", cookie);
        asked.header("X-Forwarded-Proto", proto)
    };
    site.send(me("https")).await.expect(200);
    site.send(me("http"))
        .await
        .expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn without_a_proxy_nobody_says_where_they_are() {
    let site = Site::new().await;
    let asked = login("alice", PASSWORD);
    let asked = asked.header("X-Forwarded-For", "192.0.2.1");
    let session = site.send(asked.header("X-Forwarded-Proto", "https")).await;
    let session = session.expect(200);
    assert_eq!(site.audit.whole_audit().pop().unwrap().from, "127.0.0.1");
    assert!(!session.header("set-cookie").unwrap().contains("Secure"));
}

#[tokio::test]
async fn whoever_is_refused_without_end_fills_no_disk() {
    let site = Site::new().await;
    let bob = site.token("bob").await;
    let before = site.done().len();
    for number in 0..150 {
        let body = json!({"worker_id": format!("w-{number}"), "address": "10.0.0.2"});
        let asked = post("/api/workers").by(&bob).json(&body);
        site.send(asked).await.expect_problem(403, "admin_only");
    }
    let written = site.done().len() - before;
    assert!((50..=101).contains(&written), "{written}");
}

#[tokio::test]
async fn what_was_begun_is_done_and_written_down_also_when_nobody_waits() {
    // Given a worker that takes its time to be unregistered,
    let site = Site::new().await;
    let admin = site.token("admin").await;
    let body = json!({"worker_id": "w-1", "address": "10.0.0.2"});
    site.send(post("/api/workers").by(&admin).json(&body))
        .await
        .expect(201);
    let held = site.master.slow.acquire().await.unwrap();
    // when whoever asks for it goes at once,
    let mut stream = TcpStream::connect(site.at).await.unwrap();
    let asked = delete("/api/workers/w-1").by(&admin).bytes();
    stream.write_all(&asked).await.unwrap();
    until(|| site.master.asked.load(Ordering::SeqCst) == 1).await;
    drop(stream);
    // So that the server sees it.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    drop(held);
    // then it is gone all the same, and the audit says by whom.
    let wanted = ("worker.unregister".to_owned(), "w-1".to_owned(), true);
    until(|| site.done().contains(&wanted)).await;
    assert!(site.master.workers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_admin_makes_another_key_for_tokens_and_ends_those_of_now() {
    let site = Site::new().await;
    let (admin, alice) = (site.token("admin").await, site.token("alice").await);
    let rotate = |token: &str| post("/api/auth/token-key").by(token);
    site.send(rotate(&alice))
        .await
        .expect_problem(403, "admin_only");
    site.send(rotate(&admin)).await.expect(204);
    site.send(get("/api/auth/me").by(&alice)).await.expect(200);
    let odd = rotate(&admin).json(&json!({"at_once": 7}));
    site.send(odd).await.expect_problem(400, "invalid_body");
    let at_once = rotate(&admin).json(&json!({"at_once": true}));
    site.send(at_once).await.expect(204);
    for token in [&admin, &alice] {
        let asked = get("/api/auth/me").by(token);
        site.send(asked)
            .await
            .expect_problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_batch_for_several_users_takes_no_key() {
    let site = Site::new().await;
    let admin = site.token("admin").await;
    let task = |user: &str| json!({"docker_image": "alpine", "user_id": user});
    let batch = |tasks: Value| {
        let asked = post("/api/tasks/batch").by(&admin);
        asked
            .json(&json!({"tasks": tasks}))
            .header("Idempotency-Key", "k")
    };
    let both = batch(json!([task("alice"), task("bob")]));
    site.send(both)
        .await
        .expect_problem(400, "invalid_parameter");
    assert!(site.master.tasks.lock().unwrap().is_empty());
    site.send(batch(json!([task("alice"), task("alice")])))
        .await
        .expect(201);

    // The key is the admin's: alice has one of the same words for herself.
    let alice = site.token("alice").await;
    let own = post("/api/tasks").by(&alice).header("Idempotency-Key", "k");
    site.send(own.json(&json!({"docker_image": "alpine"})))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_user_has_a_tag_that_names_the_state() {
    let site = Site::new().await;
    let admin = site.token("admin").await;
    let alice = site.token("alice").await;
    let ways = || {
        [
            get("/api/users/alice").by(&admin),
            get("/api/auth/me").by(&alice),
        ]
    };
    let mut tags = Vec::new();
    for asked in ways() {
        let tag = site.send(asked).await.expect(200);
        tags.push(tag.header("etag").unwrap().to_owned());
    }
    let known = || ways().into_iter().zip(&tags);
    for (asked, tag) in known() {
        site.send(asked.header("If-None-Match", tag))
            .await
            .expect(304);
    }
    let change = json!({"limits": {"queued_tasks": 5}});
    site.send(patch("/api/users/alice").by(&admin).json(&change))
        .await
        .expect(200);
    for (asked, tag) in known() {
        site.send(asked.header("If-None-Match", tag))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn who_is_an_admin_no_more_hears_no_more_of_others() {
    // Given an admin who follows alice's log,
    let site = Site::new().await;
    let admin = site.token("admin").await;
    let role = |role: &str| {
        patch("/api/users/bob")
            .by(&admin)
            .json(&json!({"role": role}))
    };
    site.send(role("admin")).await.expect(200);
    let bob = site.token("bob").await;
    let task = site.master.put("alice", 1);
    site.master.start(&task, 1);
    let asked = get(format!("/api/tasks/{task}/logs?follow=true")).by(&bob);
    let asked = asked.header("Accept", "text/event-stream");
    let at = site.at;
    let heard = tokio::spawn(async move { asked.send(at).await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    // when they are made a user, then it ends at the next look.
    site.send(role("user")).await.expect(200);
    let heard = tokio::time::timeout(PATIENCE, heard)
        .await
        .unwrap()
        .unwrap();
    assert!(
        heard.text().contains("may not any more"),
        "{}",
        heard.text()
    );
}
